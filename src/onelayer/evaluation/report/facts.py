"""What a report shows, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelayer.checkpoint.record import ModelRecord
from onelayer.tasks.mistakes import Mistake

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Learning:
    """How a run went, step by step; (N,) each, or empty where nobody wrote it down."""

    losses: Sequence[float] = ()
    lrs: Sequence[float] = ()
    tokens: Sequence[int] = ()
    """Real tokens of each step's batch."""
    seconds: Sequence[float] = ()
    evaluations: Sequence[tuple[int, float]] = ()
    """Step and dev score."""
    metric: str = ""
    best_step: int = 0


@dataclass(frozen=True, slots=True)
class Lengths:
    """How long the sequences are before the limit cuts them or parts them into windows."""

    counts: Counts
    """(L,) how many sequences have 0, 1, 2, … tokens, special tokens included."""
    limit: int
    cut_tokens: int
    """Tokens of all these rows that the model did not see."""
    cut_rows: int
    of_options: bool = False
    """Whether a row has several sequences, an option each."""

    @property
    def sequences(self) -> int:
        return int(self.counts.sum())

    @property
    def over(self) -> int:
        """Sequences longer than the limit."""
        return int(self.counts[self.limit + 1 :].sum())

    @property
    def tokens(self) -> int:
        return int((self.counts * range(len(self.counts))).sum())


@dataclass(frozen=True, slots=True)
class Confusions:
    """(K, K) how many items of the class of a line were taken for the class of a column."""

    labels: tuple[str, ...]
    counts: Counts


@dataclass(frozen=True, slots=True)
class Beliefs:
    """Of what was said with about the same probability, how much was true; (B,) each."""

    believed: Floats
    """The mean probability."""
    true: Floats
    """The share that was true."""
    counts: Counts


@dataclass(frozen=True, slots=True)
class WrongRow:
    """A row that the model got wrong, and where it is."""

    where: str
    """Its line in the file, or its name."""
    row: int
    """Its number among the rows, from 1."""
    mistake: Mistake


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A model against the labelled rows of one file."""

    file: str
    rows: int
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    by_label: Mapping[str, Mapping[str, float]]
    lengths: Lengths
    mistakes: tuple[WrongRow, ...]
    """The worst ones, worst first."""
    wrong: int
    """Rows with anything wrong."""
    confusions: Confusions | None = None
    numbers: tuple[Floats, Floats] | None = None
    """Gold and predicted numbers of a regression, (N,) each."""
    beliefs: Beliefs | None = None
    perfect: float = 1.0
    """What scores are where all is right."""

    def known_interval(self, name: str) -> tuple[float, float] | None:
        """The 95 % interval of a score; None where there is none, or it isn't finite."""
        low, high = self.intervals.get(name, (math.nan, math.nan))
        return (low, high) if math.isfinite(low + high) else None


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a report tells."""

    name: str
    """The run's."""
    task: str
    label_noun: str
    """What the task calls a label: label, or type."""
    metric: str
    """The score that chose the checkpoint."""
    summary: str
    evaluation: Evaluation
    learning: Learning = Learning()
    record: ModelRecord | None = None
    """``onelayer.json``, where the run has one."""
