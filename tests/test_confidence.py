"""Log loss and calibration error equal scikit-learn's; sets and abstentions are counted."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from sklearn.calibration import calibration_curve

from onelayer.metrics import Classification, Confidence, MultiLabel, intervals

BINS = 15


@st.composite
def judged(draw: st.DrawFn) -> Confidence:
    """One probability a row, or three, some on the edges of bins."""
    n = draw(st.integers(1, 40))
    shape = draw(st.sampled_from([(n,), (n, 3)]))
    thirtieths = st.integers(0, 30).map(lambda i: i / 30)
    probability = draw(arrays(np.float64, shape, elements=st.floats(0, 1) | thirtieths))
    right = draw(arrays(np.bool_, shape))
    return Confidence(loss=np.arange(n, dtype=float), probability=probability, right=right)


@pytest.mark.slow
@given(judged())
def test_calibration_error_and_diagram_equal_sklearn(
    scorer: Confidence,
) -> None:
    right, p = scorer.right.ravel(), scorer.probability.ravel()
    accuracy, confidence = calibration_curve(right, p, n_bins=BINS)
    edges = np.linspace(0, 1, BINS + 1)
    counts = np.histogram(np.searchsorted(edges[1:-1], p), np.arange(BINS + 1))[0]
    filled = counts > 0

    diagram = scorer.reliability()

    assert [row.count for row in diagram] == counts[filled].tolist()
    assert_allclose([row.low for row in diagram], edges[:-1][filled])
    assert_allclose([row.high for row in diagram], edges[1:][filled])
    assert_allclose([row.accuracy for row in diagram], accuracy)
    assert_allclose([row.confidence for row in diagram], confidence)
    expected = counts[filled] @ np.abs(accuracy - confidence) / len(p)
    assert scorer()["ece"] == pytest.approx(expected, abs=1e-12)


def test_log_loss_equals_sklearn() -> None:
    rng = np.random.default_rng(1)
    p = rng.dirichlet(np.ones(3), size=50)
    gold = rng.integers(3, size=50)
    right = p.argmax(axis=1) == gold
    loss = -np.log(p[np.arange(50), gold])
    scorer = Confidence(loss=loss, probability=p.max(axis=1), right=right)
    assert scorer()["log_loss"] == pytest.approx(sklearn.metrics.log_loss(gold, p))


def test_coverage_set_size_and_abstention_are_scored() -> None:
    scorer = Confidence(
        loss=np.zeros(4),
        probability=np.array([0.9, 0.8, 0.4, 0.3]),
        right=np.array([True, False, True, False]),
        covered=np.array([True, True, True, False]),
        set_size=np.array([1, 2, 3, 2]),
        answered=np.array([True, True, False, False]),
    )
    scores = scorer()
    assert scores["coverage"] == 0.75
    assert scores["set_size"] == 2.0
    assert scores["answered"] == 0.5
    assert scores["error"] == 0.5
    assert math.isnan(scorer(np.array([2, 3]))["error"])
    assert "coverage" not in replace(scorer, covered=None)()
    assert "answered" not in replace(scorer, answered=None)()


@pytest.mark.slow
@given(judged(), st.data())
def test_scores_of_chosen_rows_equal_those_of_the_rows_alone(
    scorer: Confidence, data: st.DataObject
) -> None:
    n = len(scorer)
    chosen = data.draw(st.lists(st.integers(0, n - 1), min_size=1, max_size=20))
    rows = np.array(chosen, dtype=np.intp)
    odd = np.arange(n) % 2 > 0
    whole = replace(scorer, covered=odd, set_size=np.arange(n))
    part = Confidence(
        loss=whole.loss[rows],
        probability=whole.probability[rows],
        right=whole.right[rows],
        covered=odd[rows],
        set_size=rows,
    )
    assert whole(rows) == pytest.approx(part(), abs=1e-12)


def test_task_scores_include_confidence_scores_with_intervals() -> None:
    rng = np.random.default_rng(2)
    gold, predicted = rng.integers(2, size=(2, 60))
    right = gold == predicted
    confidence = Confidence(loss=np.ones(60), probability=np.full(60, 0.7), right=right)
    scorer = Classification(gold, predicted, 2, confidence=confidence)
    assert scorer()["ece"] == pytest.approx(abs(scorer()["accuracy"] - 0.7))
    assert {"accuracy", "log_loss", "ece"} <= intervals(scorer, n_resamples=5).keys()
    table: Any = rng.random((60, 2)) < 0.5
    each = Confidence(loss=np.ones(60), probability=np.full((60, 2), 0.25), right=table)
    labels = MultiLabel(table, table, each)
    assert labels()["ece"] == pytest.approx(abs(table.mean() - 0.25))
