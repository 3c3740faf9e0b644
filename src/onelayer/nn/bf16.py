"""A layer's operations in bf16 on a CPU, as differentiable functions of PyTorch.

Between the products of a layer everything is bf16; sums, norms and softmax are fp32 inside, and so
are weights and their gradients. A matrix is stored in blocks of 32 x 32 numbers, as products read
it (``csrc/training/bf16.h``): its tensor has the shape (rows / 32, columns / 32, 32, 32), and rows
are filled up to whole blocks. Gradients of rows that are not there are zeros. Other shapes: see
``encoder.py``; a ``B`` at the end of a name stands for blocks.
"""

from __future__ import annotations

import ctypes
import math
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from onelayer.nn.compiled import address, draw_seed
from onelayer.nn.kernels import Bf16AttentionArguments, kernels

SIDE = 32
"""Rows and columns of a block."""


@cache
def has_bf16_products() -> bool:
    """Whether there are kernels that multiply bf16 numbers by instructions made for them."""
    library = kernels()
    return library is not None and bool(library.bf16_works())


def is_blocks(x: Tensor) -> bool:
    """Whether a tensor is a matrix in blocks."""
    return x.dim() == 4


def to_blocks(x: Tensor) -> Tensor:
    """(rows, columns) -> the matrix in blocks; columns are a multiple of 32."""
    rows, columns = x.shape
    x = F.pad(x.bfloat16(), (0, 0, 0, -rows % SIDE))
    return x.view(-1, SIDE, columns // SIDE, SIDE).transpose(1, 2).contiguous()


def to_rows(x_B: Tensor) -> Tensor:
    """A matrix in blocks -> (rows, columns) in fp32, with the rows that fill the last block."""
    return x_B.transpose(1, 2).flatten(2).flatten(0, 1).float()


def rows_of(x_B: Tensor, rows_S: Tensor) -> Tensor:
    """These rows of a matrix in blocks: (S, columns) in fp32."""
    return x_B[rows_S // SIDE, :, rows_S % SIDE].flatten(1).float()


def _library() -> ctypes.CDLL:
    library = kernels()
    assert library is not None, "there are no blocks without kernels"
    return library


def _width(x_B: Tensor) -> int:
    return x_B.shape[1] * SIDE


def _blocks(like_B: Tensor, width: int) -> Tensor:
    """An uninitialised matrix in blocks with as many rows as another."""
    return torch.empty(len(like_B), width // SIDE, SIDE, SIDE, dtype=torch.bfloat16)


def _packed(weight: Tensor, *, by_inputs: bool) -> Tensor:
    """A weight (N, K) as the factor of a product: of x (M, K), or of dy (M, N)."""
    weight, packed = weight.contiguous(), torch.empty(weight.numel(), dtype=torch.bfloat16)
    _library().bf16_pack(weight.data_ptr(), packed.data_ptr(), by_inputs, *weight.shape)
    return packed


def _product(name: str, x_B: Tensor, packed: Tensor, other: Tensor | None, *out_B: Tensor) -> None:
    """Calls a product of ``bf16_linear.c``: x times a packed factor, with a bias or with h."""
    addresses = (x_B.data_ptr(), packed.data_ptr(), address(other), *(y.data_ptr() for y in out_B))
    sizes = (len(x_B) * SIDE, _width(out_B[-1]), _width(x_B))
    getattr(_library(), name)(*addresses, *sizes)


def _linear(x_B: Tensor, packed: Tensor, bias: Tensor | None, width: int) -> Tensor:
    y_B = _blocks(x_B, width)
    _product("bf16_linear", x_B, packed, bias, y_B)
    return y_B


def _weight_grads(dy_B: Tensor, x_B: Tensor) -> tuple[Tensor, Tensor]:
    """dy (M, N), x (M, K) -> d_weight (N, K), d_bias (N,), fp32."""
    d_weight = torch.empty(_width(dy_B), _width(x_B))
    d_bias = torch.empty(_width(dy_B))
    tensors = (dy_B, x_B, d_weight, d_bias)
    _library().bf16_weight_backward(
        *(t.data_ptr() for t in tensors), len(dy_B) * SIDE, *d_weight.shape
    )
    return d_weight, d_bias


class BlockLinear(torch.autograd.Function):
    """x (T, K), weight (N, K), bias (N,) or None -> (T, N)."""

    @staticmethod
    def forward(ctx: Any, x_B: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x_B, weight)
        ctx.biased = bias is not None
        return _linear(x_B, _packed(weight, by_inputs=True), bias, len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_B: Tensor) -> tuple[Tensor | None, ...]:
        x_B, weight = ctx.saved_tensors
        dy_B = dy_B.contiguous()
        dx_B = d_weight = d_bias = None
        if ctx.needs_input_grad[0]:
            dx_B = _linear(dy_B, _packed(weight, by_inputs=False), None, _width(x_B))
        if ctx.needs_input_grad[1]:
            d_weight, d_bias = _weight_grads(dy_B, x_B)
        return dx_B, d_weight, d_bias if ctx.biased else None


class BlockFeedForward(torch.autograd.Function):
    """x (T, D) -> down(GELU(up(x))) (T, D), two linear layers with their biases. GELU and its slope
    are computed while tiles are multiplied."""

    @staticmethod
    def forward(
        ctx: Any,
        x_B: Tensor,
        up_FD: Tensor,
        up_bias: Tensor | None,
        down_DF: Tensor,
        down_bias: Tensor | None,
    ) -> Tensor:
        h_B, a_B = (_blocks(x_B, len(up_FD)) for _ in range(2))
        _product("bf16_linear_gelu", x_B, _packed(up_FD, by_inputs=True), up_bias, h_B, a_B)
        ctx.save_for_backward(x_B, h_B, a_B, up_FD, down_DF)
        ctx.biased = up_bias is not None, down_bias is not None
        return _linear(a_B, _packed(down_DF, by_inputs=True), down_bias, len(down_DF))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_B: Tensor) -> tuple[Tensor | None, ...]:
        x_B, h_B, a_B, up_FD, down_DF = ctx.saved_tensors
        dy_B = dy_B.contiguous()
        dx_B = d_up = d_up_bias = d_down = d_down_bias = None
        if ctx.needs_input_grad[3]:
            d_down, d_down_bias = _weight_grads(dy_B, a_B)
        dh_B = _blocks(dy_B, len(up_FD))
        packed = _packed(down_DF, by_inputs=False)
        _product("bf16_linear_gelu_backward", dy_B, packed, h_B, dh_B)
        if ctx.needs_input_grad[1]:
            d_up, d_up_bias = _weight_grads(dh_B, x_B)
        if ctx.needs_input_grad[0]:
            dx_B = _linear(dh_B, _packed(up_FD, by_inputs=False), None, _width(x_B))
        up_biased, down_biased = ctx.biased
        return (
            dx_B,
            d_up,
            d_up_bias if up_biased else None,
            d_down,
            d_down_bias if down_biased else None,
        )


class BlockAddNorm(torch.autograd.Function):
    """LayerNorm(x + dropout(h)), (T, D) each, keeping the normed rows and a number for each."""

    @staticmethod
    def forward(
        ctx: Any, x_B: Tensor, h_B: Tensor, weight: Tensor, bias: Tensor, eps: float, p: float
    ) -> Tensor:
        u_B, y_B = torch.empty_like(x_B), torch.empty_like(x_B)
        rows, width = len(x_B) * SIDE, _width(x_B)
        inverses_T = torch.empty(rows)
        ctx.p, ctx.seed = p, draw_seed(p)
        ctx.save_for_backward(u_B, inverses_T, weight)
        tensors = (x_B, h_B, weight, bias, u_B, y_B, inverses_T)
        _library().bf16_add_norm_forward(
            *(t.data_ptr() for t in tensors), rows, width, eps, p, ctx.seed
        )
        return y_B

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_B: Tensor) -> tuple[Tensor | None, ...]:
        u_B, inverses_T, weight = ctx.saved_tensors
        dy_B = dy_B.contiguous()
        dx_B = torch.empty_like(u_B)
        # Without dropout both branches of the sum have the same gradient.
        dh_B = torch.empty_like(u_B) if ctx.p > 0.0 else dx_B
        sums_2CD = torch.empty(2, len(u_B), len(weight))
        tensors = (u_B, inverses_T, weight, dy_B, dx_B, dh_B, *sums_2CD)
        _library().bf16_add_norm_backward(
            *(t.data_ptr() for t in tensors), len(inverses_T), len(weight), ctx.p, ctx.seed
        )
        d_weight, d_bias = sums_2CD.sum(1)
        return dx_B, dh_B, d_weight, d_bias, None, None


class BlockAttend(torch.autograd.Function):
    """Self-attention of packed sequences: (T, 3D) queries, keys and values -> (T, D)."""

    @staticmethod
    def forward(ctx: Any, qkv_B: Tensor, cu_seqlens: Tensor, n_heads: int, p: float) -> Tensor:
        ctx.n_heads, ctx.p, ctx.seed = n_heads, p, draw_seed(p)
        out_B = _blocks(qkv_B, _width(qkv_B) // 3)
        log_sums_HT = torch.empty(n_heads, int(cu_seqlens[-1]))
        ctx.save_for_backward(qkv_B, cu_seqlens, out_B, log_sums_HT)
        arguments = BlockAttend.arguments(ctx, qkv_B, cu_seqlens)
        _library().bf16_attention_forward(arguments, out_B.data_ptr(), log_sums_HT.data_ptr())
        return out_B

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out_B: Tensor) -> tuple[Tensor | None, ...]:
        qkv_B, cu_seqlens, out_B, log_sums_HT = ctx.saved_tensors
        d_out_B = d_out_B.contiguous()
        d_qkv_B = torch.empty_like(qkv_B)
        arguments = BlockAttend.arguments(ctx, qkv_B, cu_seqlens)
        tensors = (out_B, log_sums_HT, d_out_B, d_qkv_B)
        _library().bf16_attention_backward(arguments, *(t.data_ptr() for t in tensors))
        return d_qkv_B, None, None, None

    @staticmethod
    def arguments(ctx: Any, qkv_B: Tensor, cu_seqlens: Tensor) -> Bf16AttentionArguments:
        """The arguments of both passes, as the C structure has them."""
        width = _width(qkv_B) // 3 // ctx.n_heads
        return Bf16AttentionArguments(
            qkv_B.data_ptr(),
            width,
            ctx.n_heads,
            cu_seqlens.data_ptr(),
            len(cu_seqlens) - 1,
            1 / math.sqrt(width),
            ctx.p,
            ctx.seed,
        )
