"""What a learning curve says about more rows: does the score rise, and how far?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from onelayer.inspection.curve_parts import LEAST_ROWS, SHARES
from onelayer.inspection.curve_runs import CurveRuns
from onelayer.metrics import Scorer
from onelayer.metrics.power_law import (
    FEWEST_POINTS,
    PowerLawForecast,
    curve_covariance,
    forecast_scores,
    rise_per_doubling,
)

Verdict = Literal["rises", "flat", "unclear", "too few points"]

LITTLE = 1.0
"""Points of the metric. A gain that is surely smaller is no reason to label twice the rows."""
SOME = 2.0
"""Points: a curve that doesn't rise for sure is flat only if twice the rows surely bring less."""


@dataclass(frozen=True, slots=True)
class CurveFinding:
    """The verdict on a curve, and the figures behind it."""

    sizes: Sequence[int]
    scores: Sequence[float]
    rows: int
    """Of the whole file."""
    expected: tuple[PowerLawForecast, ...]
    """With all rows of the file, and with twice as many; empty where the points don't tell."""
    rise: tuple[float, float, float] | None
    """Of the score with twice the rows, on average, and its 95 % interval."""
    verdict: Verdict

    @classmethod
    def of(cls, draws: Sequence[Sequence[Scorer]], runs: CurveRuns, rows: int) -> CurveFinding:
        """From the scores for each size, by draw; ``rows`` are those of the whole file."""
        task = runs.plan.task
        means = np.mean([[scorer()[task.metric] for scorer in draw] for draw in draws], axis=0)
        known = np.flatnonzero(np.isfinite(means)).tolist()
        sizes, scores = [runs.sizes[i] for i in known], means[known].tolist()
        if len(known) < FEWEST_POINTS:
            return cls(sizes, scores, rows, (), None, "too few points")
        points = [[draw[i] for i in known] for draw in draws]
        covariance = curve_covariance(points, task.metric, runs.fold_of_scored)
        perfect = 100 * task.point
        expected = forecast_scores(
            sizes, scores, covariance, [rows, 2 * rows], reference=rows, perfect=perfect
        )
        rise = rise_per_doubling(sizes, scores, covariance)
        _, low, high = rise
        if expected[-1].gain_high < LITTLE * task.point:
            verdict: Verdict = "flat"
        elif low > 0:
            verdict = "rises"
        else:
            verdict = "flat" if high < SOME * task.point else "unclear"
        shown = () if verdict == "unclear" else tuple(expected)
        return cls(sizes, scores, rows, shown, rise, verdict)

    def in_words(self, metric: str) -> str:
        """The verdict in a sentence."""
        if self.rise is None:
            wanted = LEAST_ROWS * SHARES[1]
            hint = f"; {wanted} rows or more give enough" if self.rows < wanted else ""
            return f"too few points to tell what more rows bring{hint}"
        slope, low, high = map(_signed, self.rise)
        rise = f"{metric} changes by {slope} ({low} to {high}) with twice the rows"
        if self.verdict == "unclear":
            return f"too noisy to tell: {rise}; more draws tell more, such as --seeds 3"
        then = self.expected[-1]
        gain = f"{_signed(then.gain)} ({_signed(then.gain_low)} to {_signed(then.gain_high)})"
        if self.verdict == "rises":
            pairs = zip(self.scores, self.sizes, strict=True)
            measured = ", ".join(f"{short_score(score)} at {size:,}" for score, size in pairs)
            expected = f"{short_score(then.score)} ({score_range((then.low, then.high))})"
            return (
                f"{metric} {measured} rows; with 2 x the rows ({then.rows:,}) expect {expected}: "
                f"{gain} compared with {self.rows:,} rows"
            )
        little = "more rows of this kind change little"
        if self.rise[1] > 0:
            return f"the curve flattens: expect {gain} with 2 x the rows ({then.rows:,}); {little}"
        return f"the curve is flat within its error: {rise}; {little}"


def short_score(score: float | None) -> str:
    """Three digits, which is more than a curve knows."""
    return "–" if score is None or math.isnan(score) else f"{score:.3g}"


def score_range(bounds: tuple[float, float]) -> str:
    """``low to high``; nothing where there is no interval."""
    return "" if math.isnan(bounds[0]) else f"{short_score(bounds[0])} to {short_score(bounds[1])}"


def _signed(value: float) -> str:
    return f"{value:+.2g}"
