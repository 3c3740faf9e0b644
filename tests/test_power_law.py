"""The statistics of a learning curve: its errors, its rise, and what it forecasts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from onelayer.metrics.counts import ChosenRows, Floats, Ints
from onelayer.metrics.power_law import curve_covariance, forecast_scores, rise_per_doubling

SIZES = [25, 50, 100, 160]


def power_law(rows: int) -> float:
    return 1 - (0.05 + 1.2 * rows**-0.5)


def little_error(points: int = 4, deviation: float = 0.003) -> Floats:
    return np.eye(points) * deviation**2


def test_forecast_of_a_power_law_is_near_the_law() -> None:
    scores = [power_law(rows) for rows in SIZES]
    same, twice = forecast_scores(SIZES, scores, little_error(), [200, 400], reference=200)
    assert same.score == pytest.approx(power_law(200), abs=0.01)
    assert twice.score == pytest.approx(power_law(400), abs=0.02)
    assert twice.low < power_law(400) < twice.high
    assert twice.gain_low < power_law(400) - power_law(200) < twice.gain_high


def test_gain_is_known_better_than_the_score_that_all_points_share_an_error_of() -> None:
    scores = [power_law(rows) for rows in SIZES]
    covariance = little_error() + 0.03**2
    twice = forecast_scores(SIZES, scores, covariance, [400], reference=200)[0]
    assert twice.gain_high - twice.gain_low < 0.6 * (twice.high - twice.low)


def test_no_gain_is_forecast_for_a_flat_curve() -> None:
    twice = forecast_scores(SIZES, [0.8] * 4, little_error(), [400], reference=200)[0]
    assert twice.score == pytest.approx(0.8, abs=0.01)
    assert 0 <= twice.gain < 0.01


def test_forecast_stays_below_the_perfect_score() -> None:
    twice = forecast_scores(
        SIZES, [70, 90, 98, 99], little_error(deviation=1), [400], reference=200, perfect=100
    )[0]
    assert 97 < twice.score <= 100
    assert twice.high <= 100


def test_larger_errors_make_a_wider_interval() -> None:
    scores = [power_law(rows) for rows in SIZES]

    def width(deviation: float) -> float:
        errors = little_error(deviation=deviation)
        twice = forecast_scores(SIZES, scores, errors, [400], reference=200)[0]
        return twice.high - twice.low

    assert width(0.003) < width(0.02) < width(0.06)


def test_rise_is_that_of_a_straight_line_over_doublings() -> None:
    rise = rise_per_doubling([10, 20, 40], [0.5, 0.6, 0.7], little_error(3))
    assert rise == pytest.approx((0.1, 0.1 - 0.00416, 0.1 + 0.00416), abs=1e-4)


@dataclass
class RightRows:
    """A scorer of rows that are right or wrong."""

    right: Ints

    def __len__(self) -> int:
        return len(self.right)

    def __call__(self, rows: ChosenRows | None = None) -> dict[str, float]:
        return {"accuracy": float(np.mean(self.right if rows is None else self.right[rows]))}

    def mistakes(self) -> Floats:
        return 1.0 - self.right


def test_covariance_has_the_error_of_the_rows_and_that_of_the_models() -> None:
    rng = np.random.default_rng(0)
    hard = rng.random(400)
    folds = np.arange(400) % 4
    # All points agree on which rows are hard; on a fold, a point's models are lucky or not.
    lucky = rng.normal(0, 0.05, (4, 4))
    scorers = [RightRows((hard + lucky[i][folds] > 0.3).astype(np.int64)) for i in range(4)]
    found = curve_covariance([scorers], "accuracy", folds)
    shared, own = found[0, 1], np.diag(found) - found[0, 1]
    assert shared == pytest.approx(0.7 * 0.3 / 400, rel=0.4)
    assert (own > 0).all()
    same = curve_covariance([[scorers[0]] * 4], "accuracy", folds)
    np.testing.assert_allclose(np.diag(same), same[0, 1])
