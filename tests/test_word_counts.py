"""The simple method to compare with: it predicts as scikit-learn does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer

from onelayer.metrics import Classification
from onelayer.shrinking import word_counts
from onelayer.shrinking.word_counts import (
    CLASS_STRENGTH,
    Vocabulary,
    fit_word_counts,
    reads_whole_texts,
    terms_of,
)
from onelayer.tasks.logits import sigmoid, softmax
from support.from_tokens import MakePredictor
from support.task_cases import CASES, Case

BY_NAME = {case.name: case for case in CASES}
WHOLE = [case for case in CASES if case.task in ("classify", "regress")]


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Solved as far as double precision goes, so that two solvers agree."""
    monkeypatch.setattr(word_counts, "TOLERANCE", 1e-9)
    monkeypatch.setattr(word_counts, "MAX_ITERATIONS", 1000)


def theirs(rows: Sequence[Any]) -> NDArray[np.float64]:
    """(B, F) scikit-learn's features."""
    vectorizer = TfidfVectorizer(analyzer=terms_of, sublinear_tf=True)
    sides = [[row.text for row in rows]]
    if rows[0].pair is not None:
        sides.append([row.pair for row in rows])
    vectorizer.fit([text for side in sides for text in side])
    parts = [vectorizer.transform(side) for side in sides]
    if len(parts) > 1:
        parts.append(csr_matrix(parts[0].multiply(parts[1]).sum(axis=1)))
    return np.asarray(hstack(parts).toarray())


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_features_are_those_of_scikit_learn(case: Case, make_predictor: MakePredictor) -> None:
    run, rows = make_predictor(case)
    model = fit_word_counts(run, rows, None)  # type: ignore[arg-type]
    rows = list(rows)
    bags = model.bags(rows)
    row = np.repeat(np.arange(len(rows)), np.diff(bags.cu_rows))
    own = csr_matrix((bags.values, (row, bags.features)), shape=(len(rows), len(model.weights) - 1))
    # The columns are in another order: sorted, those of equal values are side by side.
    found, expected = (x[:, np.lexsort(x.round(9))] for x in (own.toarray(), theirs(rows)))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_labels_are_predicted_as_scikit_learn_does(make_predictor: MakePredictor) -> None:
    run, rows = make_predictor(BY_NAME["classify"])
    own = softmax(fit_word_counts(run, rows, None).logits(list(rows)))  # type: ignore[arg-type]
    rows = list(rows)
    model = LogisticRegression(C=CLASS_STRENGTH, tol=1e-9, max_iter=5000)
    model.fit(theirs(rows), [row.label for row in rows])
    assert list(model.classes_) == list(run.task.label_names)
    np.testing.assert_allclose(own, model.predict_proba(theirs(rows)), atol=1e-4)


def test_several_labels_are_predicted_as_scikit_learn_does(make_predictor: MakePredictor) -> None:
    run, rows = make_predictor(BY_NAME["classify multi-label"])
    own = sigmoid(fit_word_counts(run, rows, None).logits(list(rows)))  # type: ignore[arg-type]
    rows = list(rows)
    gold = MultiLabelBinarizer(classes=run.task.label_names).fit_transform([r.label for r in rows])
    each = LogisticRegression(C=CLASS_STRENGTH, tol=1e-9, max_iter=5000)
    model = OneVsRestClassifier(each).fit(theirs(rows), gold)
    np.testing.assert_allclose(own, model.predict_proba(theirs(rows)), atol=1e-4)


