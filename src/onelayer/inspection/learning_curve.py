"""A learning curve: the score on growing parts of a file, and what more rows would bring."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.base.errors import UsageError
from onelayer.base.result import Result, Table
from onelayer.data.in_memory import TableLike, source_of, source_path
from onelayer.inspection.curve_finding import CurveFinding, Verdict, score_range, short_score
from onelayer.inspection.curve_picture import check_picture, write_picture
from onelayer.inspection.curve_plan import plan_in_memory
from onelayer.inspection.curve_runs import CurveRuns
from onelayer.metrics import Scorer, intervals
from onelayer.metrics.power_law import PowerLawForecast
from onelayer.recipe import Recipe
from onelayer.training.notebook import default_reporter
from onelayer.training.progress import Reporter

CHART_WIDTH = 32
"""Characters of the chart in the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """The score of models of a number of rows."""

    rows: int
    score: float | None
    """None where the models have no such score: a constant prediction has no correlation."""
    interval: tuple[float, float] | None
    """95 %, as `evaluate` gives it: of the rows that were scored."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LearningCurve(Result):
    """The score on growing parts of a file, and what is to be expected of more rows."""

    file: str
    rows: int
    """Of the whole file."""
    rows_used: int
    metric: str
    folds: int
    """Parts of the file that were scored, each by models of the other folds."""
    draws: int
    """How often each part was drawn from a fold's training rows."""
    points: tuple[CurvePoint, ...]
    expected: tuple[PowerLawForecast, ...]
    """With all rows and with twice the rows; empty with too few points."""
    rise: tuple[float, float, float] | None
    """The mean rise of the score with twice the rows, and its 95 % interval."""
    verdict: Verdict
    says: str
    """The verdict in words."""
    out: str | None = None
    """The picture that was written."""

    def parts(self) -> list[str | Table]:
        used = "" if self.rows_used == self.rows else f", {self.rows_used:,} of them used"
        chart = _Chart.of(self)
        lines = [["rows", self.metric, "95 % interval", ""]]
        for point in self.points:
            bounds = point.interval or (math.nan, math.nan)
            cells = [short_score(point.score), score_range(bounds)]
            lines.append([f"{point.rows:,}", *cells, chart.line(point.score, bounds, "●─")])
        for one in self.expected:
            bounds = one.low, one.high
            cells = [short_score(one.score), score_range(bounds)]
            lines.append([f"{one.rows:,} expected", *cells, chart.line(one.score, bounds, "○╌")])
        saved = [f"saved {self.out}"] if self.out else []
        return [f"{Path(self.file).name}, {self.rows:,} rows{used}", lines, self.says, *saved]


def curve(
    file: str | Path | TableLike,
    *,
    out: str | Path | None = None,
    max_rows: int = 8000,
    recipe: Recipe | None = None,
    reporter: Reporter | None = None,
    **choices: Any,
) -> LearningCurve:
    """Score models of growing parts of a labelled file, and estimate what more rows would bring.

    Each part is drawn from all folds but one, and its model is scored on that fold. Parts are
    nested, have their share of each class and whole groups, such as passages.

    Parameters
    ----------
    file
        A labelled file, or labelled rows: see `TableLike`.
    out
        The picture to write: svg, png or pdf. By default nothing is written.
    max_rows
        The rows to use at most, drawn at random.
    recipe
        The training options; by default those of `Recipe`. With ``seeds`` each part is drawn so
        often, each time with another seed; with ``folds`` that number of folds is
        held out.
    reporter
        Receives progress and remarks; by default a bar in a notebook, and nobody elsewhere.
    choices
        Fields of `Recipe`, which override those of ``recipe``.

    Returns
    -------
    LearningCurve
        The score of each part with its 95 % interval, and the scores to expect with all rows and
        with twice the rows.

    Raises
    ------
    DataError
        For a file or a row that can't be used, and for too few rows.
    UsageError
        For options that don't fit the data or the model.
    CheckpointError
        For a pretrained model that can't be read.
    """
    recipe, reporter = replace(recipe or Recipe(), **choices), reporter or default_reporter()
    source, picture = source_of(file, splits=("train",)), None if out is None else Path(out)
    _check_options(recipe, picture, max_rows)
    plan, rows = plan_in_memory(source, recipe, max_rows, reporter.say)
    runs = CurveRuns.of(plan)
    reporter.say(
        f"{len(runs.models)} models on {runs.sizes[0]:,} to {runs.sizes[-1]:,} of "
        f"{len(plan.data.rows):,} rows, about {runs.work:.1f} x the steps of onelayer train"
    )
    draws = runs.train(reporter)
    metric = plan.task.metric
    points = tuple(
        _point(size, [draw[i] for draw in draws], metric) for i, size in enumerate(runs.sizes)
    )
    found = CurveFinding.of(draws, runs, rows)
    result = LearningCurve(
        file=source_path(source),
        rows=rows,
        rows_used=len(plan.data.rows),
        metric=metric,
        folds=len(runs.folds),
        draws=len(draws),
        points=points,
        expected=found.expected,
        rise=found.rise,
        verdict=found.verdict,
        says=found.in_words(metric),
        out=None if out is None else str(out),
    )
    if picture is not None:
        write_picture(result, picture)
    return result


def _check_options(recipe: Recipe, picture: Path | None, max_rows: int) -> None:
    """Raises UsageError before any work is done."""
    if recipe.folds == 0:
        hint = "leave it out, or give 2 or more"
        raise UsageError("--folds 0: a curve needs rows to score", hint=hint)
    if recipe.patience is not None:
        what = f"--patience {recipe.patience}: the models of a curve are trained to the last step"
        raise UsageError(what, hint="leave it out")
    if max_rows < 1:
        raise UsageError(f"--max-rows must be above 0, not {max_rows}")
    if picture is not None:
        check_picture(picture)


def _point(size: int, scorers: Sequence[Scorer], metric: str) -> CurvePoint:
    """The mean over the draws, and the mean of their intervals."""
    scores = [scorer()[metric] for scorer in scorers]
    if not all(map(math.isfinite, scores)):
        return CurvePoint(rows=size, score=None, interval=None)
    low, high = np.mean([intervals(scorer)[metric] for scorer in scorers], axis=0).tolist()
    return CurvePoint(rows=size, score=float(np.mean(scores)), interval=(low, high))


@dataclass(frozen=True, slots=True)
class _Chart:
    """Lines of characters: a sign at a score, with its interval."""

    low: float
    high: float

    @classmethod
    def of(cls, curve: LearningCurve) -> _Chart:
        ends = [end for point in curve.points for end in point.interval or ()]
        ends += [end for one in curve.expected for end in (one.low, one.high)]
        known = [end for end in ends if math.isfinite(end)]
        return cls(min(known, default=0.0), max(known, default=1.0))

    def line(self, score: float | None, bounds: tuple[float, float], signs: str) -> str:
        cells = ["·"] * CHART_WIDTH  # a table would cut off spaces, and shift the signs
        if score is not None:
            if math.isfinite(bounds[0]):
                first, last = map(self._cell, bounds)
                cells[first : last + 1] = signs[1] * (last + 1 - first)
            cells[self._cell(score)] = signs[0]
        return "".join(cells)

    def _cell(self, value: float) -> int:
        share = (value - self.low) / ((self.high - self.low) or 1.0)
        return round(min(max(share, 0.0), 1.0) * (CHART_WIDTH - 1))
