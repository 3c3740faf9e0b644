"""A comparison of the two texts of a pair, written as one more layer of BERT.

A sentence encoder knows how alike two texts are from two vectors, one for each text. As one
sequence, the texts mix in every layer. Where a model was taught to keep them apart (see
``training/two_texts.py``), this layer gives ``[CLS]`` what logistic regression on two vectors
``u`` and ``v`` reads: half of its heads attend to the first text and half to the second one, its
output product makes ``u - v`` and ``u + v`` of them, and its feed-forward half also squares both.
``(u + v)² - (u - v)²`` is ``4uv``. Like every other layer it is trained with the rest.

Shape suffixes: D model width, R the heads' width of half the heads, F feed-forward width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.mean_layer import gives_mean
from onelayer.checkpoint.read import Checkpoint

SHARPNESS = 2.0
"""Attention scores of a text's own tokens, and with a minus of the other's. If it grows, noise in
the token vectors makes some tokens count more than others; if it shrinks, the texts mix: at 2, one
part in e^4 = 55."""
GAIN = 100.0
"""How many times the two means outweigh ``[CLS]``'s own vector, which the layer adds to them."""
CURVE = 0.5
"""The factor before the activation: gelu(x) + gelu(-x) is close to 0.8 x² up to there."""
SQUARES = 30.0
"""The factor of the squares; with that of the values it says how large they are next to what is
still."""
VALUES = 12.0
"""The factor of differences and sums themselves: with it and `CURVE` a value of 1 is as large as
its square."""
STILL = 600.0
"""Two constants among the outputs, one with a minus. They are most of what the last norm divides
by, so that it keeps how large the squares are."""
N_SUMS = 4
"""Outputs that are no square: the sums of all products and of all squares, and the constants."""


@dataclass(frozen=True, slots=True)
class Sides:
    """How token vectors tell the two texts of a pair apart, and what of them is compared."""

    direction_D: Tensor
    """A unit vector: along it lie the first text's tokens on one side, the second's on the
    other."""
    middle: float
    half: float
    """Their places along the direction are ``middle + half`` and ``middle - half``."""
    projection_RD: Tensor
    """Orthonormal rows, orthogonal to the direction."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """What each of the layer's D outputs is."""

    squares: slice
    """Of differences."""
    of_products: int
    """The sum of all products."""
    of_squares: int
    """The sum of the squares of all differences."""
    still: slice
    """Two constants."""
    products: slice
    values: slice
    """Differences, then sums ``u + v``: what each text says by itself."""

    @classmethod
    def of(cls, config: EncoderConfig) -> Outputs:
        q = compared_width(config) // 2
        first = q - N_SUMS
        return cls(
            slice(0, first), first, first + 1, slice(q - 2, q), slice(q, 2 * q), slice(2 * q, 4 * q)
        )


def gives_comparison(config: EncoderConfig) -> bool:
    """Whether one more layer of this family can compare two texts: segments tell them apart, half
    of the heads read each, and the activation can square."""
    return (
        gives_mean(config)
        and config.type_vocab_size > 1
        and config.num_attention_heads % 2 == 0
        and config.intermediate_size >= 2 * config.hidden_size
        and config.hidden_act in ("gelu", "gelu_new")
        and Outputs.of(config).squares.stop > 0
    )


def compared_width(config: EncoderConfig) -> int:
    """R, the width of half of the heads."""
    return config.hidden_size // 2


def with_compare_layer(checkpoint: Checkpoint, sides: Sides) -> Checkpoint:
    """The checkpoint with one more layer, and a pooler whose weights are the identity. ``[CLS]``
    gets the `Outputs`."""
    config = checkpoint.config
    layer = f"layers.{config.num_hidden_layers}."
    added = {**_attention(config, sides), **_feed_forward(config)}
    encoder = {**checkpoint.encoder, **{layer + name: tensor for name, tensor in added.items()}}
    width = config.hidden_size
    pooler = {"pooler.weight": torch.eye(width), "pooler.bias": torch.zeros(width)}
    poolers = dict.fromkeys(config.family.poolers, pooler)
    config = replace(config, num_hidden_layers=config.num_hidden_layers + 1)
    return replace(checkpoint, config=config, encoder=encoder, poolers=poolers)


def _attention(config: EncoderConfig, sides: Sides) -> dict[str, Tensor]:
    """Queries are constants, and keys a token's place along the direction: each head attends to the
    tokens of one text alike. Values are the projections."""
    width, n_heads = config.hidden_size, config.num_attention_heads
    head, half = width // n_heads, width // 2
    weight, bias = torch.zeros(3 * width, width), torch.zeros(3 * width)
    for i in range(n_heads):
        sign = SHARPNESS / sides.half * (1 if i < n_heads // 2 else -1)
        bias[i * head] = math.sqrt(head)  # attention divides by it
        weight[width + i * head] = sign * sides.direction_D
        bias[width + i * head] = -sign * sides.middle
    weight[2 * width :] = sides.projection_RD.repeat(2, 1)
    one = torch.eye(half)
    return {
        "attention.qkv.weight": weight,
        "attention.qkv.bias": bias,
        "attention.output.weight": GAIN * torch.cat([torch.cat([one, -one], 1), one.repeat(1, 2)]),
        "attention.output.bias": torch.zeros(width),
        "attention.norm.weight": torch.ones(width),
        "attention.norm.bias": torch.zeros(width),
    }


def _feed_forward(config: EncoderConfig) -> dict[str, Tensor]:
    """The values that come in are R differences and R sums. Each goes through the activation twice,
    the second time with a minus: both together are its square, their difference is the value."""
    width, inner, half = config.hidden_size, config.intermediate_size, config.hidden_size // 2
    generator = torch.Generator().manual_seed(0)
    # Drawn where nothing is squared, so that a gradient passes to "down", which is zero there.
    up = torch.empty(inner, width).normal_(0.0, config.initializer_range, generator=generator)
    up[:width] = CURVE * torch.eye(width)
    up[width : 2 * width] = -CURVE * torch.eye(width)
    out = Outputs.of(config)
    difference, total = torch.eye(width).split([half, width - half])
    squared, valued = torch.zeros(2, width, width)
    squared[out.squares] = difference[: out.squares.stop]
    n_products = out.products.stop - out.products.start
    squared[out.products] = total[:n_products] - difference[:n_products]
    squared[out.of_products] = (total - difference).sum(dim=0) / math.sqrt(half)
    squared[out.of_squares] = difference.sum(dim=0) / math.sqrt(half)
    valued[out.values] = torch.cat([difference[:n_products], total[:n_products]])
    valued = VALUES * valued - torch.eye(width) / CURVE  # takes away what is added to the outcome
    down = torch.zeros(width, inner)
    down[:, :width] = SQUARES * squared + valued
    down[:, width : 2 * width] = SQUARES * squared - valued
    bias = torch.zeros(width)
    bias[out.still] = torch.tensor([STILL, -STILL])
    norm = torch.ones(width)
    norm[out.still] = 0.0  # next to them, int8 would round all else to zero
    return {
        "feed_forward.up.weight": up,
        "feed_forward.up.bias": torch.zeros(inner),
        "feed_forward.down.weight": down,
        "feed_forward.down.bias": bias,
        "feed_forward.norm.weight": norm,
        "feed_forward.norm.bias": torch.zeros(width),
    }
