"""A packed batch as tensors, the input of the model."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from onelayer.tokens.encodings import Encodings, Ints
from onelayer.tokens.packing import Runs, packing

FILLED_TO = 128
"""Tokens. A GPU's library searches for the fastest product for each new number of rows, which takes
longer than the product itself in a small batch. If this grows, more is computed for nothing."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A ``Packing`` as tensors: T tokens of S sequences; the output layer reads R vectors."""

    ids_T: Tensor
    segment_ids_T: Tensor
    position_ids_T: Tensor
    cu_seqlens: Tensor
    """(S + 1,) int32, tokens before each sequence."""
    runs: Runs
    longest: int
    """The tokens of the longest sequence, rounded up to a multiple of 64. Flash attention is
    compiled for each such number; rounding makes that rare."""
    only_reads_S: Tensor | None
    """Indices among T of the one vector read of each sequence; None if the numbers differ."""
    reads_R: Tensor
    """Indices of the read vectors: among the S of ``only_reads_S`` if given, else among T."""
    groups: tuple[int, ...]
    """The number of reads of each example, among which a span or an option is chosen."""
    targets: Tensor | None

    @property
    def gold(self) -> Tensor:
        """The targets, which a batch for training has."""
        assert self.targets is not None, "rows without gold labels were given to a loss"
        return self.targets

    def filled(self) -> Packed:
        """The batch with one more sequence, of tokens that nothing reads, so that the number of
        tokens is a multiple of ``FILLED_TO``."""
        tokens = len(self.ids_T)
        spare = FILLED_TO - tokens % FILLED_TO  # at least one, so there always is a sequence more
        reads_S = self.only_reads_S
        return replace(
            self,
            ids_T=F.pad(self.ids_T, (0, spare)),
            segment_ids_T=F.pad(self.segment_ids_T, (0, spare)),
            position_ids_T=F.pad(self.position_ids_T, (0, spare)),
            cu_seqlens=F.pad(self.cu_seqlens, (0, 1), value=tokens + spare),
            runs=(*self.runs, (1, spare)),
            longest=max(self.longest, FILLED_TO),
            only_reads_S=None if reads_S is None else F.pad(reads_S, (0, 1), value=tokens),
        )

    def to(self, device: torch.device) -> Packed:
        """The batch on a device. Pinned memory lets the copies run while the CPU continues."""
        if device.type == "cpu":
            return self
        tensors: dict[str, Any] = {
            field.name: tensor.pin_memory().to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(tensor := getattr(self, field.name), Tensor)
        }
        return replace(self, **tensors)


def pack(encodings: Encodings, examples: Ints) -> Packed:
    """Packs the examples with these indices, in this order; see `packing`."""
    batch = packing(encodings, examples)
    targets = encodings.targets
    longest = batch.runs[-1][1]
    return Packed(
        ids_T=torch.from_numpy(batch.ids),
        segment_ids_T=torch.from_numpy(batch.segment_ids),
        position_ids_T=torch.from_numpy(batch.position_ids),
        cu_seqlens=torch.from_numpy(batch.cu_seqlens),
        runs=batch.runs,
        longest=-(-longest // 64) * 64,
        only_reads_S=None if batch.only_reads is None else torch.from_numpy(batch.only_reads),
        reads_R=torch.from_numpy(batch.reads),
        groups=batch.groups,
        targets=None if targets is None else torch.from_numpy(targets[batch.where]),
    )
