"""Rotary positions (Su et al., 2021). Shapes: see ``encoder.py``; K is half the width of a head."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from onelayer.nn.ops import rotate


class Rotary(nn.Module):
    """Turns a query or key by its place in the sequence: the product of two then depends on the
    distance between their places.

    Parameters
    ----------
    width
        The width of a head, whose two halves are the coordinates that are turned.
    base
        See `Rotation`.
    most
        The tokens of the longest sequence.
    """

    turns_P2K: Tensor
    """The cosine and the sine of the angle of each pair of coordinates, by place."""

    def __init__(self, width: int, base: float, most: int) -> None:
        super().__init__()
        speeds_K = 1.0 / base ** (torch.arange(0, width, 2, dtype=torch.float32) / width)
        angles_PK = torch.arange(most, dtype=torch.float32)[:, None] * speeds_K
        turns_P2K = torch.stack([angles_PK.cos(), angles_PK.sin()], dim=1)
        self.register_buffer("turns_P2K", turns_P2K, persistent=False)

    def forward(self, x_TN: Tensor, places_T: Tensor, n_heads: int) -> Tensor:
        """(T, N) -> (T, N): the first ``n_heads`` heads of each row turned, the rest as it was."""
        return rotate(x_TN, places_T, self.turns_P2K, n_heads)
