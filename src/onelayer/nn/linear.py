"""Matrix products by the quickest library that this machine has."""

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
from onelayer.nn.compiled import kernels_take
from onelayer.nn.kernels import kernels
from onelayer.nn.room import in_blocks

CLEARLY = 1.25
"""How many times as fast another library has to be to be chosen. More than the noise of a
measurement, so that the choice is the same the next day."""

Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(M, K), (N, K), (N,) -> (M, N): x w^T + b."""


class Linear(nn.Linear):
    """A fully connected layer over packed tokens: (T, K) -> (T, N)."""

    bf16 = False
    """Whether products are made in bfloat16 while training; weights stay fp32."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias, bf16=self.bf16 and self.training)


def linear(x: Tensor, weight: Tensor, bias: Tensor, *, bf16: bool = False) -> Tensor:
    """x w^T + b."""
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        if bf16:
            return F.linear(x.bfloat16(), weight.bfloat16(), bias.bfloat16())
        return F.linear(x, weight, bias)
    if not torch.is_grad_enabled():
        return fastest_product()(x, weight, bias)
    y: Tensor = _Linear.apply(x, weight, bias, bf16)
    return y


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, bf16: bool) -> Tensor:
        if bf16:
            weight, bias = weight.bfloat16(), bias.bfloat16()
            halves = in_blocks(x, torch.bfloat16)
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
            halves = in_blocks(dy, torch.bfloat16)
            if ctx.needs_input_grad[0]:
                dx = F.linear(halves, weight.t())[: len(dy)].float()
            if ctx.needs_input_grad[1]:
                d_weight, d_bias = (halves.t() @ x).float(), dy.sum(0)
            return dx, d_weight, d_bias, None
        if ctx.needs_input_grad[0]:
            dx = fastest_product()(dy, weight.t(), None)
        if ctx.needs_input_grad[1]:
            d_weight, d_bias = _weight_backward(dy, x)
        return dx, d_weight, d_bias, None


def _weight_backward(dy: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """(M, N) and (M, K) -> (N, K) and (N,)."""
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
    blocks = in_blocks(x, x.dtype)
    y: Tensor = torch.ops.mkldnn._linear_pointwise(blocks, weight, bias, "none", [], "")
    return y[: len(x)]


@cache
def fastest_product() -> Product:
    """PyTorch's own product, or oneDNN's where that is clearly faster: PyTorch calls MKL, which
    reaches half of an AMD processor's peak."""
    if not torch.backends.mkldnn.is_available() or not hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    ):
        return F.linear
    x, weight = torch.ones(512, 384), torch.ones(1536, 384)

    def measure() -> float:
        with torch.no_grad():
            return times_as_quick(lambda: _onednn(x, weight, None), lambda: F.linear(x, weight))

    return _onednn if remembered(_of("oneDNN"), measure) > CLEARLY else F.linear


def gain_of_bf16(width: int, inner: int) -> float:
    """How many times as fast a layer's products are in bfloat16 on this CPU, forward and backward,
    casts included; ``width`` and ``inner`` are the layer's sizes."""
    return remembered(_of("bf16", width, inner), lambda: _measured_gain_of_bf16(width, inner))


def _of(*what: object) -> tuple[object, ...]:
    """The key of a remembered figure: what was measured, and what it depends on but the machine."""
    return (*what, torch.__version__, torch.get_num_threads())


def _measured_gain_of_bf16(width: int, inner: int) -> float:
    x = torch.ones(512, width, requires_grad=True)
    weight = torch.ones(inner, width, requires_grad=True)
    bias = torch.ones(inner, requires_grad=True)

    def work(bf16: bool) -> None:
        linear(x, weight, bias, bf16=bf16).sum().backward()

    return times_as_quick(lambda: work(True), lambda: work(False))


def times_as_quick(one: Callable[[], object], other: Callable[[], object]) -> float:
    """Time of ``other`` by time of ``one``, the best of six tries each, in turns.

    On one thread and by its processor time, which other work on the machine hardly changes.
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
