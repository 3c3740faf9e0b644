"""Token sequences as ragged arrays: the output of a task's ``encode``, the input of every engine.

A *row* of the user's file becomes one or more *sequences* (windows of a long passage, options of
a choice). The new layer *reads* some vectors of each sequence: ``[CLS]``, the first subword of
every word, or every passage token. Targets belong to these reads, so a batch is cut from the
arrays in the same way for every task.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Cut:
    """What a length limit cost: it left out ``tokens`` tokens from ``rows`` rows; ``of_tokens`` and
    ``of_rows`` are the totals."""

    tokens: int = 0
    rows: int = 0
    of_tokens: int = 0
    of_rows: int = 0

    def __add__(self, other: Cut) -> Cut:
        return Cut(
            self.tokens + other.tokens,
            self.rows + other.rows,
            self.of_tokens + other.of_tokens,
            self.of_rows + other.of_rows,
        )

    @classmethod
    def of(cls, lost: Ints, whole: Ints) -> Cut:
        """The sum over rows: ``lost`` (B,) tokens of each row, and ``whole`` (B,) tokens before."""
        return cls(int(lost.sum()), int(np.count_nonzero(lost)), int(whole.sum()), len(whole))

    def __str__(self) -> str:
        return (
            f"the length limit leaves {self.tokens:,} tokens "
            f"({self.tokens / max(self.of_tokens, 1):.1%}) of {self.rows:,} of {self.of_rows:,} "
            "rows unread"
        )


@dataclass(frozen=True, slots=True)
class Encodings:
    """N tokens of S sequences in E examples and B rows; the layer reads R of their vectors.

    The ``cu_`` arrays hold cumulative counts that begin with 0: item ``i`` of the outer kind spans
    ``cu[i]:cu[i + 1]`` of the inner kind.
    """

    ids: Ints
    """(N,) token ids, special tokens included."""
    segment_ids: Ints
    """(N,) 0 for the first text; 1 for the second one where the tokenizer tells them apart."""
    cu_seqlens: Ints
    """(S + 1,) tokens before each sequence."""
    reads: Ints
    """(R,) positions, within their sequence, of the vectors that the layer reads."""
    cu_reads: Ints
    """(S + 1,) reads before each sequence."""
    cu_examples: Ints
    """(E + 1,) sequences before each training example."""
    cu_rows: Ints
    """(B + 1,) sequences before each row of the file."""
    second_at: Ints
    """(S,) the position, within its sequence, at which the second text of a pair begins; the
    sequence's length where there is one text."""
    targets: NDArray[np.generic] | None = None
    """(R,) or (R, C), as the head's loss needs them; None if the rows have no gold labels."""
    offsets: Ints | None = None
    """(R, 2) character span of each read token, if decoding needs it; [CLS] has (-1, -1)."""
    cut: Cut = Cut()

    @property
    def lengths(self) -> Ints:
        """(S,) tokens of each sequence."""
        return np.diff(self.cu_seqlens)

    @property
    def has_pairs(self) -> bool:
        """Whether any sequence has two texts."""
        return bool((self.second_at < self.lengths).any())

    @property
    def n_examples(self) -> int:
        return len(self.cu_examples) - 1

    def example_lengths(self, examples: Ints) -> Ints:
        """The number of tokens of each of the given examples."""
        starts, ends = self.cu_examples[examples], self.cu_examples[examples + 1]
        return self.cu_seqlens[ends] - self.cu_seqlens[starts]

    @property
    def row_reads(self) -> Ints:
        """(B + 1,) reads before each row, which says where the row's logits are."""
        return self.cu_reads[self.cu_rows]

    def __len__(self) -> int:
        return len(self.cu_rows) - 1

    def part(self, start: int, stop: int) -> Encodings:
        """The rows ``start:stop``, as views of these arrays and without ``cut``; for all rows, this
        object itself."""
        if start == 0 and stop == len(self):
            return self
        # Sequences first:last; the cumulative counts give the tokens, reads and examples in them.
        first, last = self.cu_rows[[start, stop]].tolist()
        tokens = slice(*self.cu_seqlens[[first, last]].tolist())
        reads = slice(*self.cu_reads[[first, last]].tolist())
        examples = slice(*np.searchsorted(self.cu_examples, [first, last]).tolist())
        cu_examples = self.cu_examples[examples.start : examples.stop + 1]
        # Cumulative counts begin with 0 again, so each loses what lies before the part.
        return Encodings(
            ids=self.ids[tokens],
            segment_ids=self.segment_ids[tokens],
            cu_seqlens=self.cu_seqlens[first : last + 1] - tokens.start,
            reads=self.reads[reads],
            cu_reads=self.cu_reads[first : last + 1] - reads.start,
            cu_examples=cu_examples - first,
            cu_rows=self.cu_rows[start : stop + 1] - first,
            second_at=self.second_at[first:last],
            targets=None if self.targets is None else self.targets[reads],
            offsets=None if self.offsets is None else self.offsets[reads],
        )

    def of_rows(self, rows: Ints) -> Encodings:
        """The rows of these numbers in their order, as copies and without ``cut``."""
        n_sequences = counts(self.cu_rows, rows)
        # A row has whole examples, because an example is a row or a single sequence.
        first, stop = np.searchsorted(
            self.cu_examples, (self.cu_rows[rows], self.cu_rows[rows + 1])
        )
        examples = ragged(first, stop - first)
        return self.of_sequences(
            ragged(self.cu_rows[rows], n_sequences),
            cu_examples=cumulate(counts(self.cu_examples, examples)),
            cu_rows=cumulate(n_sequences),
        )

    def alone(self, sequences: Ints) -> Encodings:
        """The sequences of these numbers, each as a row of its own."""
        each = np.arange(len(sequences) + 1)
        return self.of_sequences(sequences, cu_examples=each, cu_rows=each)

    def of_sequences(self, sequences: Ints, *, cu_examples: Ints, cu_rows: Ints) -> Encodings:
        """The sequences of these numbers in their order, as copies, for these examples and rows."""
        lengths, n_reads = counts(self.cu_seqlens, sequences), counts(self.cu_reads, sequences)
        tokens = ragged(self.cu_seqlens[sequences], lengths)
        reads = ragged(self.cu_reads[sequences], n_reads)
        return Encodings(
            ids=self.ids[tokens],
            segment_ids=self.segment_ids[tokens],
            cu_seqlens=cumulate(lengths),
            reads=self.reads[reads],
            cu_reads=cumulate(n_reads),
            cu_examples=cu_examples,
            cu_rows=cu_rows,
            second_at=self.second_at[sequences],
            targets=None if self.targets is None else self.targets[reads],
            offsets=None if self.offsets is None else self.offsets[reads],
        )


