"""Which precision to train in: measured, not assumed."""

from __future__ import annotations

from collections.abc import Callable

import torch

from onelayer.nn.encoder import EncoderShape
from onelayer.nn.kernels import why_not
from onelayer.nn.linear import CLEARLY, gain_of_bf16
from onelayer.recipe import Precision
from onelayer.runtime.torch_engine import best_device


def quicker_precision(shape: EncoderShape, say: Callable[[str], None]) -> Precision:
    """The quicker one for a model of this shape on this machine, and why, in a remark.

    Processors with the same instructions differ fourfold in how quick they are at bf16.
    """
    if best_device().type == "cuda":
        half = torch.cuda.is_bf16_supported()
        say(f"precision = {'bf16' if half else 'fp32'} on {torch.cuda.get_device_name()}")
        return "bf16" if half else "fp32"
    gain = gain_of_bf16(shape.hidden_size, shape.intermediate_size)
    chosen: Precision = "bf16" if gain > CLEARLY else "fp32"
    # Without the figure: a run that is repeated is to leave the same record.
    say(f"precision = {chosen}, measured to be the quicker one here")
    if (reason := why_not()) is not None:
        say(reason)
    return chosen
