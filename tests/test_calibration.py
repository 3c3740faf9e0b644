"""Temperature, label sets and abstaining: fitted on dev rows, checked on other rows."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from onelayer.base.errors import Place, UsageError
from onelayer.tasks import Choose, Classify, task_from_json, task_to_json
from onelayer.tasks.calibration import (
    ANSWERS,
    CERTAINTY,
    QUANTILES,
    best_thresholds,
    calibrate_labels,
    calibrate_sets,
    error_bound,
    fit_temperature,
)
from onelayer.tasks.choose.choose import ChooseRow
from onelayer.tasks.classify.class_predictions import Label, Labels
from onelayer.tasks.logits import Logits
from onelayer.tasks.texts import TextRow
from onelayer.tokens.encodings import Encodings, EncodingsBuilder

PLACE = Place("rows.csv", 2)


def drawn(
    n: int, rng: np.random.Generator, *, heat: float = 1.0, spread: float = 2.0
) -> tuple[Logits, np.ndarray]:
    """Logits of n rows and three labels, and labels drawn from their softmax. ``heat`` is the
    factor by which the logits are too large, ``spread`` their standard deviation before it."""
    true = rng.normal(scale=spread, size=(n, 3))
    cumulative = scipy.special.softmax(true, axis=1).cumsum(axis=1)
    return heat * true, (rng.random((n, 1)) > cumulative).sum(axis=1)


def drawn_sets(n: int, rng: np.random.Generator) -> tuple[Logits, np.ndarray]:
    """Logits of n rows and four labels, and the labels of each row; some rows have none."""
    logits = rng.normal(-1.0, 2.0, size=(n, 4))
    return logits, rng.random((n, 4)) < scipy.special.expit(logits)


def rows_of(labels: Iterable[Any]) -> list[TextRow]:
    return [TextRow("a", None, label, PLACE) for label in labels]


def tuned(task: Classify, logits: Logits, labels: Iterable[Any]) -> Classify:
    """The task tuned on one-sequence rows with these logits and labels."""
    rows = rows_of(labels)
    return task.tune(rows, [(rows, one_sequence_each(len(rows)), logits)])[0]


def predicted(task: Classify, logits: Logits) -> list[Any]:
    rows = rows_of([None] * len(logits))
    return list(task.decode(rows, one_sequence_each(len(rows)), logits))


def one_sequence_each(n: int) -> Encodings:
    builder = EncodingsBuilder()
    for _ in range(n):
        builder.start_row(2)
        builder.add([1, 2], 2)
    return builder.build(examples_are_rows=False)


ONE = Classify(labels=("a", "b", "c"), max_length=8)
SEVERAL = Classify(labels=("a", "b", "c", "d"), max_length=8, multi_label=True)


def label_names(gold: np.ndarray) -> list[Any]:
    if gold.ndim == 1:
        return [ONE.labels[i] for i in gold]
    return [tuple(np.array(SEVERAL.labels)[row]) for row in gold]


# Temperature -------------------------------------------------------------------------------------


@given(st.integers(0, 10_000), st.integers(2, 80), st.sampled_from([0.3, 1.0, 4.0]))
def test_temperature_minimizes_log_loss(seed: int, n: int, heat: float) -> None:
    logits, gold = drawn(n, np.random.default_rng(seed), heat=heat)
    doubt = 1 / (n + 2)
    targets = (1 - doubt) * np.eye(3)[gold] + doubt / 3

    def loss(log_temperature: float) -> float:
        log_p = scipy.special.log_softmax(logits / math.exp(log_temperature), axis=1)
        return float(-(targets * log_p).sum()) + log_temperature**2 / 2

    bounds = (-math.log(10), math.log(10))
    theirs = scipy.optimize.minimize_scalar(
        loss, bounds=bounds, method="bounded", options={"xatol": 1e-9}
    )
    ours = fit_temperature(logits, gold)
    assert loss(math.log(ours)) <= theirs.fun + 1e-9
    assert math.log(ours) == pytest.approx(theirs.x, abs=1e-3)


def test_overconfident_logits_get_their_true_temperature() -> None:
    logits, gold = drawn(20_000, np.random.default_rng(1), heat=3.0)
    assert fit_temperature(logits, gold) == pytest.approx(3.0, rel=0.05)
    logits, gold = drawn_sets(20_000, np.random.default_rng(1))
    assert calibrate_sets(2 * logits, gold).temperature == pytest.approx(2.0, rel=0.05)


def test_perfect_dev_rows_do_not_give_certain_predictions() -> None:
    def p_right(n: int) -> float:
        logits = np.tile([[9.0, 0.0]], (n, 1))
        temperature = fit_temperature(logits, np.zeros(n, dtype=int))
        return float(scipy.special.softmax(logits[0] / temperature)[0])

    one, ten, thousand = map(p_right, (1, 10, 1000))
    uncooled = scipy.special.softmax([9.0, 0.0])[0]
    assert 0.9 < one < uncooled
    assert 0.9 < ten < uncooled
    assert thousand == pytest.approx(1 - 0.5 / 1002, abs=1e-4)


def test_few_rows_move_the_temperature_little() -> None:
    wrong = np.array([[2.0, 0.0], [0.0, 2.0]])
    assert 1.0 < fit_temperature(wrong, np.array([1, 0])) < 3.0
    assert fit_temperature(np.tile(wrong, (100, 1)), np.array([1, 0] * 100)) > 5.0


HALVES = st.integers(-60, 60).map(lambda i: i / 2)


@pytest.mark.slow
@given(arrays(np.float32, (6, 3), elements=HALVES), st.integers(0, 99))
def test_temperature_changes_no_label(logits: Logits, seed: int) -> None:
    task = tuned(ONE, *with_label_names(drawn(60, np.random.default_rng(seed), heat=5.0)))
    assert task.calibration is not None
    assert task.calibration.temperature != 1.0
    labels = [prediction.label for prediction in predicted(task, logits)]
    assert labels == [prediction.label for prediction in predicted(ONE, logits)]


def with_label_names(drawn: tuple[Logits, np.ndarray]) -> tuple[Logits, list[Any]]:
    return drawn[0], label_names(drawn[1])


def test_padding_options_do_not_change_the_temperature() -> None:
    rng = np.random.default_rng(0)
    logits, gold = drawn(400, rng, heat=3.0)
    padded = np.concatenate([logits, np.full((400, 2), -np.inf)], axis=1)
    assert fit_temperature(padded, gold) == pytest.approx(fit_temperature(logits, gold))


def test_choose_is_calibrated() -> None:
    rng = np.random.default_rng(0)
    logits, gold = drawn(600, rng, heat=4.0)
    logits[::2, 2], gold[::2] = -np.inf, gold[::2] % 2
    rows, reads = [], []
    builder = EncodingsBuilder()
    for row, right in zip(logits, gold.tolist(), strict=True):
        own = row[np.isfinite(row)]
        rows.append(ChooseRow("a", "b", ("x", "y", "z")[: len(own)], right, PLACE))
        reads.append(own)
        builder.start_row(2 * len(own))
        for _ in own:
            builder.add([1, 2], 2)
    encodings, flat = builder.build(examples_are_rows=True), np.concatenate(reads)[:, None]
    task = Choose(max_length=8)
    chosen, scorer = task.tune(rows, [(rows, encodings, flat)])
    assert chosen.temperature == pytest.approx(fit_temperature(logits, gold))
    before, after = task.decode(rows, encodings, flat), chosen.decode(rows, encodings, flat)
    assert [p.index for p in after] == [p.index for p in before]
    p_gold = [p.probabilities[i] for p, i in zip(after, gold, strict=True)]
    assert scorer()["log_loss"] == pytest.approx(-np.log(p_gold).mean())
    plain = task.score(rows, before)()
    assert scorer()["ece"] < plain["ece"]
    assert scorer()["log_loss"] < plain["log_loss"]
    assert scorer()["accuracy"] == plain["accuracy"]


# Sets --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("coverage", [0.8, 0.9])
@pytest.mark.parametrize(("task", "draw"), [(ONE, drawn), (SEVERAL, drawn_sets)])
@pytest.mark.parametrize("n", [60, 700])
def test_label_sets_reach_the_requested_coverage(
    task: Classify, draw: Any, n: int, coverage: float
) -> None:
    """The mean over many dev sets; with n above QUANTILES only quantiles are stored."""
    rng = np.random.default_rng(n)
    covered = []
    for _ in range(40):
        logits, gold = draw(n, rng)
        asked = tuned(task, logits, label_names(gold)).with_guarantees(coverage, None)
        logits, gold = draw(100, rng)
        for prediction, right in zip(predicted(asked, logits), label_names(gold), strict=True):
            right = {right} if isinstance(right, str) else set(right)
            covered.append(right <= set(prediction.label_set))
    assert np.mean(covered) >= coverage - 0.015
    # Close to the requested coverage: the sets aren't merely large.
    assert np.mean(covered) <= coverage + 0.03


@given(st.integers(50, 400), st.integers(20, 980))
@example(249, 20)
def test_label_set_threshold_is_the_conformal_quantile(n: int, thousandths: int) -> None:
    coverage = thousandths / 1000
    logits, gold = drawn(n, np.random.default_rng(n))
    known = calibrate_labels(logits, gold)
    p = scipy.special.softmax(logits / known.temperature, axis=1)[np.arange(n), gold]
    rank = -(-(n + 1) * thousandths // 1000)  # exact, which a product of floats is not
    if rank > n:
        with pytest.raises(UsageError, match="too few"):
            known.least_in_set(coverage)
        return
    # Scores 1 - p of the gold labels; the rank-th smallest.
    assert 1 - known.least_in_set(coverage) == pytest.approx(np.sort(1 - p)[rank - 1])


def test_stored_quantiles_are_few_and_conservative() -> None:
    logits, gold = drawn(30_000, np.random.default_rng(4))
    known = calibrate_labels(logits, gold)
    assert len(known.gold) <= QUANTILES
    assert len(known.answers) <= ANSWERS
    p = scipy.special.softmax(logits / known.temperature, axis=1)[np.arange(len(gold)), gold]
    for coverage in (0.5, 0.9, 0.95, 0.99):
        held = np.mean(p >= known.least_in_set(coverage))
        assert coverage <= held <= coverage + 1.1 / QUANTILES


def test_label_set_is_never_empty() -> None:
    logits, gold = drawn(500, np.random.default_rng(0), heat=1.0)
    asked = tuned(ONE, 9 * np.eye(3)[gold] + logits, label_names(gold)).with_guarantees(0.5, None)
    (unsure,) = predicted(asked, np.zeros((1, 3)))
    assert len(unsure.label_set) >= 1
    assert unsure.label_set[0] == unsure.label


# Abstaining --------------------------------------------------------------------------------------


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_error_bound_equals_clopper_pearson(counts: tuple[int, int]) -> None:
    wrong, n = counts
    theirs = scipy.stats.beta.ppf(CERTAINTY, wrong + 1, n - wrong) if wrong < n else 1.0
    assert error_bound(wrong, n) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.slow
def test_abstaining_keeps_the_error_below_the_bound() -> None:
    """The bound holds for about nine of ten dev sets, which is its certainty."""
    rng = np.random.default_rng(7)
    draw = partial(drawn, rng=rng, spread=4.0)
    logits, gold = draw(20_000)
    p = scipy.special.softmax(logits, axis=1)
    confidence, wrong = p.max(axis=1), p.argmax(axis=1) != gold
    kept, answered = [], []
    for _ in range(100):
        known = calibrate_labels(*draw(400))
        # the confidence at this temperature
        cooled = scipy.special.softmax(logits / known.temperature, axis=1).max(axis=1)
        answers = cooled >= known.least_confidence(0.1)
        kept.append(wrong[answers].mean() <= 0.1)
        answered.append(answers.mean())
    assert 0.85 <= np.mean(kept) < 1.0
    best = np.mean(np.cumsum(wrong[np.argsort(-confidence)]) / np.arange(1, 20_001) <= 0.1)
    assert best > np.mean(answered) > 0.75 * best


@given(
    arrays(np.float64, st.integers(50, 300), elements=st.sampled_from([0.6, 0.8, 0.9])),
    st.integers(0, 99),
)
def test_rows_of_equal_confidence_are_answered_together(p: np.ndarray, seed: int) -> None:
    wrong = np.random.default_rng(seed).random(len(p)) < 0.1
    logits = np.stack([np.log(p / (1 - p)), np.zeros(len(p))], axis=1)
    gold = np.where(wrong, logits.argmin(axis=1), logits.argmax(axis=1))
    known = calibrate_labels(logits, gold)
    cooled = scipy.special.softmax(logits / known.temperature, axis=1).max(axis=1)
    for confidence, n, errors in known.answers:
        at_least = cooled >= confidence - 1e-12
        assert n == at_least.sum()
        assert errors == wrong[at_least].sum()


# Thresholds --------------------------------------------------------------------------------------


def f1(chosen: np.ndarray, gold: np.ndarray) -> float:
    return float(2 * (chosen & gold).sum() / max(1, chosen.sum() + gold.sum()))


@given(st.integers(0, 999))
def test_frequent_label_gets_its_own_best_threshold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gold = rng.random((2000, 2)) < [0.4, 0.02]
    p = np.clip(rng.normal(0.2 + 0.1 * gold, 0.1), 0.0, 1.0).round(2)  # with many ties
    p[:, 0] += 0.5
    frequent, _ = best_thresholds(p, gold)
    best = max(f1(p[:, 0] >= t, gold[:, 0]) for t in np.unique(p[:, 0]))
    assert f1(p[:, 0] >= frequent, gold[:, 0]) >= best - 0.01


def test_threshold_does_not_separate_rows_of_equal_probability() -> None:
    """Not only the first of them, which are the ones with the label."""
    p = np.repeat([[0.8], [0.6]], [100, 1000], axis=0)
    gold = np.arange(1100)[:, None] < 200
    (threshold,) = best_thresholds(p, gold)
    assert threshold == pytest.approx(0.7)


def test_rare_label_gets_a_threshold_near_the_common_one() -> None:
    rng = np.random.default_rng(0)
    gold = rng.random((1000, 3)) < 0.3
    gold[:, 2] = False
    gold[7, 2] = True
    p = np.clip(rng.normal(0.3 + 0.4 * gold, 0.1), 0.0, 1.0)
    p[7, 2] = 0.03  # alone, this row would set the threshold so low that every row gets the label
    first, second, rare = best_thresholds(p, gold)
    assert rare == pytest.approx((first + second) / 2, abs=0.1)
    assert best_thresholds(p, np.zeros_like(gold)) == (0.5, 0.5, 0.5)


def test_tuned_thresholds_beat_one_half_on_new_rows() -> None:
    """With rare labels no probability reaches 0.5."""
    rng = np.random.default_rng(3)
    logits, gold = drawn_sets(1500, rng)
    task = tuned(SEVERAL, logits[:500] - 2.0, label_names(gold[:500]))
    rows = rows_of(label_names(gold[500:]))
    scores = task.score(rows, predicted(task, logits[500:] - 2.0))()
    plain = SEVERAL.score(rows, predicted(SEVERAL, logits[500:] - 2.0))()
    assert scores["macro_f1"] > plain["macro_f1"] + 0.1
    assert scores["micro_f1"] > plain["micro_f1"] + 0.1


# Guarantees that are refused ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "asked", "message"),
    [
        (49, {"coverage": 0.9}, "49 calibration rows are too few"),
        (49, {"abstain": 0.1}, "49 calibration rows are too few"),
        (60, {"coverage": 0.99}, "up to 0.983"),
        (60, {"coverage": 1.5}, "a share between 0 and 1, not 1.5"),
        (60, {"coverage": 0.0}, "a share between 0 and 1, not 0"),
        (60, {"abstain": 5.0}, "a share between 0 and 1, not 5"),
        (60, {"abstain": 0.001}, "can't guarantee so low an error"),
    ],
)
def test_guarantee_that_too_few_dev_rows_support_is_refused(
    n: int, asked: dict[str, float], message: str
) -> None:
    task = tuned(ONE, *with_label_names(drawn(n, np.random.default_rng(0))))
    with pytest.raises(UsageError, match=message):
        task.with_guarantees(asked.get("coverage"), asked.get("abstain"))


def test_lowest_error_named_in_the_refusal_is_accepted() -> None:
    known = calibrate_labels(*drawn(60, np.random.default_rng(0)))
    with pytest.raises(UsageError) as refused:
        known.least_confidence(0.001)
    assert refused.value.hint is not None
    lowest = float(refused.value.hint.split()[0])
    known.least_confidence(lowest)
    with pytest.raises(UsageError):
        known.least_confidence(lowest - 0.002)


def test_model_without_calibration_refuses_guarantees() -> None:
    with pytest.raises(UsageError, match="no calibration"):
        ONE.with_guarantees(0.9, None)


def test_multi_label_has_label_sets_but_no_abstaining() -> None:
    task = tuned(SEVERAL, *with_label_names(drawn_sets(60, np.random.default_rng(0))))
    with pytest.raises(UsageError, match="one label a row"):
        task.with_guarantees(0.9, 0.1)
    (prediction,) = predicted(task.with_guarantees(0.9, None), np.array([[3.0, -9.0, 1.0, -9.0]]))
    assert isinstance(prediction, Labels)
    assert prediction.label_set is not None
    assert prediction.label_set[:2] == ("a", "c")


def test_abstained_row_has_no_label_but_keeps_its_probabilities() -> None:
    task = tuned(
        ONE, *with_label_names(drawn(400, np.random.default_rng(0), spread=4.0))
    ).with_guarantees(None, 0.1)
    sure, unsure = predicted(task, np.array([[20.0, 0, 0], [0.1, 0, 0]]))
    assert sure.label == "a"
    assert unsure.label is None
    assert isinstance(unsure, Label)
    assert unsure.probability == max(unsure.probabilities.values())
    assert sum(unsure.probabilities.values()) == pytest.approx(1.0)
    assert unsure.label_set is None


def test_abstaining_and_sets_add_scores_and_change_no_other() -> None:
    rng = np.random.default_rng(5)
    task = tuned(ONE, *with_label_names(drawn(400, rng, spread=4.0)))
    logits, gold = drawn(300, rng, spread=4.0)
    rows = rows_of(label_names(gold))
    plain = task.score(rows, predicted(task, logits))()
    asked = task.with_guarantees(0.9, 0.1)
    predictions = predicted(asked, logits)
    scores = asked.score(rows, predictions)()
    assert {name: scores[name] for name in plain} == plain
    answered = [p.label == row.label for p, row in zip(predictions, rows, strict=True) if p.label]
    assert scores["answered"] == pytest.approx(len(answered) / 300)
    assert scores["error"] == pytest.approx(1 - np.mean(answered))
    sets = [p.label_set for p in predictions]
    held = [row.label in found for row, found in zip(rows, sets, strict=True)]
    assert scores["coverage"] == pytest.approx(np.mean(held))
    assert scores["set_size"] == pytest.approx(np.mean([len(found) for found in sets]))


# Saving ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "draw"), [(ONE, drawn), (SEVERAL, drawn_sets)])
def test_calibration_survives_json(task: Classify, draw: Any) -> None:
    fitted = tuned(task, *with_label_names(draw(700, np.random.default_rng(3))))
    assert fitted.calibration is not None
    again = task_from_json(json.loads(json.dumps(task_to_json(fitted))))
    assert again == fitted


def test_record_without_calibration_is_read() -> None:
    old = {"name": "classify", "labels": ["a", "b", "c", "d"], "max_length": 8}
    assert task_from_json(old | {"multi_label": True, "threshold": 0.5}) == SEVERAL
