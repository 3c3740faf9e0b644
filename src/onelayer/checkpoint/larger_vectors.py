"""Vectors as large as a new layer can learn from.

Sentence encoders are pretrained by the angles between vectors, so how long these are is chance: an
element of all-mpnet-base-v2's is 0.14 large, one of multilingual-e5-small's 0.25. Adam moves each
weight of a new layer by the learning rate, whatever it is multiplied with. From small vectors the
layer's logits then hardly move in as many steps as other models need, and the encoder waits for
the layer.

The norm at the end of the encoder takes a factor, so that every reader of the trained model gets
the same.
"""

from __future__ import annotations

import math
from dataclasses import replace

from onelayer.checkpoint.read import Checkpoint

SMALL = 0.5
"""Elements below this size are enlarged to 1. If it grows, models that people know rates for learn
otherwise than they are used to; if it shrinks, some sentence encoders learn nothing from few rows.
"""


def size_of_vectors(checkpoint: Checkpoint) -> float | None:
    """The size of an element of the encoder's vectors: the root of the mean square over tokens that
    are alike in nothing else. None where several layers share the norm at the end."""
    norm = _last_norm(checkpoint)
    if norm is None:
        return None
    squares = [checkpoint.encoder[name].float().square().mean() for name in norm]
    return math.sqrt(sum(float(square) for square in squares))


def with_larger_vectors(checkpoint: Checkpoint) -> tuple[Checkpoint, str | None]:
    """The checkpoint with elements of size 1 where they are small, and what the user should know of
    it."""
    size = size_of_vectors(checkpoint)
    if size is None or not 0.0 < size < SMALL:
        return checkpoint, None
    larger = {name: checkpoint.encoder[name] / size for name in _last_norm(checkpoint) or ()}
    said = (
        f"the model's vectors are small ({size:.2f} an element): the layer reads them "
        f"{1 / size:.1f} times as large"
    )
    return replace(checkpoint, encoder={**checkpoint.encoder, **larger}), said


def _last_norm(checkpoint: Checkpoint) -> list[str] | None:
    """The tensors of the norm at the end: its weight, and its bias if it has one."""
    config = checkpoint.config
    bricks, n_layers = config.bricks, config.num_hidden_layers
    if bricks.own_layers is not None or (bricks.convolution is not None and n_layers == 1):
        return None
    at = "norm." if bricks.pre_norm else f"layers.{n_layers - 1}.feed_forward.norm."
    return [at + part for part in ("weight", "bias") if at + part in checkpoint.encoder]
