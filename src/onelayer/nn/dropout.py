"""Dropout whose mask is drawn from cheap random bits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class _MaskedScale(torch.autograd.Function):
    """x * mask * scale, keeping one byte an element for the way back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mask: Tensor, scale: float) -> Tensor:
        ctx.save_for_backward(mask)
        ctx.scale = scale
        return torch.ops.aten.native_dropout_backward(x, mask, scale)  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        (mask,) = ctx.saved_tensors
        return torch.ops.aten.native_dropout_backward(grads[0], mask, ctx.scale), None, None


def keep_mask(shape: torch.Size, p: float) -> Tensor:
    """True with probability 1 - p, to 1/65536: 64 random bits serve four elements, and on a CPU
    the random numbers are most of what dropout costs."""
    n = shape.numel()
    bits = torch.empty((n + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    lanes = bits.view(torch.int16)[:n]
    return (lanes >= round(p * 65536) - 32768).view(shape)


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Zeroes each element with probability p and scales the rest by 1 / (1 - p)."""
    if not training or p == 0.0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    dropped: Tensor = _MaskedScale.apply(x, keep_mask(x.shape, p), 1.0 / (1.0 - p))  # type: ignore[no-untyped-call]
    return dropped
