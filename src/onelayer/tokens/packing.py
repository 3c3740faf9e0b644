"""Packs a batch into one run of real tokens, so that no padding is multiplied."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np

from onelayer.tokens.encodings import Encodings, Ints, counts, cumulate, ragged

Runs = tuple[tuple[int, int], ...]
"""(number of sequences, their length) for each run of equal lengths."""


@dataclass(frozen=True, slots=True)
class Packing:
    """T tokens of S sequences, end to end, ordered by length.

    Sequences of equal length are neighbours, so attention works on plain rectangles, run by run.
    Nothing outside depends on this order: ``reads`` are in the order of the given examples.
    """

    ids: Ints
    """(T,) int64 token ids."""
    segment_ids: Ints
    """(T,) int64, 0 for the first text and 1 for the second."""
    position_ids: Ints
    """(T,) int64 positions within the sequence, from 0."""
    cu_seqlens: Ints
    """(S + 1,) int32, tokens before each sequence."""
    runs: Runs
    only_reads: Ints | None
    """(S,) indices among the T vectors of the one that is read of each sequence, in packed order.
    None if some sequence has more or fewer reads than one."""
    reads: Ints
    """(R,) indices of the vectors that the layer reads: among the S of ``only_reads`` if that is
    given, else among all T."""
    groups: tuple[int, ...]
    """The number of reads of each example, among which a span or an option is chosen."""
    where: Ints
    """(R,) the index of each read among the reads of the encodings, for targets and logits."""


def packing(encodings: Encodings, examples: Ints) -> Packing:
    """Packs examples into one batch.

    Parameters
    ----------
    encodings
        The rows.
    examples
        (E,) indices of the examples, in the order in which their reads are wanted.
    """
    # The sequences of all examples, and their order in the batch. A stable sort gives the same
    # batch for the same examples.
    per_example = counts(encodings.cu_examples, examples)
    sequences = ragged(encodings.cu_examples[examples], per_example)
    lengths = counts(encodings.cu_seqlens, sequences)
    by_length = np.argsort(lengths, kind="stable")
    ordered = lengths[by_length]

    # The indices of all tokens in packed order, and where in the batch each sequence begins.
    tokens = ragged(encodings.cu_seqlens[sequences[by_length]], ordered)
    starts = np.empty_like(lengths)
    starts[by_length] = cumulate(ordered)[:-1]

    # A read is a position within its sequence: adding the sequence's start gives its index.
    read_counts = counts(encodings.cu_reads, sequences)
    where = ragged(encodings.cu_reads[sequences], read_counts)
    reads = np.repeat(starts, read_counts) + encodings.reads[where]
    only_reads = None
    if bool((read_counts == 1).all()):
        # One vector per sequence: the last layer computes just these S in packed order, and the
        # inverse permutation brings them back into the order of the examples.
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
    """Splits examples into groups of at most ``token_budget`` tokens, which bounds the memory.

    Examples of similar length get into one group, the longest first. An example that is longer
    than the budget makes a group of its own.

    Parameters
    ----------
    lengths
        (E,) tokens of each example.
    token_budget
        Tokens of a group, at most.

    Returns
    -------
    list
        For each group, indices of ``lengths``.
    """
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
