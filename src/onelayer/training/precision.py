"""Which precision to train in: measured, not assumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from onelayer.engines.torch_engine import best_device
from onelayer.nn.encoder import EncoderShape
from onelayer.nn.kernels import why_no_kernels
from onelayer.nn.linear import CLEARLY, gain_of_bf16
from onelayer.recipe import Precision


def quicker_precision(shape: EncoderShape, say: Callable[[str], None]) -> Precision:
    """The quicker one for a model of this shape on this machine, said aloud.

    Processors with the same instructions differ fourfold in how quick they are at bf16.
    """
    if best_device().type == "cuda":
        chosen: Precision = "bf16" if torch.cuda.is_bf16_supported() else "fp32"
        say(f"precision = {chosen}")
        return chosen
    chosen = (
        "bf16" if gain_of_bf16(shape.hidden_size, shape.intermediate_size) > CLEARLY else "fp32"
    )
    # Without the figure: a run that is repeated is to leave the same record.
    say(f"precision = {chosen}, measured to be the quicker one here")
    return chosen


def remarks_on_paths(shape: EncoderShape, precision: Precision) -> Iterator[str]:
    """What the paths that this machine takes do otherwise than the others."""
    if best_device().type != "cuda":
        if reason := why_no_kernels():
            yield reason
        return
    yield "a GPU adds in no fixed order: a run repeated or resumed may differ in its last digits"
    if precision == "bf16" and shape.attention_probs_dropout_prob > 0.0:
        yield "no dropout of attention probabilities: flash attention for ragged batches has none"
