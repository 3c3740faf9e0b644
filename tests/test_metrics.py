"""Metrics equal scikit-learn, scipy and seqeval (strict); one bootstrap serves them all."""

from __future__ import annotations

import math
import warnings
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose

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
from onelayer.metrics.bootstrap import resamples, scores_of_draws
from onelayer.metrics.confidence import Confidence

generated = settings(max_examples=60, deadline=None)
PRF = ("precision", "recall", "f1", "support")


def same(ours: dict[str, float], theirs: dict[str, float]) -> None:
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert ours[name] == pytest.approx(value, abs=1e-12, nan_ok=True), name


# scikit-learn and scipy --------------------------------------------------------------------------


@st.composite
def labelled(draw: st.DrawFn) -> Classification:
    n_labels, n = draw(st.integers(2, 5)), draw(st.integers(1, 30))
    ids = arrays(np.int64, n, elements=st.integers(0, n_labels - 1))
    return Classification(draw(ids), draw(ids), n_labels)


@st.composite
def multi_labelled(draw: st.DrawFn) -> MultiLabel:
    shape = draw(st.integers(1, 20)), draw(st.integers(2, 5))
    table = arrays(np.bool_, shape)
    return MultiLabel(draw(table), draw(table))


@st.composite
def measured(draw: st.DrawFn) -> Regression:
    n = draw(st.integers(2, 30))
    halves = st.integers(-6, 6).map(lambda i: i / 2)  # few values, so that there are ties
    return Regression(*(draw(arrays(np.float32, n, elements=halves)) for _ in "gp"))


