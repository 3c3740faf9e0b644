"""The compiled kernels as differentiable functions of PyTorch. Shapes: see ``encoder.py``.

Each forward pass keeps as little as possible: masks are computed again from their seed.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from onelayer.nn.kernels import LANES, AttentionArguments, kernels
from onelayer.nn.room import roomy

NO_LIMIT = 2**40
"""The reach of attention to all tokens: more than any sequence has."""


def kernels_take(x: Tensor, *widths: int) -> bool:
    """Whether the kernels can compute with a tensor: fp32 in two dimensions on a CPU. Its rows, and
    the parts of the given ``widths`` in them, must fill whole vectors."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.dim() == 2
        and all(width % LANES == 0 for width in widths)
        and x.shape[-1] % (2 * LANES) == 0
        and not torch.compiler.is_compiling()
        and kernels() is not None
    )


def _library() -> ctypes.CDLL:
    library = kernels()
    assert library is not None, "kernels_take() was not asked"
    return library


def address(tensor: Tensor | None) -> int | None:
    """Where a tensor's numbers are, as the kernels take it; None for none."""
    return None if tensor is None else tensor.data_ptr()


def draw_seed(p: float) -> int:
    """The seed of a dropout mask, from torch's generator, so that ``manual_seed`` decides it."""
    return int(torch.empty((), dtype=torch.int64).random_()) if p > 0.0 else 0


class Dropout(torch.autograd.Function):
    """(T, D) -> (T, D). The backward pass applies the same mask, made from the same seed."""

    @staticmethod
    def forward(ctx: Any, x_TD: Tensor, p: float) -> Tensor:
        ctx.p, ctx.seed = p, draw_seed(p)
        return Dropout.drop(ctx, x_TD)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_TD: Tensor) -> tuple[Tensor, None]:
        return Dropout.drop(ctx, dy_TD), None

    @staticmethod
    def drop(ctx: Any, x_TD: Tensor) -> Tensor:
        x_TD = x_TD.contiguous()
        rows, width = x_TD.shape
        y_TD = roomy(rows, width)
        _library().dropout(x_TD.data_ptr(), y_TD.data_ptr(), rows, width, ctx.p, ctx.seed)
        return y_TD


class Gelu(torch.autograd.Function):
    """(T, F) -> (T, F): x Phi(x), keeping only x."""

    @staticmethod
    def forward(ctx: Any, x_TF: Tensor) -> Tensor:
        x_TF = x_TF.contiguous()
        ctx.save_for_backward(x_TF)
        y_TF = roomy(*x_TF.shape)
        _library().gelu_forward(x_TF.data_ptr(), y_TF.data_ptr(), x_TF.numel())
        return y_TF

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_TF: Tensor) -> Tensor:
        (x_TF,) = ctx.saved_tensors
        dy_TF = dy_TF.contiguous()
        dx_TF = roomy(*x_TF.shape)
        _library().gelu_backward(x_TF.data_ptr(), dy_TF.data_ptr(), dx_TF.data_ptr(), x_TF.numel())
        return dx_TF


class GatedGelu(torch.autograd.Function):
    """(T, 2F) -> (T, F): the GELU of the first half times the second half, keeping its input."""

    @staticmethod
    def forward(ctx: Any, h_T2F: Tensor) -> Tensor:
        h_T2F = h_T2F.contiguous()
        ctx.save_for_backward(h_T2F)
        rows, width = len(h_T2F), h_T2F.shape[1] // 2
        y_TF = roomy(rows, width)
        _library().gated_gelu_forward(h_T2F.data_ptr(), y_TF.data_ptr(), rows, width)
        return y_TF

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_TF: Tensor) -> Tensor:
        (h_T2F,) = ctx.saved_tensors
        dy_TF = dy_TF.contiguous()
        dh_T2F = roomy(*h_T2F.shape)
        tensors = (h_T2F, dy_TF, dh_T2F)
        _library().gated_gelu_backward(*(t.data_ptr() for t in tensors), *dy_TF.shape)
        return dh_T2F


