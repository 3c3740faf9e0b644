"""The weights of a post-norm encoder with segments, and what it computes, one sequence at a time.

It is for checking conversions: plain products on the CPU, in the precision of the weights. Letters
of shapes: V vocabulary, P positions, S segments, D hidden size, F feed-forward width, H heads,
T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import layer_norm, linear, relu


class Affine(NamedTuple):
    """A linear layer, (outputs, inputs) and (outputs,), or a norm's scale and shift, (D,) each."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class PostNormLayer:
    """Attention and feed-forward, each followed by the sum with its input and a norm."""

    query: Affine
    key: Affine
    value: Affine
    output: Affine
    attention_norm: Affine
    up: Affine
    down: Affine
    norm: Affine


@dataclass(frozen=True, slots=True, kw_only=True)
class PostNormEncoder:
    """Embeddings, with or without a norm, layers, and the pooler: a linear layer and tanh."""

    words: Tensor
    """(V, D)"""
    segments: Tensor
    """(S, D)"""
    positions: Tensor
    """(P, D)"""
    embedding_norm: Affine | None
    layers: Sequence[PostNormLayer]
    pooler: Affine
    heads: int
    norm_eps: float

    @property
    def width(self) -> int:
        return self.words.shape[1]

    def vectors(self, ids_T: Tensor, segments_T: Tensor) -> tuple[Tensor, Tensor]:
        """The last layer's vectors of a sequence's tokens, (T, D), and the pooled vector of its
        first one, (D,)."""
        x_TD = self.words[ids_T] + self.segments[segments_T] + self.positions[: len(ids_T)]
        if self.embedding_norm is not None:
            x_TD = self._norm(x_TD, self.embedding_norm)
        for layer in self.layers:
            x_TD = self._norm(x_TD + self._attend(x_TD, layer), layer.attention_norm)
            inner_TF = relu(linear(x_TD, *layer.up))
            x_TD = self._norm(x_TD + linear(inner_TF, *layer.down), layer.norm)
        return x_TD, torch.tanh(linear(x_TD[0], *self.pooler))

    def _norm(self, x_TD: Tensor, norm: Affine) -> Tensor:
        return layer_norm(x_TD, (self.width,), norm.weight, norm.bias, self.norm_eps)

    def _attend(self, x_TD: Tensor, layer: PostNormLayer) -> Tensor:
        q, k, v = (
            linear(x_TD, *part).unflatten(1, (self.heads, -1)).transpose(0, 1)
            for part in (layer.query, layer.key, layer.value)
        )
        scores_HTT = q @ k.transpose(1, 2) / q.shape[-1] ** 0.5
        mixed_TD = (scores_HTT.softmax(-1) @ v).transpose(0, 1).flatten(1)
        return linear(mixed_TD, *layer.output)
