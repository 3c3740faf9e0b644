"""Makes a model narrower: which coordinates and which heads stay, and norms that fit them.

Letters of shapes: T tokens, D width of the model, W smaller width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from onelayer.checkpoint.build import build_model, state_of
from onelayer.checkpoint.narrower import with_width
from onelayer.checkpoint.read import Checkpoint
from onelayer.nn.attention import Attention
from onelayer.nn.encoder import Embeddings, FeedForward
from onelayer.nn.model import Model
from onelayer.nn.packed import Packed, pack
from onelayer.tasks import AnyTask
from onelayer.tokens.encodings import Encodings

MAX_TOKENS = 8192
"""Tokens of the sample, at most: a few times as many as there are coordinates to choose from."""


@torch.no_grad()
def narrowed(checkpoint: Checkpoint, task: AnyTask, sample: Encodings, share: float) -> Checkpoint:
    """The checkpoint at a share of its width, close to what it was.

    The coordinates that stay are the principal components of the vectors between the halves of its
    layers (SliceGPT, Ashkboos et al., 2024, does so for norms that have no mean). The norms are
    fitted, one after the other, so that each coordinate is nearest to the wide model's.

    Parameters
    ----------
    checkpoint
        One that `can_be_narrower`.
    task
        The task of its output layer.
    sample
        Some of its rows.
    share
        The share of the width; as many heads stay as fit.
    """
    config = checkpoint.config
    n_heads = max(1, round(share * config.num_attention_heads))
    width = n_heads * (config.hidden_size // config.num_attention_heads)
    batch = _every_token(sample)
    wide = build_model(checkpoint, task).model.eval()
    vectors = _vectors(wide, batch)
    basis_DW = _components(torch.cat(vectors), width)
    smaller = with_width(checkpoint, basis_DW, _heads(checkpoint, n_heads))
    model = build_model(smaller, task).model.eval()
    for i, (part, wanted_TD) in enumerate(zip(_parts(model), vectors, strict=True)):
        assert isinstance(part.norm, nn.LayerNorm)
        _fit_norm(part.norm, _vectors(model, batch)[i], wanted_TD @ basis_DW)
    state = state_of(model)
    return replace(smaller, encoder={name: state[name] for name in smaller.encoder})


def _fit_norm(norm: nn.LayerNorm, found_TW: Tensor, wanted_TW: Tensor) -> None:
    """Sets weight and bias, which are 1 and 0, by the least squares of each coordinate."""
    found, wanted = found_TW - found_TW.mean(dim=0), wanted_TW - wanted_TW.mean(dim=0)
    weight_W = (found * wanted).sum(dim=0) / found.square().sum(dim=0).clamp_min(1e-12)
    norm.weight.copy_(weight_W)
    norm.bias.copy_(wanted_TW.mean(dim=0) - weight_W * found_TW.mean(dim=0))


def _components(vectors_TD: Tensor, width: int) -> Tensor:
    """(D, W) the directions along which vectors are longest, each with a sign of its own that
    doesn't depend on the solver."""
    x = vectors_TD.double()
    _, directions = torch.linalg.eigh(x.T @ x)
    kept = directions[:, -width:].flip(1)
    largest = kept.gather(0, kept.abs().argmax(dim=0, keepdim=True))
    basis: Tensor = (kept * largest.sign()).float()
    return basis


def _heads(checkpoint: Checkpoint, n: int) -> list[int]:
    """The heads that can add most, over all layers: by the length of their values times that of
    their columns of the output."""
    config, encoder = checkpoint.config, checkpoint.encoder
    n_heads = config.num_attention_heads
    strength = torch.zeros(n_heads)
    for i in range(config.num_hidden_layers):
        values = encoder[f"layers.{i}.attention.qkv.weight"].chunk(3)[2]
        output = encoder[f"layers.{i}.attention.output.weight"]
        by_head = zip(values.chunk(n_heads), output.chunk(n_heads, dim=1), strict=True)
        strength += torch.stack([value.norm() * out.norm() for value, out in by_head])
    return sorted(np.argsort(-strength.numpy(), kind="stable")[:n].tolist())


def _parts(model: Model) -> list[Embeddings | Attention | FeedForward]:
    """The parts that end with a norm, in the order in which they are computed."""
    kinds = (Embeddings, Attention, FeedForward)
    return [part for part in model.encoder.modules() if isinstance(part, kinds)]


def _vectors(model: Model, batch: Packed) -> list[Tensor]:
    """(T, D) what each of these parts gives."""
    with _outputs_of(_parts(model)) as found:
        model.encoder(batch)
    return found


@contextmanager
def _outputs_of(parts: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    found: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        found.append(output.detach())

    handles = [part.register_forward_hook(keep) for part in parts]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _every_token(sample: Encodings) -> Packed:
    """A batch of the first sequences, in which every token is read: so the last layer computes
    all."""
    ends = sample.cu_seqlens[sample.cu_examples]
    n = max(1, int(np.searchsorted(ends, MAX_TOKENS, side="right")) - 1)
    places = np.arange(len(sample.ids)) - np.repeat(sample.cu_seqlens[:-1], sample.lengths)
    whole = replace(sample, reads=places, cu_reads=sample.cu_seqlens, targets=None, offsets=None)
    return pack(whole, np.arange(min(n, sample.n_examples)))
