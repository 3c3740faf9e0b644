"""The operations of an encoder layer, each by the fastest code available: the compiled kernels on a
CPU, flash attention on a GPU, else PyTorch. Shapes: see ``encoder.py``."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onelayer.nn import bf16, compiled, reference
from onelayer.nn.disentangled_reference import disentangled_attention, disentangled_attention_once
from onelayer.nn.exact_attention import exact_attend, exact_attention_takes
from onelayer.nn.linear import Linear
from onelayer.nn.packed import Packed
from onelayer.nn.rectangle import Rectangle


def dropout(x_TD: Tensor, p: float, training: bool) -> Tensor:
    """Zeroes each element with probability p and scales the rest by 1 / (1 - p)."""
    if not training or p == 0.0:
        return x_TD
    if compiled.kernels_take(x_TD):
        y: Tensor = compiled.Dropout.apply(x_TD, p)
        return y
    return reference.dropout(x_TD, p)


def gelu(x_TF: Tensor) -> Tensor:
    """x Phi(x), as in BERT, without the approximation by tanh."""
    if compiled.kernels_take(x_TF):
        y: Tensor = compiled.Gelu.apply(x_TF)
        return y
    return F.gelu(x_TF)


def feed_forward(x_TD: Tensor, up: Linear, down: Linear) -> Tensor:
    """(T, D) -> (T, D): two linear layers with GELU between them."""
    if bf16.is_blocks(x_TD):
        y: Tensor = bf16.BlockFeedForward.apply(x_TD, up.weight, up.bias, down.weight, down.bias)
        return y
    return down(gelu(up(x_TD)))  # type: ignore[no-any-return]


def gate(h_T2F: Tensor, activation: Callable[[Tensor], Tensor]) -> Tensor:
    """(T, 2F) -> (T, F): the activation of the first half, times the second half."""
    if activation is gelu and compiled.kernels_take(h_T2F, h_T2F.shape[1] // 2):
        y: Tensor = compiled.GatedGelu.apply(h_T2F)
        return y
    a_TF, b_TF = h_T2F.chunk(2, dim=1)
    return activation(a_TF) * b_TF


def rotate(x_TN: Tensor, places_T: Tensor, turns_P2K: Tensor, n_heads: int) -> Tensor:
    """(T, N) -> (T, N): the pairs of coordinates in the first ``n_heads`` heads of each row are
    turned by the angles of its place; ``turns_P2K`` has their cosines and sines."""
    if compiled.kernels_take(x_TN, turns_P2K.shape[2]):
        y: Tensor = compiled.Rotate.apply(x_TN, places_T, turns_P2K, n_heads)
        return y
    return reference.rotate(x_TN, places_T, turns_P2K, n_heads)


def by_rows(x: Tensor, n: int) -> Tensor:
    """(n, D), by rows, whatever its layout was."""
    return bf16.to_rows(x)[:n] if bf16.is_blocks(x) else x


def take(x_TD: Tensor, rows_S: Tensor) -> Tensor:
    """(T, D) -> (S, D): these rows."""
    if bf16.is_blocks(x_TD):
        return bf16.to_blocks(bf16.rows_of(x_TD, rows_S))
    return x_TD[rows_S]


def mean_of_each(x_TD: Tensor, batch: Packed) -> Tensor:
    """(T, D) -> (S, D): the mean of each sequence's vectors."""
    lengths_S = batch.cu_seqlens.diff().long()
    return torch.segment_reduce(x_TD, "mean", lengths=lengths_S, axis=0, unsafe=True)


def add_norm(x_TD: Tensor, h_TD: Tensor, norm: nn.LayerNorm, p: float) -> Tensor:
    """LayerNorm(x + dropout(h)), which ends each of a layer's two halves."""
    if compiled.kernels_take(x_TD):
        y: Tensor = compiled.AddNorm.apply(x_TD, h_TD, norm.weight, norm.bias, norm.eps, p)
        return y
    if bf16.is_blocks(x_TD):
        normed: Tensor = bf16.BlockAddNorm.apply(x_TD, h_TD, norm.weight, norm.bias, norm.eps, p)
        return normed
    return reference.add_norm(x_TD, h_TD, norm.weight, norm.bias, norm.eps, p)


