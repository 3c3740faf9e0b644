"""Ways to compute attention within each of many short sequences, forward and backward.

Shapes: T tokens of all sequences, H heads, d the width of a head.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from torch.nn.attention.varlen import varlen_attn

from onelayer.tokens.encodings import cumulate

WARM_UP, REPEATS = 2, 7
IN_A_ROW = 10
"""Calls between two looks at the clock, so that a GPU need not wait for each."""
BLOCK = 128
LAYERS = 12
"""Layers that share a batch's mask: its making counts for each of them with this share."""

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(T, H, d) queries, keys and values -> (T, H, d)."""


@dataclass(frozen=True)
class AttentionSpeed:
    way: str
    milliseconds: float
    """Forward and backward, one layer."""
    error: float
    """The norm of the difference from fp32, divided by fp32's norm."""


def compare_attention(
    lengths: Sequence[int], heads: int, width: int, device: str
) -> list[AttentionSpeed]:
    """Each way's time on a batch of sequences with these lengths, in bf16."""
    torch.manual_seed(0)
    parts = [torch.randn(sum(lengths), heads, width, device=device) for _ in range(3)]
    exact = padded(lengths, device)(*parts)
    halves = [part.bfloat16().requires_grad_() for part in parts]
    found = []
    for way, make in WAYS.items():
        attend = make(lengths, device)
        error = float((attend(*halves).detach().float() - exact).norm() / exact.norm())
        found.append(AttentionSpeed(way, milliseconds(attend, halves), error))
    masking = median_milliseconds(lambda: document_mask(lengths, device))
    found.append(AttentionSpeed("flex's mask, a layer's share", masking / LAYERS, 0.0))
    return found


def varlen(lengths: Sequence[int], device: str) -> Attend:
    """Flash attention for packed sequences, as runs train."""
    cu = torch.tensor(cumulate(lengths).tolist(), dtype=torch.int32, device=device)
    return lambda q, k, v: varlen_attn(q, k, v, cu, cu, max(lengths), max(lengths))  # type: ignore[return-value]


def flex(lengths: Sequence[int], device: str) -> Attend:
    """Compiled flex attention: one long sequence, masked to each token's own sequence."""
    mask = document_mask(lengths, device)

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.transpose(0, 1).unsqueeze(0) for x in (q, k, v))
        mixed = _flex(q, k, v, block_mask=mask)
        return mixed[0].transpose(0, 1)

    return attend


def padded(lengths: Sequence[int], device: str) -> Attend:
    """Padded to the longest, with a mask: what a model without packing computes."""
    counts = torch.tensor(lengths, device=device)
    real = torch.arange(max(lengths), device=device) < counts[:, None]

    def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rectangles = []
        for x in (q, k, v):
            rectangle = x.new_zeros(*real.shape, *x.shape[1:])
            rectangle[real] = x
            rectangles.append(rectangle.transpose(1, 2))
        mixed = F.scaled_dot_product_attention(*rectangles, attn_mask=real[:, None, None])
        return mixed.transpose(1, 2)[real]

    return attend


WAYS = {"varlen flash": varlen, "flex, compiled": flex, "padded": padded}

_flex = torch.compile(flex_attention, dynamic=False)


def document_mask(lengths: Sequence[int], device: str) -> BlockMask:
    """The blocks of scores that flex attention has to compute, made for each batch."""
    counts = torch.tensor(lengths, device=device)
    owner = torch.repeat_interleave(torch.arange(len(lengths), device=device), counts)
    n = len(owner)

    def same(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return owner[q] == owner[k]

    return create_block_mask(same, None, None, n, n, device=device, BLOCK_SIZE=BLOCK)


def milliseconds(attend: Attend, parts: list[Tensor]) -> float:
    upstream = torch.randn_like(parts[0])

    def work() -> None:
        attend(*parts).backward(upstream)
        for part in parts:
            part.grad = None

    return median_milliseconds(work)


def median_milliseconds(work: Callable[[], object]) -> float:
    times = []
    for _ in range(WARM_UP + REPEATS):
        started = time.perf_counter()
        for _ in range(IN_A_ROW):
            work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(1000 * (time.perf_counter() - started) / IN_A_ROW)
    return statistics.median(times[WARM_UP:])