class Rotate(torch.autograd.Function):
    """`ops.rotate`: the backward pass turns gradients back by the same angles."""

    @staticmethod
    def forward(
        ctx: Any, x_TN: Tensor, places_T: Tensor, turns_P2K: Tensor, n_heads: int
    ) -> Tensor:
        ctx.save_for_backward(places_T, turns_P2K)
        ctx.n_heads = n_heads
        return Rotate.turn(x_TN, places_T, turns_P2K, n_heads, back=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_TN: Tensor) -> tuple[Tensor | None, ...]:
        places_T, turns_P2K = ctx.saved_tensors
        dx_TN = Rotate.turn(dy_TN, places_T, turns_P2K, ctx.n_heads, back=True)
        return dx_TN, None, None, None

    @staticmethod
    def turn(
        x_TN: Tensor, places_T: Tensor, turns_P2K: Tensor, n_heads: int, *, back: bool
    ) -> Tensor:
        x_TN, places_T = x_TN.contiguous(), places_T.contiguous()
        y_TN = roomy(*x_TN.shape)
        tensors = (x_TN, y_TN, places_T, turns_P2K)
        half = turns_P2K.shape[2]
        _library().rotate(*(t.data_ptr() for t in tensors), *x_TN.shape, n_heads, half, back)
        return y_TN


class AddNorm(torch.autograd.Function):
    """LayerNorm(x + dropout(h)), (T, D) each, keeping the sum and two numbers per row."""

    @staticmethod
    def forward(
        ctx: Any, x_TD: Tensor, h_TD: Tensor, weight: Tensor, bias: Tensor, eps: float, p: float
    ) -> Tensor:
        x_TD, h_TD = x_TD.contiguous(), h_TD.contiguous()
        z_TD, y_TD = torch.empty_like(x_TD), roomy(*x_TD.shape)
        stats_T2 = x_TD.new_empty(len(x_TD), 2)
        ctx.p, ctx.seed = p, draw_seed(p)
        ctx.save_for_backward(z_TD, stats_T2, weight)
        _library().add_norm_forward(
            *(t.data_ptr() for t in (x_TD, h_TD, weight, bias, z_TD, y_TD, stats_T2)),
            *x_TD.shape, eps, p, ctx.seed,
        )  # fmt: skip
        return y_TD

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy_TD: Tensor) -> tuple[Tensor | None, ...]:
        z_TD, stats_T2, weight = ctx.saved_tensors
        dy_TD = dy_TD.contiguous()
        # Without dropout both branches of the sum have the same gradient.
        dx_TD = roomy(*z_TD.shape)
        dh_TD = roomy(*z_TD.shape) if ctx.p > 0.0 else dx_TD
        # The weight's gradient is summed in fixed chunks of rows and not per thread, so the bits
        # don't depend on the number of threads.
        n_chunks = _library().n_chunks(len(z_TD))
        sums_2CD = z_TD.new_zeros(2, n_chunks, len(weight))
        tensors = (z_TD, stats_T2, weight, dy_TD, dx_TD, dh_TD, *sums_2CD)
        _library().add_norm_backward(*(t.data_ptr() for t in tensors), *z_TD.shape, ctx.p, ctx.seed)
        d_weight, d_bias = sums_2CD.sum(1)
        return dx_TD, dh_TD, d_weight, d_bias, None, None