@pytest.mark.parametrize("name", ["regress", "regress long pairs"])
def test_numbers_are_predicted_as_scikit_learn_does(
    name: str, make_predictor: MakePredictor
) -> None:
    run, rows = make_predictor(BY_NAME[name])
    model = fit_word_counts(run, rows, rows)  # type: ignore[arg-type]
    rows = list(rows)
    ridge = Ridge().fit(theirs(rows), [row.label for row in rows])
    own = [one.value for one in model.predict_rows(rows)]
    np.testing.assert_allclose(own, ridge.predict(theirs(rows)), rtol=1e-4)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_only_tasks_that_read_whole_texts_have_one(
    case: Case, make_predictor: MakePredictor
) -> None:
    run, _ = make_predictor(case)
    assert reads_whole_texts(run.task) == (case in WHOLE)


@pytest.mark.parametrize("case", WHOLE, ids=lambda case: case.name)
def test_predictions_are_the_tasks_and_scored_as_those_of_a_model(
    case: Case, make_predictor: MakePredictor
) -> None:
    run, rows = make_predictor(case)
    model = fit_word_counts(run, rows, rows)  # type: ignore[arg-type]
    found = list(model.predict_each(rows))
    assert {type(one) for one in found} == {case.prediction}
    assert len(run.task.score(rows, found)) == 24
    odd = [run.row_of(item, i) for i, item in enumerate(case.inputs)]
    assert len(model.predict_rows([*odd, odd[0]])) == len(odd) + 1
    assert model.bytes > 4 * model.weights.size


def test_what_dev_decides_is_tuned_for_it(make_predictor: MakePredictor) -> None:
    run, rows = make_predictor(BY_NAME["classify multi-label"])
    model = fit_word_counts(run, rows, rows)  # type: ignore[arg-type]
    assert model.task.tuned_on_dev
    assert model.task != run.task


def test_text_without_a_known_word_gets_the_biases(make_predictor: MakePredictor) -> None:
    run, rows = make_predictor(BY_NAME["classify"])
    model = fit_word_counts(run, rows, None)  # type: ignore[arg-type]
    odd = [run.row_of(text, 1) for text in ("zzz", "a good cat", "", "zzz")]
    logits = model.logits(odd)
    for i in (0, 2, 3):
        np.testing.assert_array_equal(logits[i], model.weights[-1])
    assert not np.array_equal(logits[1], model.weights[-1])


def test_layer_is_the_same_on_any_number_of_threads(make_predictor: MakePredictor) -> None:
    run, rows = make_predictor(BY_NAME["classify"])
    first = fit_word_counts(run, rows, None).weights  # type: ignore[arg-type]
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        again = fit_word_counts(run, rows, None).weights  # type: ignore[arg-type]
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(first, again)


def test_terms_are_words_and_pairs_and_in_chinese_characters_and_pairs() -> None:
    assert terms_of("The cat, OK") == ["the", "cat", ",", "ok", "the cat", "cat ,", ", ok"]
    assert terms_of("北京 ok") == ["北", "京", "ok", "北 京", "京 ok"]
    assert terms_of("") == []


def test_frequent_terms_are_kept_where_there_are_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["a b", "a b", "a c", "d"]
    assert list(Vocabulary.of(texts, 3).numbers) == ["a", "a b", "b"]
    monkeypatch.setattr(word_counts, "MAX_COUNTED", 4)
    assert list(Vocabulary.of(texts, 3).numbers) == ["a", "a b", "b"]


def test_rows_of_a_large_file_are_spread_over_it(
    make_predictor: MakePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, rows = make_predictor(BY_NAME["classify"])
    monkeypatch.setattr(word_counts, "MAX_ROWS", 10)
    model = fit_word_counts(run, rows, None)  # type: ignore[arg-type]
    numbers = {term for term in model.vocabulary.numbers if term.isdecimal()}
    assert numbers == {str(i) for i in range(0, 24, 3)}


def test_it_learns(make_predictor: MakePredictor) -> None:
    run, rows = make_predictor(BY_NAME["classify"])
    model = fit_word_counts(run, rows, rows)  # type: ignore[arg-type]
    scorer = run.task.score(rows, model.predict_each(rows))
    assert isinstance(scorer, Classification)
    assert scorer()["accuracy"] == 1
