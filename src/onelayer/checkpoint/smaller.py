"""A checkpoint with fewer layers, or with fewer neurons in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from onelayer.checkpoint.read import Checkpoint
from onelayer.tokens.encodings import Ints

INNER = (
    ("feed_forward.up.weight", 0),
    ("feed_forward.up.bias", 0),
    ("feed_forward.down.weight", 1),
)
"""The tensors of a layer that have the neurons of its feed-forward half, and along which side."""


def first_stays(checkpoint: Checkpoint) -> bool:
    """Whether the first layer has a part of its own, or lacks one that all others have."""
    bricks = checkpoint.config.bricks
    return bricks.pre_norm or bricks.convolution is not None


def with_layers(checkpoint: Checkpoint, kept: Sequence[int]) -> Checkpoint:
    """The checkpoint with only these layers, in this order, by their numbers from 0. Where all
    layers share their weights, as many uses of them stay."""
    config = checkpoint.config
    own = {
        key: [value[i] for i in kept] if key in config.family.by_layer else value
        for key, value in config.own.items()
    }
    encoder = checkpoint.encoder
    if config.bricks.own_layers is None:
        encoder = {name: x for name, x in encoder.items() if not name.startswith("layers.")}
        for new, old in enumerate(kept):
            encoder |= {f"layers.{new}.{name}": x for name, x in _layer(checkpoint, old).items()}
    config = replace(config, num_hidden_layers=len(kept), own=own)
    return replace(checkpoint, config=config, encoder=encoder)


def with_neurons(checkpoint: Checkpoint, kept: Sequence[Ints]) -> Checkpoint:
    """The checkpoint with only these neurons in the feed-forward half of each layer, in ascending
    order: (F,) numbers from 0, as many in every layer."""
    config, encoder = checkpoint.config, dict(checkpoint.encoder)
    for i, neurons in enumerate(kept):
        chosen = torch.from_numpy(np.asarray(neurons, np.int64))
        for name, side in INNER:
            if (tensor := encoder.get(f"layers.{i}.{name}")) is None:
                continue  # a family without this bias
            rows = chosen
            if config.bricks.gated and side == 0:  # neurons, then their gates
                rows = torch.cat([chosen, chosen + config.intermediate_size])
            encoder[f"layers.{i}.{name}"] = tensor.index_select(side, rows).contiguous()
    config = replace(config, intermediate_size=len(kept[0]))
    return replace(checkpoint, config=config, encoder=encoder)


def _layer(checkpoint: Checkpoint, number: int) -> dict[str, Tensor]:
    prefix = f"layers.{number}."
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in checkpoint.encoder.items()
        if name.startswith(prefix)
    }
