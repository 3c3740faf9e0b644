"""The tables of a report as plain values: scores, classes and confusions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from onelayer.evaluation.report.facts import Confusions, Evaluation
from onelayer.evaluation.report.markup import figure

MATRIX = 30
"""Classes up to which the whole confusion matrix is drawn; of more the most frequent confusions."""
SHOWN = 40
"""Lines of a long table that stand open."""
MOST = 500
"""Lines of a table at all."""
CONFUSED = 25
"""Confusions listed where there is no matrix."""


class Whisker(NamedTuple):
    """A score and its interval on a line, in per cent of a perfect score."""

    at: float
    low: float
    high: float


class ScoreLine(NamedTuple):
    """A line of the table of scores."""

    name: str
    value: float
    interval: tuple[float, float] | None
    whisker: Whisker | None


class Cell(NamedTuple):
    """A number of a table. One of a share is filled to it."""

    text: str
    share: float | None = None


class Classes(NamedTuple):
    """A line a class. Where there are many, the rest is folded away."""

    columns: Sequence[str]
    open: Sequence[tuple[str, Sequence[Cell]]]
    folded: Sequence[tuple[str, Sequence[Cell]]]
    left_out: int


class Matrix(NamedTuple):
    """Every gold class as a line, shaded by where its items went."""

    labels: Sequence[str]
    counts: Sequence[Sequence[int]]
    percents: Sequence[Sequence[float]]
    """Of the line's items."""
    is_dense: bool


class Confusion(NamedTuple):
    """A class, what it was taken for, how often, and which share of the class that is."""

    gold: str
    predicted: str
    times: int
    share: float


def scores(of: Evaluation) -> list[ScoreLine]:
    """Each score with its interval, in numbers and on a line from 0 to 1 (or 100)."""
    lines = []
    for name, value in of.scores.items():
        interval = of.known_interval(name)
        lines.append(ScoreLine(name, value, interval, _whisker(value, interval, _scale(name, of))))
    return lines


def _scale(name: str, of: Evaluation) -> float | None:
    """What a perfect score is; None for errors, which have no end."""
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
        for label, values in list(of.items())[:MOST]
    ]
    return Classes(columns, lines[:SHOWN], lines[SHOWN:], max(len(of) - MOST, 0))


def _cell(column: str, value: float) -> Cell:
    if column in ("precision", "recall", "f1"):
        return Cell(f"{value:.3f}", value)
    return Cell(f"{value:.3f}" if column == "threshold" else figure(value))


def confusion_matrix(of: Confusions) -> Matrix:
    """All confusions, of few classes."""
    shares = of.counts / np.maximum(of.counts.sum(axis=1, keepdims=True), 1)
    is_dense = len(of.labels) > 8 or max(map(len, of.labels)) > 16
    return Matrix(of.labels, of.counts.tolist(), (100 * shares).tolist(), is_dense)


def top_confusions(of: Confusions) -> list[Confusion]:
    """The most frequent ones, of more classes than a matrix is readable with."""
    off = of.counts * ~np.eye(len(of.labels), dtype=np.bool_)
    order = np.argsort(-off, axis=None, kind="stable")[:CONFUSED]
    totals = of.counts.sum(axis=1)
    return [
        Confusion(of.labels[i], of.labels[j], int(off[i, j]), float(off[i, j] / totals[i]))
        for i, j in zip(*np.unravel_index(order, off.shape), strict=True)
        if off[i, j]
    ]
