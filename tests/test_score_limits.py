"""Intervals where a bootstrap is blind: at the ends of a scale, and of few rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from onelayer.metrics import (
    Answers,
    Choices,
    Classification,
    Entities,
    MultiLabel,
    Regression,
    Scorer,
    Tokens,
    intervals,
)
from onelayer.metrics.score_limits import correlation_limits, share_limits


def test_share_limits_equal_the_formula_by_hand() -> None:
    """Agresti and Coull's, by hand for 9 of 10: 11 of 14 with a normal interval, but for z."""
    z = scipy.stats.norm.ppf(0.975)
    mean = (9 + z * z / 2) / (10 + z * z)
    half = z * math.sqrt(mean * (1 - mean) / (10 + z * z))
    assert share_limits(9, 10, level=0.95) == pytest.approx((mean - half, min(1, mean + half)))
    assert all(map(math.isnan, share_limits(0, 0, level=0.95)))


@pytest.mark.parametrize("right", [0.9, 0.97, 0.995])
@pytest.mark.parametrize("n", [10, 30, 100])
def test_accuracy_interval_holds_the_truth_for_19_of_20_draws(right: float, n: int) -> None:
    """Also near 1, where a bootstrap alone holds it for as few as one draw in twenty."""
    held = 0.0
    for wrong in range(n + 1):
        chance = scipy.stats.binom(n, 1 - right).pmf(wrong)
        if chance > 1e-4:
            gold = np.zeros(n, dtype=int)
            scorer = Choices(gold, (np.arange(n) < wrong).astype(int))
            low, high = intervals(scorer, n_resamples=400)["accuracy"]
            held += chance * (low <= right <= high)
    assert held > 0.94


def perfect(n: int, rare: int) -> list[Scorer]:
    """Scorers of n rows that are all right, with ``rare`` rows of a second class."""
    gold = (np.arange(n) < rare).astype(int)
    entities = [{(0, 1, "X" if i < rare else "Y")} for i in range(n)]
    ones, groups = np.ones(n), np.arange(n) // 5
    return [
        Classification(gold, gold, 2),
        MultiLabel(np.eye(2, dtype=bool)[gold], np.eye(2, dtype=bool)[gold]),
        Choices(gold, gold, groups=groups),
        Entities(entities, entities),
        Tokens(np.full(n, 3), np.full(n, 3)),
        Answers(ones, ones, gold > 0, groups=groups),
    ]


def test_no_interval_of_a_perfect_score_is_a_point() -> None:
    for few, many in zip(perfect(20, 2), perfect(2000, 200), strict=True):
        narrow = intervals(many, n_resamples=20)
        for name, (low, high) in intervals(few, n_resamples=20).items():
            scale = 100 if isinstance(few, Answers) else 1
            assert high == pytest.approx(scale)
            assert low < 0.9 * scale, name
            assert low < narrow[name][0] < high


def test_macro_f1_is_uncertain_if_a_class_has_few_rows() -> None:
    gold = np.zeros(60, dtype=int)
    gold[0] = 1
    low, _ = intervals(Classification(gold, gold, 2), n_resamples=20)["macro_f1"]
    assert low < 0.7
    low, _ = intervals(Classification(gold, gold, 2), n_resamples=20)["accuracy"]
    assert low > 0.9


def test_rows_of_few_groups_count_as_their_groups() -> None:
    right = np.zeros(40, dtype=int)
    one_each = intervals(Choices(right, right))["accuracy"]
    two = intervals(Choices(right, right, groups=np.arange(40) // 20))["accuracy"]
    assert two[0] < 0.4 < 0.85 < one_each[0]


def test_one_row_has_no_interval_of_its_error() -> None:
    found = intervals(Regression(np.ones(1), np.zeros(1)))
    assert all(map(math.isnan, found["mae"]))


def test_correlation_of_few_rows_may_be_anything() -> None:
    three = Regression(np.arange(3.0), np.arange(3.0))
    assert intervals(three)["pearson"] == (-1.0, 1.0)
    rng = np.random.default_rng(0)
    x = rng.normal(size=300)
    low, high = correlation_limits(0.5, 300, level=0.95)
    y = 0.5 * x + math.sqrt(0.75) * rng.normal(size=300)
    theirs = scipy.stats.pearsonr(x, y).confidence_interval(0.95)
    own = correlation_limits(float(np.corrcoef(x, y)[0, 1]), 300, level=0.95)
    assert own == pytest.approx((theirs.low, theirs.high))
    assert low < 0.5 < high