class Attend(torch.autograd.Function):
    """Self-attention of packed sequences.

    Without ``q_SD``, ``packed`` (T, 3D) has queries, keys and values, and the result is (T, D).
    With it, each sequence has the single query in ``q_SD``, ``packed`` (T, 2D) has keys and values,
    and the result is (S, D). Scores are computed again in the backward pass. There is a ``reach``
    only for queries of all tokens. A bias by distance, (H, 2L - 1) as in `ops.attend`, needs the
    places of single queries in their sequences.
    """

    @staticmethod
    def forward(
        ctx: Any,
        packed: Tensor,
        q_SD: Tensor | None,
        cu_seqlens: Tensor,
        n_heads: int,
        p: float,
        reach: int | None = None,
        bias_HW: Tensor | None = None,
        places_S: Tensor | None = None,
    ) -> Tensor:
        ctx.n_heads, ctx.p, ctx.seed = n_heads, p, draw_seed(p)
        ctx.reach = NO_LIMIT if reach is None else reach
        ctx.longest = 0 if bias_HW is None else (bias_HW.shape[1] + 1) // 2
        cu_q = cu_seqlens if q_SD is None else torch.arange(len(cu_seqlens), dtype=torch.int32)
        packed = packed.contiguous()
        q_SD = None if q_SD is None else q_SD.contiguous()
        bias_HW = None if bias_HW is None else bias_HW.contiguous()
        places_S = None if places_S is None else places_S.long().contiguous()
        ctx.save_for_backward(packed, q_SD, cu_q, cu_seqlens, bias_HW, places_S)
        width = Attend.width(packed, q_SD)
        ctx.scale = 1 / math.sqrt(width / n_heads)
        out = roomy(len(packed) if q_SD is None else len(q_SD), width)
        arguments = Attend.arguments(ctx, packed, q_SD, cu_q, cu_seqlens, bias_HW, places_S)
        _library().attention_forward(arguments, out.data_ptr())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        packed, q_SD, cu_q, cu_seqlens, bias_HW, places_S = ctx.saved_tensors
        d_out = d_out.contiguous()
        d_packed = roomy(*packed.shape)
        d_q = None if q_SD is None else roomy(*q_SD.shape)
        d_bias = None if bias_HW is None else torch.zeros_like(bias_HW)
        arguments = Attend.arguments(ctx, packed, q_SD, cu_q, cu_seqlens, bias_HW, places_S)
        parts = Attend.parts(d_packed, d_q)
        _library().attention_backward(arguments, d_out.data_ptr(), *parts, address(d_bias))
        return d_packed, d_q, None, None, None, None, d_bias, None

    @staticmethod
    def width(packed: Tensor, q_SD: Tensor | None) -> int:
        """That of the queries of all heads."""
        return packed.shape[1] // (3 if q_SD is None else 2)

    @staticmethod
    def parts(packed: Tensor, q_SD: Tensor | None) -> tuple[int, int, int]:
        """The addresses of the first query, key and value."""
        at = packed.data_ptr()
        width = packed.element_size() * Attend.width(packed, q_SD)
        if q_SD is None:
            return at, at + width, at + 2 * width
        return q_SD.data_ptr(), at, at + width

    @staticmethod
    def arguments(
        ctx: Any,
        packed: Tensor,
        q_SD: Tensor | None,
        cu_q: Tensor,
        cu_k: Tensor,
        bias_HW: Tensor | None,
        places_S: Tensor | None,
    ) -> AttentionArguments:
        """The arguments of both passes, as the C structure has them."""
        width = Attend.width(packed, q_SD)
        return AttentionArguments(
            *Attend.parts(packed, q_SD),
            packed.shape[1] if q_SD is None else width,
            packed.shape[1],
            width // ctx.n_heads,
            cu_q.data_ptr(),
            cu_k.data_ptr(),
            len(cu_k) - 1,
            ctx.n_heads,
            ctx.reach,
            address(bias_HW),
            ctx.longest,
            address(places_S),
            ctx.scale,
            ctx.p,
            ctx.seed,
        )


class AttendByDistance(torch.autograd.Function):
    """As `Attend`, with the keys and the queries of distances, (2L - 1, D) each: those of keys go
    from the place of the key minus that of the query, 1 - L, on; those of queries to it."""

    @staticmethod
    def forward(
        ctx: Any,
        packed: Tensor,
        q_SD: Tensor | None,
        keys_XD: Tensor,
        queries_XD: Tensor,
        cu_seqlens: Tensor,
        n_heads: int,
        p: float,
        places_S: Tensor | None = None,
    ) -> Tensor:
        ctx.n_heads, ctx.p, ctx.seed, ctx.reach = n_heads, p, draw_seed(p), NO_LIMIT
        ctx.longest, width = (len(keys_XD) + 1) // 2, keys_XD.shape[1]
        ctx.scale = 1 / math.sqrt(3 * width / n_heads)
        cu_q = cu_seqlens if q_SD is None else torch.arange(len(cu_seqlens), dtype=torch.int32)
        packed = packed.contiguous()
        q_SD = None if q_SD is None else q_SD.contiguous()
        places_S = None if places_S is None else places_S.long().contiguous()
        # The C code has both in one order.
        keys_XD, queries_XD = keys_XD.contiguous(), queries_XD.flip(0)
        ctx.save_for_backward(packed, q_SD, keys_XD, queries_XD, cu_q, cu_seqlens, places_S)
        out = roomy(len(packed) if q_SD is None else len(q_SD), width)
        arguments = Attend.arguments(ctx, packed, q_SD, cu_q, cu_seqlens, None, places_S)
        tables = (keys_XD.data_ptr(), queries_XD.data_ptr())
        _library().disentangled_forward(arguments, *tables, out.data_ptr())
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        packed, q_SD, keys_XD, queries_XD, cu_q, cu_seqlens, places_S = ctx.saved_tensors
        d_out = d_out.contiguous()
        d_packed = roomy(*packed.shape)
        d_q = None if q_SD is None else roomy(*q_SD.shape)
        d_keys, d_queries = torch.empty_like(keys_XD), torch.empty_like(queries_XD)
        arguments = Attend.arguments(ctx, packed, q_SD, cu_q, cu_seqlens, None, places_S)
        tensors = (keys_XD, queries_XD, d_out)
        grads = (*Attend.parts(d_packed, d_q), d_keys.data_ptr(), d_queries.data_ptr())
        _library().disentangled_backward(arguments, *(t.data_ptr() for t in tensors), *grads)
        return d_packed, d_q, d_keys, d_queries.flip(0), None, None, None, None
