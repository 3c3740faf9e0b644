"""A bias for attention's scores that depends on the distance of two tokens.

Shape suffixes: H heads, L tokens of the longest sequence.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onelayer.nn.buckets import bucket_of_distances
from onelayer.nn.packed import Packed


class DistanceBias(nn.Module):
    """A number for each bucket of distances and each head (Raffel et al., 2020), which all layers
    share (Song et al., 2020)."""

    def __init__(self, n_buckets: int, n_heads: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_buckets, n_heads))

    def forward(self, batch: Packed) -> Tensor:
        """(H, 2L - 1): what is added to the score of a query and a key, by the place of the key
        minus that of the query: from 1 - L on."""
        longest = max(length for _, length in batch.runs)
        buckets = torch.from_numpy(bucket_of_distances(longest, len(self.weight)))
        return self.weight[buckets.to(self.weight.device)].t()
