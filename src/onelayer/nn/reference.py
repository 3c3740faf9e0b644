"""The operations of the compiled kernels in PyTorch: used where there are no kernels, and as their
reference in tests. Shapes: see ``encoder.py``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from onelayer.tokens.packing import Runs


class _MaskedScale(torch.autograd.Function):
    """x * mask * scale, keeping one byte per element for the backward pass."""

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
    """True with probability 1 - p, exact to 1/65536. 64 random bits serve four elements, because
    on a CPU drawing random numbers takes most of dropout's time."""
    n = shape.numel()
    bits = torch.empty((n + 3) // 4, dtype=torch.int64).random_(-(2**63), None)
    lanes = bits.view(torch.int16)[:n]
    return (lanes >= round(p * 65536) - 32768).view(shape)


def dropout(x: Tensor, p: float) -> Tensor:
    """Zeroes each element with probability p and scales the rest by 1 / (1 - p)."""
    if p == 0.0:
        return x
    if x.device.type != "cpu":
        return F.dropout(x, p)
    dropped: Tensor = _MaskedScale.apply(x, keep_mask(x.shape, p), 1.0 / (1.0 - p))
    return dropped


def add_norm(
    x_TD: Tensor, h_TD: Tensor, weight: Tensor, bias: Tensor, eps: float, p: float
) -> Tensor:
    """LayerNorm(x + dropout(h))."""
    return F.layer_norm(x_TD + dropout(h_TD, p), weight.shape, weight, bias, eps)


def rotate(x_TN: Tensor, places_T: Tensor, turns_P2K: Tensor, n_heads: int) -> Tensor:
    """Turns the first ``n_heads`` heads of each row by the angles of its place: see `ops.rotate`.
    A pair of coordinates is one of a head's first half, and its like in the second."""
    half = turns_P2K.shape[2]
    cos_T1K, sin_T1K = turns_P2K[places_T].unsqueeze(2).unbind(1)
    turned, rest = x_TN.split([2 * half * n_heads, x_TN.shape[1] - 2 * half * n_heads], dim=1)
    a, b = turned.float().unflatten(1, (n_heads, 2, half)).unbind(2)
    pairs = torch.stack([a * cos_T1K - b * sin_T1K, b * cos_T1K + a * sin_T1K], dim=2)
    return torch.cat([pairs.flatten(1).to(x_TN.dtype), rest], dim=1)


def attend(
    qkv_T3D: Tensor,
    runs: Runs,
    n_heads: int,
    p: float,
    bias_HW: Tensor | None = None,
    reach: int | None = None,
) -> Tensor:
    """Self-attention within each sequence: (T, 3D) -> (T, D). Sequences of equal length are
    computed together, as a rectangle that needs no mask, except for one with ``reach``."""
    # One split instead of a slice per run: each slice's gradient would be a whole tensor of zeros.
    parts = qkv_T3D.split([n * length for n, length in runs])
    mixed = []
    for part, (n, length) in zip(parts, runs, strict=True):
        q, k, v = part.view(n, length, 3, n_heads, -1).permute(2, 0, 3, 1, 4)
        bias = None if bias_HW is None else by_places(bias_HW, length)
        if reach is not None and reach < length - 1:
            near = within(length, reach, qkv_T3D.device)
            bias = near if bias is None else bias + near
        mixed.append(_mix(q, k, v, p, bias).transpose(1, 2).reshape(n * length, -1))
    return torch.cat(mixed)


def by_places(bias_HW: Tensor, length: int) -> Tensor:
    """A bias by distance, (H, 2L - 1), for every query and key: (H, length, length)."""
    longest = (bias_HW.shape[1] + 1) // 2
    near_HW = bias_HW[:, longest - length : longest + length - 1]
    # Window w begins at distance w + 1 - length; that of the query at place i, at -i.
    return near_HW.unfold(1, length, 1).flip(1)


def within(length: int, reach: int, device: torch.device) -> Tensor:
    """(L, L): 0 for a query and a key that are at most ``reach`` apart, else -infinity."""
    places = torch.arange(length, device=device)
    far = (places[None] - places[:, None]).abs() > reach
    return torch.zeros(length, length, device=device).masked_fill_(far, -torch.inf)


def attend_once(
    q_SD: Tensor,
    kv_T2D: Tensor,
    runs: Runs,
    n_heads: int,
    p: float,
    bias_HW: Tensor | None = None,
    places_S: Tensor | None = None,
) -> Tensor:
    """As ``attend``, with one query per sequence: (S, D), (T, 2D) -> (S, D). A bias needs the
    place of each query in its sequence."""
    parts = kv_T2D.split([n * length for n, length in runs])
    counts = [n for n, _ in runs]
    queries = q_SD.split(counts)
    places: Sequence[Tensor | None] = [None] * len(runs)
    if places_S is not None:
        places = places_S.split(counts)
    mixed = []
    for part, query, place, (n, length) in zip(parts, queries, places, runs, strict=True):
        k, v = part.view(n, length, 2, n_heads, -1).permute(2, 0, 3, 1, 4)
        q = query.view(n, n_heads, 1, -1)
        bias = None
        if bias_HW is not None and place is not None:
            every = by_places(bias_HW, length)
            bias = every[:, place].transpose(0, 1).unsqueeze(2)
        mixed.append(_mix(q, k, v, p, bias).reshape(n, -1))
    return torch.cat(mixed)


def _mix(q: Tensor, k: Tensor, v: Tensor, p: float, bias: Tensor | None) -> Tensor:
    """Scaled dot-product attention: (n, heads, length, d) each -> (n, heads, length, d)."""
    if p == 0.0 or q.device.type != "cpu":
        mask = None if bias is None else bias.to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=p)
    # With dropout_p > 0, scaled_dot_product_attention has no fast path on a CPU.
    scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2)
    if bias is not None:
        scores = scores + bias
    return dropout(scores.softmax(-1), p) @ v
