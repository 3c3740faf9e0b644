"""The precision to train in. On a CPU it is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from onelayer.engines.torch_engine import best_device
from onelayer.nn.encoder import EncoderShape, has_blocks
from onelayer.nn.kernels import why_no_kernels
from onelayer.nn.linear import CLEARLY, gain_of_bf16
from onelayer.recipe import Precision


def faster_precision(shape: EncoderShape, say: Callable[[str], None]) -> Precision:
    """The precision that is faster for this shape on this machine; ``say`` is told of it.

    It has to be measured: processors with the same instructions differ fourfold in bf16.
    """
    if best_device().type == "cuda":
        chosen: Precision = "bf16" if torch.cuda.is_bf16_supported() else "fp32"
        say(f"precision = {chosen}")
        return chosen
    width, inner = shape.hidden_size, shape.intermediate_size
    gain = gain_of_bf16(width, inner, blocks=has_blocks(shape))
    chosen = "bf16" if gain > CLEARLY else "fp32"
    # Without the measured figure, because a repeated run has to leave the same record.
    say(f"precision = {chosen}, measured to be the faster one on this machine")
    return chosen


def remarks_on_device(shape: EncoderShape, precision: Precision) -> Iterator[str]:
    """How results on this device differ from those on other devices."""
    if best_device().type != "cuda":
        if reason := why_no_kernels():
            yield reason
        return
    yield "a GPU adds in no fixed order: a run repeated or resumed may differ in its last digits"
    if precision == "bf16" and shape.attention_probs_dropout_prob > 0.0:
        yield "no dropout of attention probabilities: flash attention for ragged batches has none"
