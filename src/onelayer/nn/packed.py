"""A batch as one run of real tokens: no padding is ever multiplied."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onelayer.text.encoding import Encodings, Ints, counts, cumulate, ragged

Runs = tuple[tuple[int, int], ...]
"""(number of sequences, their length) for each run of equal lengths."""


@dataclass(frozen=True, slots=True)
class Packed:
    """T tokens of S sequences, end to end, in order of length.

    Equal lengths lie side by side, so that attention works run by run on plain rectangles. The
    order is nobody else's concern: ``reads_R`` and ``targets`` keep the order that was asked for.
    """

    ids_T: Tensor
    segment_ids_T: Tensor
    position_ids_T: Tensor
    cu_seqlens: Tensor
    """(S + 1,) int32, tokens before each sequence."""
    runs: Runs
    longest: int
    """At least the tokens of the longest sequence: a multiple of 64, so that code which is compiled
    for each such number is compiled rarely."""
    only_reads_S: Tensor | None
    """The T vectors that the layer reads where it reads one of each sequence, in their order."""
    reads_R: Tensor
    """Which of the T vectors the layer reads, or of the S ones where ``only_reads_S`` is given."""
    groups: tuple[int, ...]
    """Reads of each example: over these a span or an option is chosen."""
    targets: Tensor | None

    @property
    def gold(self) -> Tensor:
        """The targets of a batch that is learned from."""
        assert self.targets is not None, "rows without gold labels were given to a loss"
        return self.targets

    def to(self, device: torch.device) -> Packed:
        if device.type == "cpu":
            return self
        tensors: dict[str, Any] = {
            field.name: tensor.pin_memory().to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(tensor := getattr(self, field.name), Tensor)
        }
        return replace(self, **tensors)


def pack(encodings: Encodings, examples: Ints) -> Packed:
    """The given examples, in the given order, as one packed batch."""
    per_example = counts(encodings.cu_examples, examples)
    sequences = ragged(encodings.cu_examples[examples], per_example)
    lengths = counts(encodings.cu_seqlens, sequences)
    by_length = np.argsort(lengths, kind="stable")
    ordered = lengths[by_length]

    tokens = ragged(encodings.cu_seqlens[sequences[by_length]], ordered)
    starts = np.empty_like(lengths)
    starts[by_length] = cumulate(ordered)[:-1]

    read_counts = counts(encodings.cu_reads, sequences)
    reads = ragged(encodings.cu_reads[sequences], read_counts)
    groups = np.diff(cumulate(read_counts)[cumulate(per_example)])
    targets = encodings.targets
    reads_R = np.repeat(starts, read_counts) + encodings.reads[reads]
    only_reads_S = None
    if bool((read_counts == 1).all()):
        only_reads_S, reads_R = torch.from_numpy(reads_R[by_length]), np.argsort(by_length)
    return Packed(
        ids_T=torch.from_numpy(encodings.ids[tokens].astype(np.int64)),
        segment_ids_T=torch.from_numpy(encodings.segment_ids[tokens].astype(np.int64)),
        position_ids_T=torch.from_numpy(ragged(np.zeros_like(ordered), ordered)),
        cu_seqlens=torch.from_numpy(cumulate(ordered).astype(np.int32)),
        runs=tuple((len(list(run)), length) for length, run in groupby(ordered.tolist())),
        longest=-(-int(lengths.max()) // 64) * 64,
        only_reads_S=only_reads_S,
        reads_R=torch.from_numpy(reads_R),
        groups=tuple(groups.tolist()),
        targets=None if targets is None else torch.from_numpy(targets[reads]),
    )


def micro_batches(lengths: Ints, token_budget: int) -> list[Ints]:
    """Splits examples of the given lengths into groups of at most ``token_budget`` tokens each,
    long ones together; an example longer than the budget stands alone. Returns positions in
    ``lengths``."""
    order = np.argsort(-lengths, kind="stable")
    groups: list[list[int]] = []
    room = 0
    for position in order.tolist():
        length = int(lengths[position])
        if length > room:
            groups.append([])
            room = token_budget
        groups[-1].append(position)
        room -= length
    return [np.asarray(group) for group in groups]
