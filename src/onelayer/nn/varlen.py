"""Flash attention over packed sequences on a GPU, in half precision."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention import varlen

from onelayer.nn.packed import Packed


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
        The most tokens between a query and its keys; None for no limit.
    """
    cu_k, longest = batch.cu_seqlens, batch.longest
    cu_q, most = cu_k, longest
    if len(q) != len(k):
        cu_q, most = torch.arange(len(cu_k), dtype=torch.int32, device=q.device), 1
    heads = [x.unflatten(1, (n_heads, -1)) for x in (q, k, v)]
    window = (-1, -1) if reach is None else (reach, reach)
    mixed = varlen.varlen_attn(
        heads[0], heads[1], heads[2], cu_q, cu_k, most, longest, window_size=window
    )
    assert isinstance(mixed, Tensor), "no auxiliary results were asked for"
    return mixed.flatten(1)
