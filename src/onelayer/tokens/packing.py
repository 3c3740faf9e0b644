"""A batch as one run of real tokens: no padding is ever multiplied."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from onelayer.tokens.encodings import Encodings, Ints, counts, cumulate, ragged

Runs = tuple[tuple[int, int], ...]
"""(number of sequences, their length) for each run of equal lengths."""


@dataclass(frozen=True, slots=True)
class Packing:
    """T tokens of S sequences, end to end, in order of length.

    Equal lengths lie side by side, so that attention works run by run on plain rectangles. The
    order is nobody else's concern: ``reads`` keep the order that was asked for.
    """

    ids: Ints
    """(T,) int64."""
    segment_ids: Ints
    """(T,) int64."""
    position_ids: Ints
    """(T,) int64."""
    cu_seqlens: Ints
    """(S + 1,) int32, tokens before each sequence."""
    runs: Runs
    only_reads: Ints | None
    """(S,) which of the T vectors the layer reads where it reads one of each sequence, in their
    order."""
    reads: Ints
    """(R,) which of the T vectors the layer reads, or of the S ones where ``only_reads`` is
    given."""
    groups: tuple[int, ...]
    """Reads of each example: over these a span or an option is chosen."""
    where: Ints
    """(R,) the reads' places among those of the encodings."""


def packing(encodings: Encodings, examples: Ints) -> Packing:
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
    where = ragged(encodings.cu_reads[sequences], read_counts)
    reads = np.repeat(starts, read_counts) + encodings.reads[where]
    only_reads = None
    if bool((read_counts == 1).all()):
        only_reads, reads = reads[by_length], np.argsort(by_length)
    return Packing(
        ids=encodings.ids[tokens].astype(np.int64),
        segment_ids=encodings.segment_ids[tokens].astype(np.int64),
        position_ids=ragged(np.zeros_like(ordered), ordered),
        cu_seqlens=cumulate(ordered).astype(np.int32),
        runs=tuple((len(list(run)), length) for length, run in groupby(ordered.tolist())),
        only_reads=only_reads,
        reads=reads,
        groups=tuple(np.diff(cumulate(read_counts)[cumulate(per_example)]).tolist()),
        where=where,
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
