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
        """(H, L, L): what is added to the score of a query (second axis) and a key (third)."""
        longest = max(length for _, length in batch.runs)
        places = torch.arange(longest, device=self.weight.device)
        found = torch.from_numpy(bucket_of_distances(longest, len(self.weight)))
        buckets = found.to(self.weight.device)[places - places[:, None] + longest - 1]
        return self.weight[buckets].permute(2, 0, 1)