@generated
@given(labelled())
def test_classification_equals_sklearn(scorer: Classification) -> None:
    gold, predicted = scorer.gold, scorer.predicted
    f1 = partial(sklearn.metrics.f1_score, gold, predicted, zero_division=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a confusion matrix with one class
        theirs = {
            "accuracy": sklearn.metrics.accuracy_score(gold, predicted),
            "macro_f1": f1(average="macro"),
            "mcc": sklearn.metrics.matthews_corrcoef(gold, predicted),
        }
    if scorer.n_labels == 2:
        theirs["f1"] = f1(average="binary")
        zero = Classification(gold, predicted, 2, positive=0)
        assert zero()["f1"] == pytest.approx(f1(average="binary", pos_label=0))
    same(scorer(), theirs)
    columns = sklearn.metrics.precision_recall_fscore_support(
        gold, predicted, labels=range(scorer.n_labels), zero_division=0
    )
    for label, row in scorer.by_label().items():
        same(row, {name: column[label] for name, column in zip(PRF, columns, strict=True)})


@pytest.mark.slow
@generated
@given(multi_labelled())
def test_multi_label_equals_sklearn(scorer: MultiLabel) -> None:
    f1 = partial(sklearn.metrics.f1_score, scorer.gold, scorer.predicted, zero_division=0)
    theirs = {f"{average}_f1": f1(average=average) for average in ("micro", "macro", "samples")}
    theirs["subset_accuracy"] = sklearn.metrics.accuracy_score(scorer.gold, scorer.predicted)
    same(scorer(), theirs)
    per_label = [row["f1"] for row in scorer.by_label().values()]
    assert_allclose(per_label, f1(average=None))


@generated
@given(measured())
def test_regression_equals_scipy_with_ties_and_constants(scorer: Regression) -> None:
    gold, predicted = scorer.gold.astype(float), scorer.predicted.astype(float)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about constants, whose correlation is nan
        theirs = {
            "pearson": scipy.stats.pearsonr(gold, predicted).statistic,
            "spearman": scipy.stats.spearmanr(gold, predicted).statistic,
            "rmse": sklearn.metrics.root_mean_squared_error(gold, predicted),
            "mae": sklearn.metrics.mean_absolute_error(gold, predicted),
        }
    same(scorer(), theirs)


def test_correlation_with_a_constant_is_nan() -> None:
    constant, rising = np.full(3, 0.1), np.arange(3.0)
    for scorer in (Regression(constant, rising), Regression(rising, constant)):
        scores = scorer()
        assert math.isnan(scores["pearson"])
        assert math.isnan(scores["spearman"])


def test_choice_and_token_accuracy_are_shares() -> None:
    same(Choices(np.array([0, 1, 2, 3]), np.array([0, 1, 2, 0]))(), {"accuracy": 0.75})
    same(Tokens(np.array([1, 0, 4]), np.array([1, 1, 8]))(), {"accuracy": 0.5})


# seqeval, strict ---------------------------------------------------------------------------------

WORDS = 8


@st.composite
def sentence_entities(draw: st.DrawFn) -> set[tuple[int, int, str]]:
    """Up to four entities that don't overlap, in a sentence of WORDS words."""
    cuts = sorted(draw(st.sets(st.integers(0, WORDS), max_size=5)))
    kinds = [draw(st.sampled_from(["PER", "LOC", "ORG", ""])) for _ in cuts[1:]]
    pieces = zip(cuts, cuts[1:], kinds, strict=False)
    return {(start, end, kind) for start, end, kind in pieces if kind}


def iob2(entities: set[tuple[int, int, str]]) -> list[str]:
    tags = ["O"] * WORDS
    for start, end, kind in entities:
        tags[start:end] = [f"B-{kind}"] + [f"I-{kind}"] * (end - start - 1)
    return tags


@generated
@given(st.lists(st.tuples(sentence_entities(), sentence_entities()), min_size=1, max_size=6))
def test_entities_equal_seqeval_strict(rows: list[tuple[set[Any], set[Any]]]) -> None:
    from seqeval.metrics import classification_report
    from seqeval.scheme import IOB2

    gold, predicted = (list(side) for side in zip(*rows, strict=True))
    scorer = Entities(gold, predicted)
    if not scorer.by_type():  # where seqeval's macro average is nan
        assert scorer() == {"precision": 0.0, "recall": 0.0, "f1": 0.0, "macro_f1": 0.0}
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about types without a prediction
        report = classification_report(
            [iob2(e) for e in gold],
            [iob2(e) for e in predicted],
            mode="strict",
            scheme=IOB2,
            output_dict=True,
        )
    micro = {ours: report["micro avg"][name] for ours, name in seqeval_names()[:3]}
    same(scorer(), micro | {"macro_f1": report["macro avg"]["f1-score"]})
    for kind, row in scorer.by_type().items():
        same(row, {ours: report[kind][name] for ours, name in seqeval_names()})


def seqeval_names() -> list[tuple[str, str]]:
    return list(zip(PRF, ("precision", "recall", "f1-score", "support"), strict=True))


# Rows and the bootstrap --------------------------------------------------------------------------


def scorers_and_parts(rows: np.ndarray[Any, Any]) -> list[tuple[Scorer, Scorer]]:
    """Every kind of scorer over ten rows, and the same scorer of the chosen rows only."""
    rng = np.random.default_rng(7)
    n = 10
    a, b = rng.integers(3, size=n), rng.integers(3, size=n)
    x, y, has = rng.normal(size=n), rng.normal(size=n), np.arange(n) % 3 > 0
    table, other = rng.random((n, 4)) < 0.4, rng.random((n, 4)) < 0.4
    sets, others = ([{(0, int(i), "AB"[i % 2])} for i in ids] for ids in (a, b))
    return [
        (Classification(a, b, 3), Classification(a[rows], b[rows], 3)),
        (MultiLabel(table, other), MultiLabel(table[rows], other[rows])),
        (Choices(a, b), Choices(a[rows], b[rows])),
        (Regression(x, y), Regression(x[rows], y[rows])),
        (Entities(sets, others), Entities([sets[i] for i in rows], [others[i] for i in rows])),
        (Tokens(a, a + b + 1), Tokens(a[rows], (a + b + 1)[rows])),
        (Answers(x, y, has), Answers(x[rows], y[rows], has[rows])),
    ]


@generated
@given(st.lists(st.integers(0, 9), min_size=1, max_size=20))
def test_scores_of_chosen_rows_equal_those_of_the_rows_alone(chosen: list[int]) -> None:
    rows = np.array([*chosen, 0, 1], dtype=np.intp)  # with and without an answer
    for whole, part in scorers_and_parts(rows):
        assert len(part) == len(rows)
        same(whole(rows), part())


def with_confidence() -> list[Scorer]:
    """The scorers that can have scores of probabilities, with all of them."""
    rng = np.random.default_rng(8)
    a, b, p = rng.integers(3, size=10), rng.integers(3, size=10), rng.random(10)
    table, other, q = rng.random((10, 4)) < 0.4, rng.random((10, 4)) < 0.4, rng.random((10, 4))
    answered = np.arange(10) > 8  # of no row in many a draw, which leaves no share of wrong ones
    one = Confidence(
        loss=-np.log(p), probability=p, right=a == b, covered=a < 2, set_size=b, answered=answered
    )
    each = Confidence(loss=-np.log(p), probability=q, right=table == other)
    return [
        Classification(a, b, 3, confidence=one),
        Classification(a // 2, b // 2, 2, confidence=one),
        MultiLabel(table, other, confidence=each),
        Choices(a, b, confidence=one),
    ]


@pytest.mark.parametrize("at_once", [1, 4, 100])
def test_many_resamples_have_the_scores_of_each(
    at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onelayer.metrics.bootstrap.MOST_WEIGHTS", 10 * at_once)
    for scorer in [*(one for one, _ in scorers_and_parts(np.arange(10))), *with_confidence()]:
        draws = [*resamples(10, None, 9, np.random.default_rng(5))]
        found = scores_of_draws(scorer, draws)
        for i, rows in enumerate(draws):
            same({name: float(values[i]) for name, values in found.items()}, scorer(rows))


def test_accuracy_interval_equals_the_binomial() -> None:
    gold = np.zeros(400, dtype=int)
    scorer = Choices(gold, (np.arange(400) % 5 == 0).astype(int))  # 0.8 right
    low, high = intervals(scorer, n_resamples=4000)["accuracy"]
    theirs = scipy.stats.binom(400, 0.8).ppf([0.025, 0.975]) / 400
    assert_allclose([low, high], theirs, atol=0.005)
    narrow_low, narrow_high = intervals(scorer, n_resamples=4000, level=0.5)["accuracy"]
    theirs = scipy.stats.binom(400, 0.8).ppf([0.25, 0.75]) / 400
    assert_allclose([narrow_low, narrow_high], theirs, atol=0.005)


@pytest.mark.slow
def test_intervals_equal_scipys_bootstrap() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=80)
    scorer = Regression(x, x + rng.normal(size=80))
    theirs = scipy.stats.bootstrap(
        (scorer.gold, scorer.predicted),
        lambda x, y: scipy.stats.pearsonr(x, y).statistic,
        paired=True,
        vectorized=False,
        n_resamples=2000,
        method="percentile",
        rng=rng,
    ).confidence_interval
    assert_allclose(intervals(scorer, n_resamples=2000)["pearson"], theirs, atol=0.02)


def test_intervals_depend_only_on_the_seed() -> None:
    for scorer, _ in scorers_and_parts(np.arange(10)):
        first = intervals(scorer, n_resamples=50, seed=1)
        assert first == intervals(scorer, n_resamples=50, seed=1)
        # Few rows: intervals of shares come from their limits instead.
        own = getattr(scorer, "limits", lambda **_: {})(level=0.95, units=math.inf)
        if first.keys() - own.keys():
            assert first != intervals(scorer, n_resamples=50, seed=2)
        assert first.keys() == scorer().keys()


def test_questions_about_one_passage_are_resampled_together() -> None:
    # Passages of one, two and three questions, out of order; equal scores within a passage.
    groups = np.array([9, 4, 9, 7, 4, 9])
    scorer = Answers(groups == 9, groups / 9, np.ones(6, dtype=bool), groups)
    sizes_and_right = {9: (3, 3), 4: (2, 0), 7: (1, 0)}
    possible = set()
    for drawn in np.ndindex(3, 3, 3):
        sizes, rights = zip(*([*sizes_and_right.values()][i] for i in drawn), strict=True)
        possible.add(100 * sum(rights) / sum(sizes))
    draws = resamples(6, groups, 300, np.random.default_rng(0))
    seen = {scorer(rows)["em"] for rows in draws}
    assert {round(em, 9) for em in seen} == {round(em, 9) for em in possible}


def test_resamples_without_a_score_are_ignored() -> None:
    # A third of all resamples draw no unanswerable question, whose accuracy then is nan.
    has_answer = np.array([False] + [True] * 3)
    some = Answers(np.ones(4), np.ones(4), has_answer)
    assert math.isnan(some(np.array([1, 2]))["no_answer_accuracy"])
    low, high = intervals(some)["no_answer_accuracy"]
    assert 5 < low < 50  # one question tells little
    assert high == 100
    constant = Regression(np.ones(5), np.arange(5.0))
    assert all(math.isnan(end) for end in intervals(constant)["pearson"])
