"""A packed batch as tensors, the input of the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from onelayer.tokens.encodings import Encodings, Ints
from onelayer.tokens.packing import Runs, packing


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
    is_real_R: Tensor | None = None
    """False for reads that only fill the batch's shape: see ``batch_shapes.py``. None if there are
    none."""
    group_ids_R: Tensor | None = None
    """The number of each read's example, where ``groups`` can't be used: in a recorded step."""

    @property
    def gold(self) -> Tensor:
        """The targets, which a batch for training has."""
        assert self.targets is not None, "rows without gold labels were given to a loss"
        return self.targets

    def to(self, device: torch.device) -> Packed:
        """The batch on a device."""
        if device.type == "cpu":
            return self
        return self._with(lambda tensor: tensor.pin_memory().to(device, non_blocking=True))

    def pinned(self) -> Packed:
        """The batch in memory from which a GPU copies while the CPU continues."""
        return self._with(lambda tensor: tensor.pin_memory())

    def copy_from(self, batch: Packed) -> None:
        """Overwrites the tensors by those of a pinned batch of the same shape."""
        for field in fields(self):
            tensor = getattr(self, field.name)
            if isinstance(tensor, Tensor):
                tensor.copy_(getattr(batch, field.name), non_blocking=True)

    def _with(self, change: Callable[[Tensor], Tensor]) -> Packed:
        tensors: dict[str, Any] = {
            field.name: change(tensor)
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
