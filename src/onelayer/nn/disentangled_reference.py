"""Disentangled attention in PyTorch: used where there are no kernels, and as their reference in
tests. Shapes: see ``disentangled.py``; n sequences of l tokens are a run, d is the width of a head.

Keys and queries of distances are projected for the batch's longest sequence, and shorter ones use
those in the middle. A row of scores then is a part of a row of products, which starts one place
further left in each next row, so it is read by strides and nothing is gathered.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from onelayer.nn.reference import dropout
from onelayer.tokens.packing import Runs


def disentangled_attention(
    qkv_T3D: Tensor,
    keys_XD: Tensor | None,
    queries_XD: Tensor | None,
    runs: Runs,
    n_heads: int,
    p: float,
    absent_nl: Tensor | None = None,
) -> Tensor:
    """Self-attention within each sequence: (T, 3D) -> (T, D). A single run may have places without
    a token, which no query sees."""
    keys_HdX, queries_HdX = by_head(keys_XD, n_heads), by_head(queries_XD, n_heads)
    width, longest = qkv_T3D.shape[1] // 3, longest_of(runs)
    scale = _scale(width // n_heads, keys_XD, queries_XD)
    mixed = []
    for part, (n, length) in zip(
        qkv_T3D.split([n * length for n, length in runs]), runs, strict=True
    ):
        q, k, v = part.view(n * length, 3, n_heads, -1).permute(1, 2, 0, 3)  # (H, n l, d) each
        q = q * scale
        shape = n_heads, n, length, -1
        scores = q.view(shape) @ k.view(shape).transpose(-1, -2)
        near = slice(longest - length, longest + length - 1)
        if keys_HdX is not None:
            scores = scores + skewed(torch.bmm(q, keys_HdX[..., near]).view(shape))
        if queries_HdX is not None:
            by_key = skewed(torch.bmm(k, queries_HdX[..., near] * scale).view(shape))
            scores = scores + by_key.transpose(-1, -2)
        if absent_nl is not None:
            scores = scores.masked_fill(absent_nl[:, None], -torch.inf)
        y = dropout(_shares(scores), p) @ v.view(shape)
        mixed.append(y.permute(1, 2, 0, 3).reshape(n * length, width))
    return torch.cat(mixed)


def disentangled_attention_once(
    q_SD: Tensor,
    kv_T2D: Tensor,
    keys_XD: Tensor | None,
    queries_XD: Tensor | None,
    runs: Runs,
    places_S: Tensor,
    n_heads: int,
    p: float,
    absent_nl: Tensor | None = None,
) -> Tensor:
    """The same with one query per sequence, at its place: (S, D), (T, 2D) -> (S, D)."""
    width, middle = q_SD.shape[1], longest_of(runs) - 1
    scale = _scale(width // n_heads, keys_XD, queries_XD)
    counts = [n for n, _ in runs]
    parts = kv_T2D.split([n * length for n, length in runs])
    mixed = []
    for part, q, place_n, (n, length) in zip(
        parts, q_SD.split(counts), places_S.split(counts), runs, strict=True
    ):
        k, v = part.view(n, length, 2, n_heads, -1).unbind(2)  # (n, l, H, d) each
        q = (q * scale).view(n, n_heads, -1)
        steps_nl = torch.arange(length, device=q.device) - place_n[:, None]  # from query to key
        scores = torch.einsum("nhd,nlhd->nhl", q, k)
        if keys_XD is not None:
            near = keys_XD[middle + steps_nl].view(n, length, n_heads, -1)
            scores = scores + torch.einsum("nhd,nlhd->nhl", q, near)
        if queries_XD is not None:
            near = queries_XD[middle - steps_nl].view(n, length, n_heads, -1)
            scores = scores + (k * near).sum(-1).transpose(1, 2) * scale
        if absent_nl is not None:
            scores = scores.masked_fill(absent_nl[:, None], -torch.inf)
        weights = dropout(_shares(scores), p)
        mixed.append(torch.einsum("nhl,nlhd->nhd", weights, v).reshape(n, width))
    return torch.cat(mixed)


def longest_of(runs: Runs) -> int:
    """Tokens of the longest sequence. For a GPU sequences are added, so it may be in any run."""
    return max(length for _, length in runs)


def by_head(x_XD: Tensor | None, n_heads: int) -> Tensor | None:
    """(X, D) -> (H, d, X)."""
    return None if x_XD is None else x_XD.view(len(x_XD), n_heads, -1).permute(1, 2, 0)


def skewed(products: Tensor) -> Tensor:
    """(..., l, 2 l - 1) -> (..., l, l), a view: of row i the columns from l - 1 - i on."""
    *outer, length, across = products.shape
    products = products.contiguous()
    strides = [*products.stride()[:-2], across - 1, 1]
    offset = products.storage_offset() + length - 1
    return products.as_strided([*outer, length, length], strides, offset)


def _shares(scores: Tensor) -> Tensor:
    """The softmax, in fp32 also for scores in bfloat16."""
    return scores.softmax(-1, dtype=torch.float32).to(scores.dtype)


def _scale(d: int, keys_XD: Tensor | None, queries_XD: Tensor | None) -> float:
    """Scores are sums of up to three products, and divided by the deviation of the sum."""
    n_parts = 1 + (keys_XD is not None) + (queries_XD is not None)
    return 1 / math.sqrt(d * n_parts)
