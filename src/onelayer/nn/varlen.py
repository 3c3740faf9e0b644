"""Attention over packed sequences on a GPU, in one call for all of them."""

from __future__ import annotations

from functools import partial
from inspect import signature

import torch
from torch import Tensor
from torch.nn.attention import varlen

from onelayer.nn.packed import Packed

TAKES_REACH = "window_size" in signature(varlen.varlen_attn).parameters
"""Whether this PyTorch's flash attention can be limited to tokens nearby."""


def varlen_attend(
    q: Tensor, k: Tensor, v: Tensor, batch: Packed, n_heads: int, reach: int | None = None
) -> Tensor:
    """Flash attention for packed sequences. It has no attention dropout, which the run reports.

    Parameters
    ----------
    q
        (T, D) queries of all tokens, or (S, D) with one per sequence.
    k, v
        (T, D) keys and values.
    batch
        The lengths of the sequences.
    n_heads
        The number of heads, which share D.
    reach
        The most tokens between a query and its keys; None for no limit, which is all that there is
        if not ``TAKES_REACH``.
    """
    cu_q, cu_k, most, longest = _bounds(q, k, batch)
    heads = [x.unflatten(1, (n_heads, -1)) for x in (q, k, v)]
    attend = varlen.varlen_attn
    if reach is not None:
        attend = partial(attend, window_size=(reach, reach))
    mixed = attend(heads[0], heads[1], heads[2], cu_q, cu_k, most, longest)
    assert isinstance(mixed, Tensor), "no auxiliary results were asked for"
    return mixed.flatten(1)


def exact_attention_takes(q: Tensor, n_heads: int) -> bool:
    """Whether `exact_attend` can compute with these queries."""
    is_exact = q.device.type == "cuda" and q.dtype == torch.float32
    return is_exact and fits_exact(q.shape[1], n_heads)


def fits_exact(width: int, n_heads: int) -> bool:
    """Whether `exact_attend` takes heads of this width: it reads them 16 bytes at a time."""
    return width // n_heads % 4 == 0


def exact_attend(q: Tensor, k: Tensor, v: Tensor, batch: Packed, n_heads: int, p: float) -> Tensor:
    """As `varlen_attend`, in fp32 and with dropout: PyTorch's memory-efficient attention, which
    ``scaled_dot_product_attention`` offers for packed sequences only as nested tensors."""
    cu_q, cu_k, most, longest = _bounds(q, k, batch)
    heads = [x.unflatten(1, (n_heads, -1)).unsqueeze(0) for x in (q, k, v)]
    mixed, *_ = torch.ops.aten._efficient_attention_forward(
        *heads, None, cu_q, cu_k, most, longest, p, 0, torch.is_grad_enabled()
    )
    assert isinstance(mixed, Tensor)
    return mixed[0].flatten(1)


def _bounds(q: Tensor, k: Tensor, batch: Packed) -> tuple[Tensor, Tensor, int, int]:
    """Where the queries and the keys of each sequence begin, and how many there are at most."""
    cu_k, longest = batch.cu_seqlens, batch.longest
    if len(q) == len(k):
        return cu_k, cu_k, longest, longest
    cu_q = torch.arange(len(cu_k), dtype=torch.int32, device=q.device)
    return cu_q, cu_k, 1, longest
