"""A packed batch as a rectangle with a mask, for a GPU: there, one product over a little padding is
faster than many small ones.

Shape suffixes: T packed tokens, S sequences, L tokens of the longest, N any width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from onelayer.nn.disentangled_reference import longest_of
from onelayer.nn.packed import Packed
from onelayer.tokens.packing import Runs


@dataclass(frozen=True, slots=True)
class Rectangle:
    """Where the tokens of a batch are in a rectangle."""

    places_T: Tensor
    """From 0 to S L - 1."""
    absent_SL: Tensor
    """Whether a place has no token."""

    @classmethod
    def of(cls, batch: Packed) -> Rectangle:
        longest = longest_of(batch.runs)
        starts_S = batch.cu_seqlens[:-1].long()
        lengths_S = batch.cu_seqlens.diff().long()
        tokens, device = len(batch.ids_T), batch.ids_T.device
        # Without output_size the CPU would wait for the GPU.
        first_T = torch.arange(len(starts_S), device=device) * longest - starts_S
        first_T = first_T.repeat_interleave(lengths_S, output_size=tokens)
        places_T = first_T + torch.arange(tokens, device=device)
        absent_SL = torch.arange(longest, device=device) >= lengths_S[:, None]
        return cls(places_T, absent_SL)

    @property
    def runs(self) -> Runs:
        """All sequences, as if each had the most tokens."""
        sequences, longest = self.absent_SL.shape
        return ((sequences, longest),)

    def filled(self, x_TN: Tensor) -> Tensor:
        """(T, N) -> (S L, N), with zeros where there is no token."""
        empty = x_TN.new_zeros(self.absent_SL.numel(), x_TN.shape[1])
        return empty.index_copy(0, self.places_T, x_TN)