def joined(parts: Sequence[Encodings]) -> Encodings:
    """The rows of several encodings of one task, one after the other, with targets if all have
    them."""

    def after(name: str) -> Ints:
        """Each part's counts continue where those of the part before end."""
        steps = [np.diff(getattr(part, name)) for part in parts]
        return cumulate(np.concatenate(steps))

    def end_to_end(name: str) -> Ints:
        return np.concatenate([getattr(part, name) for part in parts])

    if len(parts) == 1:
        return parts[0]
    offsets = [part.offsets for part in parts if part.offsets is not None]
    targets = [part.targets for part in parts if part.targets is not None]
    return Encodings(
        ids=end_to_end("ids"),
        segment_ids=end_to_end("segment_ids"),
        cu_seqlens=after("cu_seqlens"),
        reads=end_to_end("reads"),
        cu_reads=after("cu_reads"),
        cu_examples=after("cu_examples"),
        cu_rows=after("cu_rows"),
        second_at=end_to_end("second_at"),
        targets=np.concatenate(targets) if len(targets) == len(parts) else None,
        offsets=np.concatenate(offsets) if offsets else None,
    )


def first_sequences(encodings: Encodings) -> Encodings:
    """Only the first sequence of every row: the first window of a long text."""
    return encodings.alone(encodings.cu_rows[:-1])


def cumulate(counts: Sequence[int] | Ints) -> Ints:
    """(n,) counts -> (n + 1,) cumulative counts that begin with 0."""
    return np.concatenate(([0], np.cumsum(np.asarray(counts, dtype=np.int64))))


def counts(cu: Ints, items: Ints) -> Ints:
    """The counts of the given items, from cumulative counts."""
    return cu[items + 1] - cu[items]


def ragged(starts: Ints, lengths: Ints) -> Ints:
    """The indices ``starts[i] : starts[i] + lengths[i]`` of all runs ``i``, end to end."""
    # Run i begins in the output after the runs before it. Its shift takes output positions to
    # indices, so one arange serves all runs and no Python loop is needed.
    shifts = starts - cumulate(lengths)[:-1]
    return np.repeat(shifts, lengths) + np.arange(int(lengths.sum()))


@dataclass(slots=True)
class EncodingsBuilder:
    """Collects sequences one by one; ``build`` makes arrays of them."""

    second_segment: int = 1
    """The segment id of second texts, as the tokenizer's template has it."""
    ids: list[int] = field(default_factory=list)
    segment_ids: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    second_at: list[int] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    read_counts: list[int] = field(default_factory=list)
    row_counts: list[int] = field(default_factory=list)
    cut: Cut = Cut()

    def start_row(self, tokens: int = 0, lost: int = 0) -> None:
        """Begins a row of ``tokens`` tokens; a length limit cuts off ``lost`` of them."""
        self.row_counts.append(0)
        self.cut += Cut(lost, int(lost > 0), tokens, 1)

    def add(self, ids: Sequence[int], first: int, reads: Sequence[int] = (0,)) -> None:
        """Adds a sequence to the current row.

        Parameters
        ----------
        ids
            The token ids, special tokens included.
        first
            The number of leading tokens before the second text of a pair; all where there is one
            text.
        reads
            Positions of the vectors that the layer reads.
        """
        self.ids += ids
        self.segment_ids += [0] * first + [self.second_segment] * (len(ids) - first)
        self.lengths.append(len(ids))
        self.second_at.append(first)
        self.reads += reads
        self.read_counts.append(len(reads))
        self.row_counts[-1] += 1

    def build(self, *, examples_are_rows: bool) -> Encodings:
        """The arrays. An example is a row, or a single sequence for tasks that learn from each
        window by itself."""
        rows = cumulate(self.row_counts)
        return Encodings(
            ids=np.asarray(self.ids, dtype=np.int32),
            segment_ids=np.asarray(self.segment_ids, dtype=np.uint8),
            cu_seqlens=cumulate(self.lengths),
            reads=np.asarray(self.reads, dtype=np.int32),
            cu_reads=cumulate(self.read_counts),
            cu_examples=rows if examples_are_rows else np.arange(len(self.lengths) + 1),
            cu_rows=rows,
            second_at=np.asarray(self.second_at, dtype=np.int32),
            cut=self.cut,
        )


def segment_means(values: NDArray[np.float32], sizes: Ints) -> NDArray[np.float32]:
    """(N, D) values in G runs of ``sizes`` (G,) -> (G, D) the mean of each run; 0 for an empty
    one."""
    means = np.zeros((len(sizes), values.shape[1]), dtype=np.float32)
    filled = sizes > 0
    if filled.any():
        sums = np.add.reduceat(values, cumulate(sizes)[:-1][filled])
        means[filled] = sums / sizes[filled, None]
    return means
