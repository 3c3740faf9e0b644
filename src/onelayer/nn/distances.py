"""A bias for attention's scores that depends on the distance of two tokens.

Shape suffixes: H heads, L tokens of the longest sequence.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from onelayer.nn.packed import Packed

FARTHEST = 128
"""Distances from here on share a bucket."""


class DistanceBias(nn.Module):
    """A number for each bucket of distances and each head (Raffel et al., 2020), which all layers
    share (Song et al., 2020)."""

    def __init__(self, n_buckets: int, n_heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_buckets, n_heads))

    def forward(self, batch: Packed) -> Tensor:
        """(H, L, L): what is added to the score of a query (second axis) and a key (third)."""
        longest = max(length for _, length in batch.runs)
        places = torch.arange(longest, device=self.weight.device)
        buckets = distance_buckets(places[None] - places[:, None], len(self.weight))
        return self.weight[buckets].permute(2, 0, 1)


def distance_buckets(distances: Tensor, n_buckets: int) -> Tensor:
    """The bucket of each distance of a key from its query, both in tokens.

    Half of the buckets are for keys behind the query. In each half, half of the buckets are for one
    distance each, and the rest get wider logarithmically, up to ``FARTHEST``.
    """
    half = n_buckets // 2
    exact = half // 2
    far = distances.abs()
    steps = torch.log(far.float().clamp_min(1) / exact) / math.log(FARTHEST / exact)
    wide = (exact + (steps * (half - exact)).long()).clamp_max(half - 1)
    return torch.where(distances > 0, half, 0) + torch.where(far < exact, far, wide)
