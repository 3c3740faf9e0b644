"""Attention over packed sequences on a GPU in fp32, in one call for all of them."""

from __future__ import annotations

import torch
from torch import Tensor

from onelayer.nn.packed import Packed


def exact_attention_takes(q: Tensor, n_heads: int) -> bool:
    """Whether `exact_attend` can compute with these queries."""
    is_exact = q.device.type == "cuda" and q.dtype == torch.float32
    return is_exact and fits_exact(q.shape[1], n_heads)


def fits_exact(width: int, n_heads: int) -> bool:
    """Whether `exact_attend` takes heads of this width: it reads them 16 bytes at a time."""
    return width // n_heads % 4 == 0


def exact_attend(q: Tensor, k: Tensor, v: Tensor, batch: Packed, n_heads: int, p: float) -> Tensor:
    """As ``varlen_attend``, in fp32 and with dropout: PyTorch's memory-efficient attention, which
    ``scaled_dot_product_attention`` offers for packed sequences only as nested tensors."""
    cu_q, cu_k, most, longest = bounds(q, k, batch)
    heads = [x.unflatten(1, (n_heads, -1)).unsqueeze(0) for x in (q, k, v)]
    mixed, *_ = torch.ops.aten._efficient_attention_forward(
        *heads, None, cu_q, cu_k, most, longest, p, 0, torch.is_grad_enabled()
    )
    assert isinstance(mixed, Tensor)
    return mixed[0].flatten(1)


def bounds(q: Tensor, k: Tensor, batch: Packed) -> tuple[Tensor, Tensor, int, int]:
    """Where the queries and the keys of each sequence begin, and how many there are at most."""
    cu_k, longest = batch.cu_seqlens, batch.longest
    if len(q) == len(k):
        return cu_k, cu_k, longest, longest
    cu_q = torch.arange(len(cu_k), dtype=torch.int32, device=q.device)
    return cu_q, cu_k, 1, longest
