"""The values of a report's tables: scores, classes and confusions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from onelayer.evaluation.report.facts import Confusions, Evaluation
from onelayer.evaluation.report.markup import fixed

MAX_MATRIX_CLASSES = 30
"""With more classes, the most frequent confusions are listed instead of the matrix."""
MAX_OPEN_LINES = 40
"""Further lines of a table are folded."""
MAX_LINES = 500
"""Further lines of a table are left out."""
MAX_DECIMALS = 8
"""Decimals of the errors of a regression on tiny numbers."""
SHARES = ("precision", "recall", "f1")
"""Columns of a class's scores whose cells are filled in proportion."""
MAX_CONFUSIONS = 25
"""Confusions that are listed if there is no matrix."""


class Whisker(NamedTuple):
    """A score and its interval, in per cent of a perfect score."""

    at: float
    low: float
    high: float


class ScoreLine(NamedTuple):
    """A line of the table of scores."""

    name: str
    value: str
    interval: tuple[str, str] | None
    whisker: Whisker | None


class Cell(NamedTuple):
    """A number of a table. The cell of a share is filled in proportion."""

    text: str
    share: float | None = None


class Classes(NamedTuple):
    """A line per class. The lines after the first ones are folded."""

    columns: Sequence[str]
    open: Sequence[tuple[str, Sequence[Cell]]]
    folded: Sequence[tuple[str, Sequence[Cell]]]
    left_out: int


class Matrix(NamedTuple):
    """A confusion matrix: a row per gold class, shaded by the share of its items."""

    labels: Sequence[str]
    counts: Sequence[Sequence[int]]
    percents: Sequence[Sequence[float]]
    """Shares of the row's items."""
    is_dense: bool


class Confusion(NamedTuple):
    """How often a class is predicted as another one, and the share of the class that this is."""

    gold: str
    predicted: str
    times: int
    share: float


def scores(of: Evaluation) -> list[ScoreLine]:
    """Each score with its interval, as numbers and as a whisker."""
    decimals = score_decimals(of)
    lines = []
    for name, value in of.scores.items():
        interval = of.known_interval(name)
        whisker = _whisker(value, interval, _scale(name, of))
        low_high = interval and (fixed(interval[0], decimals), fixed(interval[1], decimals))
        lines.append(ScoreLine(name, fixed(value, decimals), low_high, whisker))
    return lines


def score_decimals(of: Evaluation) -> int:
    """The decimals of all scores, so that they stand one below the other: enough for three digits
    of the smallest error of a regression."""
    least = 4 if of.perfect == 1 else 2
    errors = [abs(of.scores.get(name, 0)) for name in ("rmse", "mae")]
    errors = [error for error in errors if math.isfinite(error) and error > 0]
    return min(max(least, *(2 - math.floor(math.log10(e)) for e in errors), 0), MAX_DECIMALS)


def headline(of: Evaluation, metric: str) -> tuple[str, tuple[str, str] | None]:
    """A score and its interval, written as in the table of scores."""
    value = fixed(of.scores.get(metric, math.nan), score_decimals(of))
    line = next((line for line in scores(of) if line.name == metric), None)
    return value, line.interval if line else None


def _scale(name: str, of: Evaluation) -> float | None:
    """A perfect score; None for errors, which have no upper limit."""
    if name in ("rmse", "mae", "log_loss", "set_size"):
        return None
    return of.perfect


def _whisker(
    value: float, interval: tuple[float, float] | None, scale: float | None
) -> Whisker | None:
    if scale is None or interval is None or not math.isfinite(value):
        return None
    return Whisker(*(100 * min(max(v / scale, 0.0), 1.0) for v in (value, *interval)))


def by_label(of: Mapping[str, Mapping[str, float]]) -> Classes:
    """Each class's scores."""
    columns = list(next(iter(of.values())))
    lines = [
        (label, [_cell(column, values[column]) for column in columns])
        for label, values in list(of.items())[:MAX_LINES]
    ]
    return Classes(
        columns, lines[:MAX_OPEN_LINES], lines[MAX_OPEN_LINES:], max(len(of) - MAX_LINES, 0)
    )


def _cell(column: str, value: float) -> Cell:
    text = fixed(value, 0 if column == "support" else 3)
    return Cell(text, value if column in SHARES and math.isfinite(value) else None)


def confusion_matrix(of: Confusions) -> Matrix:
    """All confusions, for few classes."""
    shares = of.counts / np.maximum(of.counts.sum(axis=1, keepdims=True), 1)
    is_dense = len(of.labels) > 8 or max(map(len, of.labels)) > 16
    return Matrix(of.labels, of.counts.tolist(), (100 * shares).tolist(), is_dense)


def top_confusions(of: Confusions) -> list[Confusion]:
    """The most frequent confusions, for more classes than a readable matrix has."""
    off = of.counts * ~np.eye(len(of.labels), dtype=np.bool_)
    order = np.argsort(-off, axis=None, kind="stable")[:MAX_CONFUSIONS]
    totals = of.counts.sum(axis=1)
    return [
        Confusion(of.labels[i], of.labels[j], int(off[i, j]), float(off[i, j] / totals[i]))
        for i, j in zip(*np.unravel_index(order, off.shape), strict=True)
        if off[i, j]
    ]
