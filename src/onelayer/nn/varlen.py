"""Flash attention over packed sequences on a GPU, in half precision."""

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
    cu_k, longest = batch.cu_seqlens, batch.longest
    cu_q, most = cu_k, longest
    if len(q) != len(k):
        cu_q, most = torch.arange(len(cu_k), dtype=torch.int32, device=q.device), 1
    heads = [x.unflatten(1, (n_heads, -1)) for x in (q, k, v)]
    attend = varlen.varlen_attn
    if reach is not None:
        attend = partial(attend, window_size=(reach, reach))
    mixed = attend(heads[0], heads[1], heads[2], cu_q, cu_k, most, longest)
    assert isinstance(mixed, Tensor), "no auxiliary results were asked for"
    return mixed.flatten(1)
