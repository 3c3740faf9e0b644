"""The values that a report shows."""

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
    """A run's training curves, (N,) for N steps each, or empty if they were not recorded."""

    losses: Sequence[float] = ()
    lrs: Sequence[float] = ()
    tokens: Sequence[int] = ()
    """Tokens of each step's batch, without padding."""
    seconds: Sequence[float] = ()
    evaluations: Sequence[tuple[int, float]] = ()
    """Step and dev score."""
    metric: str = ""
    best_step: int = 0
    interval: tuple[float, float] | None = None
    """The 95 % interval of the best dev score; None if it isn't known."""


@dataclass(frozen=True, slots=True)
class Lengths:
    """The lengths of the sequences before the limit cuts them or splits them into windows."""

    counts: Counts
    """(L,) The number of sequences of 0, 1, 2, … tokens, special tokens included."""
    limit: int
    cut_tokens: int
    """The tokens of these rows that the limit cut off."""
    cut_rows: int
    of_options: bool = False
    """Whether a row has several sequences, one per option."""

    @property
    def sequences(self) -> int:
        return int(self.counts.sum())

    @property
    def over(self) -> int:
        """The number of sequences longer than the limit."""
        return int(self.counts[self.limit + 1 :].sum())

    @property
    def tokens(self) -> int:
        return int((self.counts * range(len(self.counts))).sum())


@dataclass(frozen=True, slots=True)
class Confusions:
    """A confusion matrix, (K, K): the items by gold class (row) and predicted class (column)."""

    labels: tuple[str, ...]
    counts: Counts


@dataclass(frozen=True, slots=True)
class Beliefs:
    """A reliability diagram: predictions in B bins of similar probability; (B,) each."""

    believed: Floats
    """The mean probability of a bin."""
    true: Floats
    """The share of a bin's predictions that is correct."""
    counts: Counts


@dataclass(frozen=True, slots=True)
class WrongRow:
    """A row with a wrong prediction, and its place."""

    where: str
    """Its line in the file, or its name."""
    row: int
    """Its number among the rows, from 1."""
    mistake: Mistake


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The results of a model on one labelled file."""

    file: str
    rows: int
    scores: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    by_label: Mapping[str, Mapping[str, float]]
    lengths: Lengths
    mistakes: tuple[WrongRow, ...]
    """The worst mistakes, worst first."""
    wrong: int
    """The number of rows with any mistake."""
    confusions: Confusions | None = None
    numbers: tuple[Floats, Floats] | None = None
    """Gold and predicted numbers of a regression, (N,) each."""
    beliefs: Beliefs | None = None
    caveats: tuple[str, ...] = ()
    """What the scores can't tell, in words."""
    perfect: float = 1.0
    """A perfect score: 1, or 100 for metrics on that scale."""

    def known_interval(self, name: str) -> tuple[float, float] | None:
        """The 95 % interval of a score; None if there is none or it isn't finite."""
        low, high = self.intervals.get(name, (math.nan, math.nan))
        return (low, high) if math.isfinite(low + high) else None


@dataclass(frozen=True, slots=True)
class ReportFacts:
    """Everything that a report shows."""

    name: str
    """The name of the run."""
    task: str
    label_noun: str
    """The task's word for a label: label, or type."""
    metric: str
    """The score that chose the checkpoint."""
    summary: str
    evaluation: Evaluation
    learning: Learning = Learning()
    record: ModelRecord | None = None
    """``onelayer.json``; None if the model has none."""
