"""Comparing two models: the figures equal scipy's, and the rows are those that changed."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from onelayer import Recipe, UsageError
from onelayer.data.layout import Layout
from onelayer.evaluation import compare as comparing
from onelayer.evaluation.compare import compare_models as compare
from onelayer.metrics import (
    Answers,
    Choices,
    Classification,
    Entities,
    MultiLabel,
    Regression,
    Scorer,
    Tokens,
    paired_differences,
)
from onelayer.prediction import predictor as predictor_module
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns
from onelayer.tasks import AnswerTask, Choose, Classify, Regress, Tag, Task
from onelayer.tasks.logits import Logits
from onelayer.tasks.tag.schemes import Scheme
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer
from support.task_cases import CASES, LONG

Array = NDArray[Any]


def interleaved(a: Array, b: Array) -> Array:
    return np.stack([a, b], axis=1).reshape(2 * len(a), *a.shape[1:])


# The figures -------------------------------------------------------------------------------------


def classifiers(n: int, seed: int) -> tuple[Array, Array, Array]:
    """Gold labels, and two models that are right in 70 and 80 of 100 cases, often in the same."""
    rng = np.random.default_rng(seed)
    gold, luck = rng.integers(3, size=n), rng.random(n)
    wrong = (gold + 1) % 3
    b_luck = np.where(rng.random(n) < 0.5, luck, rng.random(n))
    return gold, np.where(luck < 0.7, gold, wrong), np.where(b_luck < 0.8, gold, wrong)


def accuracy(gold: Array, predicted: Array) -> float:
    return float(np.mean(gold == predicted))


def mcc(gold: Array, predicted: Array) -> float:
    return float(np.corrcoef(gold, predicted)[0, 1])


@pytest.mark.slow
def test_p_value_equals_scipys_permutation_test() -> None:
    """Matthews' correlation is a metric that isn't a mean over rows."""
    gold, a, b = (labels % 2 for labels in classifiers(60, 0))
    found = paired_differences(
        Classification(np.repeat(gold, 2), interleaved(a, b), 2), n_permutations=4000, n_resamples=2
    )
    for name, metric in (("accuracy", accuracy), ("mcc", mcc)):
        theirs = scipy.stats.permutation_test(
            (a, b),
            lambda x, y, metric=metric: metric(gold, y) - metric(gold, x),
            permutation_type="samples",
            vectorized=False,
            n_resamples=1500,
            rng=np.random.default_rng(5),
        )
        assert found[name].difference == pytest.approx(theirs.statistic)
        assert found[name].p == pytest.approx(theirs.pvalue, abs=0.04)


def test_interval_equals_scipys_paired_bootstrap() -> None:
    gold, a, b = classifiers(100, 2)
    found = paired_differences(
        Classification(np.repeat(gold, 2), interleaved(a, b), 3), n_resamples=3000, n_permutations=2
    )["accuracy"]
    theirs = scipy.stats.bootstrap(
        (gold, a, b),
        lambda gold, a, b: accuracy(gold, b) - accuracy(gold, a),
        paired=True,
        vectorized=False,
        n_resamples=3000,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert_allclose(found.interval, theirs, atol=0.011)


@pytest.mark.slow
def test_equal_models_are_rarely_called_different() -> None:
    """At the level of 5 %: with p too small, chance would count as a difference."""
    rng = np.random.default_rng(11)
    gold = np.zeros(40, dtype=int)
    real = 0
    for _ in range(200):
        a, b = rng.integers(2, size=(2, 40))
        scorer = Choices(np.repeat(gold, 2), interleaved(a, b))
        p = paired_differences(scorer, n_resamples=1, n_permutations=200)["accuracy"].p
        real += p < 0.05
    assert 0 < real <= scipy.stats.binom(200, 0.05).ppf(0.999)


def test_documents_are_resampled_and_permuted_whole() -> None:
    """Ten questions about each of six passages, and B is always better. Sixty independent questions
    would be significant; six passages are not: two of the 2⁶ swaps are as extreme."""
    passages = np.repeat(np.arange(6), 10)
    a, b = np.zeros(60), np.ones(60)
    scorer = Answers(
        interleaved(a, b), interleaved(a, b), np.ones(120, bool), np.repeat(passages, 2)
    )
    by_passage = paired_differences(scorer, n_permutations=4000, n_resamples=50)["em"]
    by_question = paired_differences(replace(scorer, groups=None), n_resamples=50)["em"]
    assert by_passage.p == pytest.approx(2 / 2**6, abs=0.01)
    assert by_question.p == pytest.approx(1 / 2001)
    assert by_passage.difference == by_question.difference == 100


def every_scorer() -> Iterator[tuple[Scorer, Scorer, Scorer]]:
    """Each kind of scorer: for A and B interleaved, for A, and for B."""
    rng = np.random.default_rng(7)
    n = 12
    gold, a, b = rng.integers(3, size=(3, n))
    twice = np.repeat(gold, 2)
    yield (
        Classification(twice, interleaved(a, b), 3),
        Classification(gold, a, 3),
        Classification(gold, b, 3),
    )
    yield Choices(twice, interleaved(a, b)), Choices(gold, a), Choices(gold, b)
    table, table_a, table_b = rng.random((3, n, 4)) < 0.4
    yield (
        MultiLabel(np.repeat(table, 2, axis=0), interleaved(table_a, table_b)),
        MultiLabel(table, table_a),
        MultiLabel(table, table_b),
    )
    x, y, z = rng.normal(size=(3, n))
    yield Regression(np.repeat(x, 2), interleaved(y, z)), Regression(x, y), Regression(x, z)
    sets, sets_a, sets_b = ([{(0, int(i), "AB"[i % 2])} for i in ids] for ids in (gold, a, b))
    both = [one for pair in zip(sets_a, sets_b, strict=True) for one in pair]
    doubled = [one for one in sets for _ in "ab"]
    yield Entities(doubled, both), Entities(sets, sets_a), Entities(sets, sets_b)
    total = a + b + 1
    yield Tokens(interleaved(a, b), np.repeat(total, 2)), Tokens(a, total), Tokens(b, total)
    has = np.arange(n) % 3 > 0
    f1_a, f1_b = rng.random((2, n))
    yield (
        Answers(interleaved(f1_a > 0.5, f1_b > 0.5), interleaved(f1_a, f1_b), np.repeat(has, 2)),
        Answers(f1_a > 0.5, f1_a, has),
        Answers(f1_b > 0.5, f1_b, has),
    )


def test_every_scorer_can_be_compared() -> None:
    for both, a, b in every_scorer():
        found = paired_differences(both, n_resamples=20, n_permutations=20)
        assert list(found) == list(a())
        for name, it in found.items():
            assert (it.a, it.b) == pytest.approx((a()[name], b()[name])), type(both)
            assert it.difference == pytest.approx(it.b - it.a)
            assert it.interval[0] <= it.interval[1]
            assert 1 / 21 <= it.p <= 1
        mistakes = both.mistakes()
        assert_allclose(mistakes[::2], a.mistakes())
        assert_allclose(mistakes[1::2], b.mistakes())


def test_mistakes_are_zero_for_right_rows_and_grow_with_the_error() -> None:
    gold = np.array([0, 1])
    assert Classification(gold, np.array([0, 0]), 2).mistakes().tolist() == [0, 1]
    labels = np.array([[True, False, True]])
    assert MultiLabel(labels, np.array([[True, True, False]])).mistakes().tolist() == [2]
    assert MultiLabel(labels, labels).mistakes().tolist() == [0]
    found = [{(0, 1, "A"), (2, 3, "B")}, set[tuple[int, int, str]]()]
    assert Entities(found, [{(0, 1, "A"), (2, 3, "C")}, set()]).mistakes().tolist() == [2, 0]
    assert Tokens(np.array([1, 3]), np.array([4, 3])).mistakes().tolist() == [3, 0]
    assert Regression(np.array([1.0]), np.array([-1.0])).mistakes().tolist() == [2]
    answers = Answers(np.array([1.0, 0, 0]), np.array([1.0, 0.5, 0]), np.ones(3, bool))
    assert answers.mistakes().tolist() == [0, 1.5, 2]


def test_no_changed_row_of_few_leaves_room_for_a_difference() -> None:
    gold = np.zeros(40, dtype=int)
    same = Classification(gold, gold, 2)
    found = paired_differences(same, n_resamples=20, n_permutations=20)["accuracy"]
    assert found.difference == 0
    low, high = found.interval  # of 20 rows
    assert -0.2 < low == -high < -0.1
    many = Classification(np.zeros(8000, dtype=int), np.zeros(8000, dtype=int), 2)
    found = paired_differences(many, n_resamples=20, n_permutations=20)["accuracy"]
    assert found.interval[1] < 0.002
    some = Answers(np.ones(40), np.ones(40), np.ones(40, dtype=bool))
    assert paired_differences(some, n_resamples=20, n_permutations=20)["em"].interval[1] > 10


def test_undefined_difference_has_no_p_value() -> None:
    constant, rising = np.ones(4), np.arange(4.0)
    scorer = Regression(np.repeat(rising, 2), interleaved(constant, rising))
    it = paired_differences(scorer, n_resamples=5, n_permutations=5)["pearson"]
    assert np.isnan([it.difference, it.p]).all()
    assert it.b == pytest.approx(1)


# The rows ----------------------------------------------------------------------------------------


@dataclass
class RuleEngine:
    """An engine that answers by a rule."""

    rule: Callable[[Encodings], Logits]

    def logits(self, encodings: Encodings) -> Logits:
        return self.rule(encodings)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, Predictor]:
    """Predictors that ``compare`` opens by name."""
    made: dict[str, Predictor] = {}
    monkeypatch.setattr(comparing, "load", lambda name: made[str(name)])
    few = partial(paired_differences, n_resamples=50, n_permutations=50)
    monkeypatch.setattr(comparing, "paired_differences", few)
    return made


COLUMNS = Layout({"text": "text", "label": "label"})


def classifier(
    tokenizer: Tokenizer, yes: str, labels: tuple[str, str] = ("no", "yes")
) -> Predictor:
    """A classifier that answers yes for texts with a certain word."""
    wanted = tokenizer.encode([yes])[0].ids[0]

    def rule(encodings: Encodings) -> Logits:
        cu = encodings.cu_seqlens
        contains = [wanted in encodings.ids[a:b] for a, b in pairwise(cu)]
        first = labels.index("no")
        return np.array([[4.0, 0.0] if it == first else [0.0, 4.0] for it in contains])

    task = Classify(labels=labels, max_length=32)
    return Predictor(task, tokenizer, RuleEngine(rule), COLUMNS)


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    rows = [("good cat", "yes"), ("bad good", "no"), ("bad the", "no"), ("cats", "no")]
    with path.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("text", "label"), *rows])
    return path


def test_changed_rows_are_listed_with_the_nearer_model(
    models: dict[str, Predictor],
    tokenizer: Tokenizer,
    reviews: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    models |= {"a": classifier(tokenizer, "good"), "b": classifier(tokenizer, "bad")}
    monkeypatch.setattr(predictor_module, "CHUNK", 3)
    found = compare("a", "b", reviews, Columns(), lambda _: None).to_json()
    assert found["rows"] == 4
    assert found["metrics"]["accuracy"]["a"] == 0.75
    assert found["metrics"]["accuracy"]["b"] == 0.25
    lines = {
        row["line"]: (row["gold"], row["a"], row["b"], row["nearer"]) for row in found["changed"]
    }
    assert lines == {2: ("yes", "yes", "no", "a"), 4: ("no", "no", "yes", "a")}
    assert found["nearer"] == {"a": 2, "b": 0}
    assert found["verdict"].startswith("no real difference: accuracy -50.0 points")
    back = compare("b", "a", reviews, Columns(), lambda _: None).to_json()
    assert back["nearer"] == {"a": 0, "b": 2}
    assert [row["line"] for row in back["changed"]] == [row["line"] for row in found["changed"]]


def test_labels_are_matched_by_name_in_any_order(
    models: dict[str, Predictor], tokenizer: Tokenizer, reviews: Path
) -> None:
    models["a"] = classifier(tokenizer, "good")
    models["b"] = classifier(tokenizer, "good", labels=("yes", "no"))
    found = compare("a", "b", reviews, Columns(), lambda _: None).to_json()
    assert found["changed"] == []
    assert {it["difference"] for it in found["metrics"].values()} == {0.0}


def test_model_compared_with_itself_has_no_difference(
    models: dict[str, Predictor], tokenizer: Tokenizer, reviews: Path
) -> None:
    models["a"] = classifier(tokenizer, "good")
    found = compare("a", "a", reviews, Columns(), lambda _: None).to_json()
    assert found["changed"] == []
    assert found["verdict"] == "no difference: both predict the same for every row"
    assert {it["p"] for it in found["metrics"].values()} == {1.0}


@pytest.mark.slow
@pytest.mark.parametrize("name", [case.name for case in CASES])
def test_every_task_can_be_compared(
    name: str, models: dict[str, Predictor], tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """Two random models; the nearer one has the better score on the row."""
    from onelayer.tasks.labelled import read_labelled

    case = next(case for case in CASES if case.name == name)
    recipe = Recipe(**LONG.get(case.task, {}) | case.choices)
    file = case.write(tmp_path)
    kind, layout, rows = read_labelled(file, recipe, lambda _: None)
    task = kind.fit(rows, tokenizer, recipe, 64)

    def guess(seed: int) -> RuleEngine:
        def rule(encodings: Encodings) -> Logits:
            rng = np.random.default_rng((seed, len(encodings.ids)))
            return rng.normal(size=(len(encodings.reads), len(task.outputs)))

        return RuleEngine(rule)

    models |= {x: Predictor(task, tokenizer, guess(i), layout) for i, x in enumerate("ab")}
    found = compare("a", "b", file, Columns(), lambda _: None).to_json()
    assert found["rows"] == len(rows)
    assert found["changed"]
    for side in "ab":
        whole = models[side].evaluate(rows)()
        for metric, it in found["metrics"].items():
            assert it[side] == pytest.approx(whole[metric], nan_ok=True) or it[side] is None
    for row in found["changed"]:
        assert row["a"] != row["b"]
        if row["nearer"]:
            assert row[row["nearer"]] != row["gold"] or row[other(row["nearer"])] != row["gold"]
        if row["gold"] in (row["a"], row["b"]):
            assert row["nearer"] == ("a" if row["gold"] == row["a"] else "b")


def other(side: str) -> str:
    return "b" if side == "a" else "a"


TASKS_UNLIKE: list[tuple[Task, Task, str]] = [
    (
        Classify(labels=("no", "yes"), max_length=9),
        Regress(max_length=9),
        "A is for classify and B for regress",
    ),
    (
        Classify(labels=("no", "yes"), max_length=9),
        Classify(labels=("no", "perhaps"), max_length=9),
        "only A has yes; only B has perhaps",
    ),
    (
        Classify(labels=("no", "yes"), max_length=9),
        Classify(labels=("no", "yes"), max_length=9, multi_label=True),
        "different labels",
    ),
    (
        Tag(labels=("B-X", "I-X", "O"), scheme=Scheme.IOB1, max_length=9, stride=2),
        Tag(labels=("B-X", "I-X", "O"), scheme=Scheme.IOB2, max_length=9, stride=2),
        "different labels",
    ),
]


@pytest.mark.parametrize(("a", "b", "expected"), TASKS_UNLIKE)
def test_models_that_cannot_be_compared_are_refused(
    a: Task,
    b: Task,
    expected: str,
    models: dict[str, Predictor],
    tokenizer: Tokenizer,
    reviews: Path,
) -> None:
    silent = RuleEngine(lambda encodings: np.zeros((len(encodings.reads), 2)))
    models |= {"a": Predictor(a, tokenizer, silent, COLUMNS)}
    models |= {"b": Predictor(b, tokenizer, silent, COLUMNS)}
    with pytest.raises(UsageError, match=expected):
        compare("a", "b", reviews, Columns(), lambda _: None)


def test_pair_model_and_single_text_model_are_not_compared(
    models: dict[str, Predictor], tokenizer: Tokenizer, reviews: Path
) -> None:
    a = classifier(tokenizer, "good")
    pairs = Layout({**COLUMNS.columns, "pair": "pair"})
    models |= {"a": a, "b": replace(a, layout=pairs)}
    with pytest.raises(UsageError, match="pairs"):
        compare("a", "b", reviews, Columns(), lambda _: None)


def test_questions_are_grouped_by_article_if_titles_span_passages() -> None:
    from onelayer.base.errors import Place
    from onelayer.tasks.answer.answer_rows import Answer, AnswerRow
    from onelayer.tasks.answer.gold_answers import GoldAnswer

    def groups(titles: list[str]) -> list[int]:
        passages = ["p", "p", "q", "r"]
        rows = [
            AnswerRow("", "?", passage, (GoldAnswer(passage, 0),), Place("x"), title)
            for passage, title in zip(passages, titles, strict=True)
        ]
        prediction = Answer("", "p", 0, 1, 1.0, 0.0, -1.0, ())
        found = AnswerTask(max_length=9, stride=2, max_answer_tokens=3).score(
            rows, [prediction] * 4
        )
        assert found.groups is not None
        return np.unique(found.groups, return_inverse=True)[1].tolist()

    assert groups(["x", "x", "x", "y"]) == [0, 0, 0, 1]
    assert groups(["", "", "", ""]) == [0, 0, 1, 2]  # no titles
    assert groups(["x", "x", "x", "x"]) == [0, 0, 1, 2]  # one title for all says nothing
    assert groups(["x", "w", "y", "z"]) == [0, 0, 1, 2]  # a title for each question: not articles


def test_questions_about_one_context_share_a_group() -> None:
    from onelayer.base.errors import Place
    from onelayer.tasks.choose.choose import Choice, ChooseRow

    rows = [ChooseRow(context, "", ("x", "y"), 0, Place("x")) for context in "dbdbb"]
    scorer: Any = Choose(max_length=9).score(rows, [Choice(0, "x", (1.0, 0.0))] * 5)
    assert scorer.groups.tolist() == [0, 1, 0, 1, 1]
