"""Flash attention over packed sequences on a GPU, in one call for all of them.

PyTorch's function brings its compiler along, which takes longer to import than all of onelayer:
whoever needs this module imports it when there is a GPU.
"""

from __future__ import annotations

from functools import partial
from inspect import signature

from torch import Tensor
from torch.nn.attention import varlen

from onelayer.nn.exact_attention import bounds
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
    cu_q, cu_k, most, longest = bounds(q, k, batch)
    heads = [x.unflatten(1, (n_heads, -1)) for x in (q, k, v)]
    attend = varlen.varlen_attn
    if reach is not None:
        attend = partial(attend, window_size=(reach, reach))
    mixed = attend(heads[0], heads[1], heads[2], cu_q, cu_k, most, longest)
    assert isinstance(mixed, Tensor), "no auxiliary results were asked for"
    return mixed.flatten(1)