def attend(
    qkv_T3D: Tensor,
    batch: Packed,
    n_heads: int,
    p: float,
    bias_HW: Tensor | None = None,
    reach: int | None = None,
) -> Tensor:
    """Self-attention within each sequence: (T, 3D) queries, keys and values -> (T, D). The bias,
    (H, 2L - 1), is added to the scores, by the place of the key minus that of the query: from 1 - L
    on. With ``reach`` a token attends only to those that are at most this far away."""
    if bf16.is_blocks(qkv_T3D):
        return _attend_blocks(qkv_T3D, batch, n_heads, p, bias_HW)
    if compiled.kernels_take(qkv_T3D, qkv_T3D.shape[1] // 3 // n_heads):
        y: Tensor = compiled.Attend.apply(
            qkv_T3D, None, batch.cu_seqlens, n_heads, p, reach, bias_HW
        )
        return y
    if bias_HW is None and qkv_T3D.dtype == torch.bfloat16:
        from onelayer.nn import varlen

        if reach is None or varlen.TAKES_REACH:
            q, k, v = qkv_T3D.chunk(3, dim=1)
            return varlen.varlen_attend(q, k, v, batch, n_heads, reach)
    if bias_HW is None and reach is None and exact_attention_takes(qkv_T3D, 3 * n_heads):
        q, k, v = qkv_T3D.chunk(3, dim=1)
        return exact_attend(q, k, v, batch, n_heads, p)
    return reference.attend(qkv_T3D, batch.runs, n_heads, p, bias_HW, reach)


def _attend_blocks(
    qkv_B: Tensor, batch: Packed, n_heads: int, p: float, bias_HW: Tensor | None
) -> Tensor:
    """`attend` in blocks, without a reach. Where the kernel doesn't have them, in fp32."""
    head_width = qkv_B.shape[1] * bf16.SIDE // 3 // n_heads
    if bias_HW is None and head_width % bf16.SIDE == 0:
        mixed: Tensor = bf16.BlockAttend.apply(qkv_B, batch.cu_seqlens, n_heads, p)
        return mixed
    qkv_T3D = by_rows(qkv_B, len(batch.ids_T))
    return bf16.to_blocks(attend(qkv_T3D, batch, n_heads, p, bias_HW))


def attend_once(
    q_SD: Tensor,
    kv_T2D: Tensor,
    batch: Packed,
    n_heads: int,
    p: float,
    bias_HW: Tensor | None = None,
) -> Tensor:
    """Attention with one query per sequence: (S, D) queries, (T, 2D) keys and values -> (S, D). The
    last layer needs no more where only ``[CLS]`` is read."""
    if bf16.is_blocks(kv_T2D):
        q_SD = by_rows(q_SD, len(batch.cu_seqlens) - 1)
        kv_T2D = by_rows(kv_T2D, len(batch.ids_T))
        return bf16.to_blocks(attend_once(q_SD, kv_T2D, batch, n_heads, p, bias_HW))
    places_S = None
    if bias_HW is not None:
        assert batch.only_reads_S is not None, "there is one query per sequence"
        places_S = batch.position_ids_T[batch.only_reads_S]
    if compiled.kernels_take(kv_T2D, q_SD.shape[1] // n_heads):
        y: Tensor = compiled.Attend.apply(
            kv_T2D, q_SD, batch.cu_seqlens, n_heads, p, None, bias_HW, places_S
        )
        return y
    if q_SD.dtype == torch.bfloat16 and bias_HW is None:
        from onelayer.nn import varlen

        k, v = kv_T2D.chunk(2, dim=1)
        return varlen.varlen_attend(q_SD, k, v, batch, n_heads)
    if bias_HW is None and exact_attention_takes(q_SD, n_heads):
        k, v = kv_T2D.chunk(2, dim=1)
        return exact_attend(q_SD, k, v, batch, n_heads, p)
    return reference.attend_once(q_SD, kv_T2D, batch.runs, n_heads, p, bias_HW, places_S)


def attend_disentangled(
    qkv_T3D: Tensor,
    keys_XD: Tensor | None,
    queries_XD: Tensor | None,
    batch: Packed,
    n_heads: int,
    p: float,
) -> Tensor:
    """As ``attend``, with keys and queries of distances: see `DisentangledAttention`."""
    both = keys_XD is not None and queries_XD is not None
    if both and compiled.kernels_take(qkv_T3D, qkv_T3D.shape[1] // 3 // n_heads):
        y: Tensor = compiled.AttendByDistance.apply(
            qkv_T3D, None, keys_XD, queries_XD, batch.cu_seqlens, n_heads, p
        )
        return y
    if qkv_T3D.device.type == "cpu":
        return disentangled_attention(qkv_T3D, keys_XD, queries_XD, batch.runs, n_heads, p)
    room = Rectangle.of(batch)
    mixed = disentangled_attention(
        room.filled(qkv_T3D), keys_XD, queries_XD, room.runs, n_heads, p, room.absent_SL
    )
    return mixed[room.places_T]


def attend_disentangled_once(
    q_SD: Tensor,
    kv_T2D: Tensor,
    keys_XD: Tensor | None,
    queries_XD: Tensor | None,
    batch: Packed,
    n_heads: int,
    p: float,
) -> Tensor:
    """As ``attend_once``, with keys and queries of distances."""
    assert batch.only_reads_S is not None, "there is one query per sequence"
    places_S = batch.position_ids_T[batch.only_reads_S]
    both = keys_XD is not None and queries_XD is not None
    if both and compiled.kernels_take(kv_T2D, kv_T2D.shape[1] // 2 // n_heads):
        y: Tensor = compiled.AttendByDistance.apply(
            kv_T2D, q_SD, keys_XD, queries_XD, batch.cu_seqlens, n_heads, p, places_S
        )
        return y
    if kv_T2D.device.type == "cpu":
        return disentangled_attention_once(
            q_SD, kv_T2D, keys_XD, queries_XD, batch.runs, places_S, n_heads, p
        )
    room = Rectangle.of(batch)
    kv_N2D, absent_SL = room.filled(kv_T2D), room.absent_SL
    return disentangled_attention_once(
        q_SD, kv_N2D, keys_XD, queries_XD, room.runs, places_S, n_heads, p, absent_SL
    )
