"""Matrix products by the fastest library on this machine."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from onelayer.base.machine import remembered
from onelayer.nn import room
from onelayer.nn.bf16 import BlockLinear, is_blocks, to_blocks
from onelayer.nn.compiled import kernels_take
from onelayer.nn.kernels import kernels

CLEARLY = 1.25
"""How many times as fast another library has to be to be chosen: more than a measurement's noise,
so that another measurement would choose the same."""

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""x (M, K), w (N, K), b (N,) or None -> x w^T + b (M, N)."""


class Linear(nn.Linear):
    """A fully connected layer over packed tokens: (T, K) -> (T, N)."""

    bf16 = False
    """Whether products are computed in bfloat16 during training; weights stay fp32."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias, bf16=self.bf16 and self.training)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None, *, bf16: bool = False) -> Tensor:
    """x (T, K), weight (N, K), bias (N,) or None -> x weight^T + bias (T, N), differentiable.

    With ``bf16`` the product is computed in bfloat16. If ``x`` is in blocks (``bf16.py``), the
    result is, too.
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        if bf16:
            return F.linear(x.bfloat16(), weight.bfloat16(), _halved(bias))
        return F.linear(x, weight, bias)
    if is_blocks(x):
        return BlockLinear.apply(x, weight, bias)  # type: ignore[no-any-return]
    if not torch.is_grad_enabled():
        return fastest_product()(x, weight, bias)
    return _Linear.apply(x, weight, bias, bf16)  # type: ignore[no-any-return]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, bf16: bool) -> Tensor:
        ctx.biased = bias is not None
        if bf16:
            # Whole blocks of rows, so that oneDNN compiles few shapes: see room.py.
            weight, bias = weight.bfloat16(), _halved(bias)
            halves = room.in_blocks(x, torch.bfloat16)
            ctx.save_for_backward(halves, weight)
            return F.linear(halves, weight, bias)[: len(x)].float()
        ctx.save_for_backward(x, weight)
        return fastest_product()(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        dx = d_weight = d_bias = None
        if x.dtype == torch.bfloat16:
            # dx = dy w, d_weight = dy^T x. The saved x has whole blocks too, and their added rows
            # are zeros, so they add nothing to the sum over rows.
            halves = room.in_blocks(dy, torch.bfloat16)
            if ctx.needs_input_grad[0]:
                dx = F.linear(halves, weight.t())[: len(dy)].float()
            if ctx.needs_input_grad[1]:
                d_weight, d_bias = (halves.t() @ x).float(), dy.sum(0)
            return dx, d_weight, d_bias if ctx.biased else None, None
        if ctx.needs_input_grad[0]:
            dx = fastest_product()(dy, weight.t(), None)
        if ctx.needs_input_grad[1]:
            d_weight, d_bias = _weight_backward(dy, x)
        return dx, d_weight, d_bias if ctx.biased else None, None


def _halved(bias: Tensor | None) -> Tensor | None:
    return None if bias is None else bias.bfloat16()


def _weight_backward(dy: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """dy (M, N), x (M, K) -> d_weight (N, K), d_bias (N,)."""
    n, k = dy.shape[1], x.shape[1]
    if not (kernels_take(x, k) and n % 8 == 0):
        return dy.t() @ x, dy.sum(0)
    library = kernels()
    assert library is not None
    dy, x = dy.contiguous(), x.contiguous()
    d_weight, d_bias = dy.new_empty(n, k), dy.new_empty(n)
    library.weight_backward(*(t.data_ptr() for t in (dy, x, d_weight, d_bias)), len(x), n, k)
    return d_weight, d_bias


def _onednn(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    blocks = room.in_blocks(x, x.dtype)
    y: Tensor = torch.ops.mkldnn._linear_pointwise(blocks, weight, bias, "none", [], "")
    return y[: len(x)]


@cache
def fastest_product() -> Product:
    """PyTorch's own product, or oneDNN's where that is clearly faster. PyTorch calls MKL, which
    reaches only half of the peak on AMD processors."""
    if not torch.backends.mkldnn.is_available() or not hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    ):
        return F.linear
    x, weight = torch.ones(512, 384), torch.ones(1536, 384)  # the sizes of a small BERT

    def measure() -> float:
        with torch.no_grad():
            return times_as_quick(lambda: _onednn(x, weight, None), lambda: F.linear(x, weight))

    return _onednn if remembered(_of("oneDNN"), measure) > CLEARLY else F.linear


def gain_of_bf16(width: int, inner: int, *, blocks: bool) -> float:
    """The speed of bfloat16 products on this CPU, as a multiple of that of fp32 ones, forward and
    backward with casts. It is measured once per machine.

    Parameters
    ----------
    width, inner
        The model's width and its feed-forward width.
    blocks
        Whether the model has its vectors in blocks (``bf16.py``).
    """
    key = _of("bf16 in blocks" if blocks else "bf16", width, inner)
    return remembered(key, lambda: _measured_gain_of_bf16(width, inner, blocks=blocks))


def _of(*what: object) -> tuple[object, ...]:
    """The key of a measurement: what is measured, and all that it depends on except the machine."""
    return (*what, torch.__version__, torch.get_num_threads())


def _measured_gain_of_bf16(width: int, inner: int, *, blocks: bool) -> float:
    x = torch.ones(512, width, requires_grad=True)
    half = to_blocks(x.detach()).requires_grad_() if blocks else x
    weight = torch.ones(inner, width, requires_grad=True)
    bias = torch.ones(inner, requires_grad=True)

    def work(bf16: bool) -> None:
        linear(half if bf16 else x, weight, bias, bf16=bf16).sum().backward()

    return times_as_quick(lambda: work(True), lambda: work(False))


def times_as_quick(one: Callable[[], object], other: Callable[[], object]) -> float:
    """The time of ``other`` divided by the time of ``one``: the best of six tries each, in turns.

    Both run on one thread, and its processor time counts, which other processes hardly change.
    """
    threads = torch.get_num_threads()
    best = [math.inf, math.inf]
    torch.set_num_threads(1)
    try:
        for _ in range(6):
            for which, work in enumerate((one, other)):
                started = time.thread_time()
                work()
                best[which] = min(best[which], time.thread_time() - started)
    finally:
        torch.set_num_threads(threads)
    return best[1] / best[0]
