"""The estimators for scikit-learn: its own checks, and what its users do with them."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks as checks
from sklearn.utils.estimator_checks import check_estimator
from sklearn.utils.validation import check_is_fitted, validate_data

from onelayer import OneLayerError, load
from onelayer.sklearn import TextClassifier, TextRegressor, TokenTagger
from support.tiny_bert import MakeBert

pd = pytest.importorskip("pandas")
pl = pytest.importorskip("polars")

N = 24
TEXTS = [f"{'good' if i % 2 else 'bad'} cat {i}" for i in range(N)]
CLASSES = np.array([i % 2 for i in range(N)])
NAMES = ["yes" if i % 2 else "no" for i in range(N)]
WORDS = [["the", "cat", "x", str(i)] for i in range(N)]
TAGS = [["O", "B-A", "I-A", "O"] if i % 2 else ["O", "B-A", "O", "O"] for i in range(N)]

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def make(make_bert: MakeBert) -> Make:
    """An estimator of a tiny model that trains for one epoch."""
    base = str(make_bert())
    return lambda kind, **params: kind(**{"model": base, "epochs": 1, **params})


@pytest.fixture(scope="module")
def fitted(make: Make) -> TextClassifier:
    return make(TextClassifier, epochs=30, random_state=0).fit(TEXTS, NAMES)


NOT_LEARNED = "a model of random weights can't learn numbers from their digits in an epoch"
EXPECTED_FAILURES = {
    "check_classifiers_train": NOT_LEARNED,
    "check_regressors_train": NOT_LEARNED,
}


class OfNumbers:
    """Reads rows of numbers as texts: scikit-learn's checks feed nothing else."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.one_d_array = tags.input_tags.string = False
        return tags

    def fit(self, X: Any, y: Any) -> Any:
        return super().fit(self.texts(X, reset=True), y)

    def _predictions(self, X: Any) -> list[Any]:
        check_is_fitted(self)
        return super()._predictions(self.texts(X, reset=False))

    def texts(self, X: Any, *, reset: bool) -> list[str]:
        rows = validate_data(self, X, reset=reset, dtype=None)
        return [" ".join(f"{float(number):.2g}" for number in row) for row in rows]


class ClassifierOfNumbers(OfNumbers, TextClassifier): ...


class RegressorOfNumbers(OfNumbers, TextRegressor): ...


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "n"), [(ClassifierOfNumbers, 45), (RegressorOfNumbers, 40)])
def test_estimator_checks_pass(
    kind: type[Any], n: int, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onelayer.training.finetune.draw_report", lambda *_: None)
    estimator = make(kind, options={"precision": "fp32", "folds": 0})

    found = check_estimator(
        estimator, expected_failed_checks=EXPECTED_FAILURES, on_fail=None, on_skip=None
    )

    failed = [(one["check_name"], one["exception"]) for one in found if one["status"] == "failed"]
    assert not failed
    assert sum(one["status"] == "passed" for one in found) >= n


@pytest.mark.parametrize("kind", [TextClassifier, TextRegressor, TokenTagger])
def test_parameters_are_those_of_scikit_learn(kind: type[Any], make: Make) -> None:
    for check in (
        checks.check_estimator_cloneable,
        checks.check_estimator_repr,
        checks.check_no_attributes_set_in_init,
        checks.check_do_not_raise_errors_in_init_or_set_params,
        checks.check_get_params_invariance,
        checks.check_set_params,
        checks.check_parameters_default_constructible,
        checks.check_mixin_order,
        checks.check_valid_tag_types,
    ):
        check(kind.__name__, make(kind))


def test_classes_and_probabilities_are_in_one_order(fitted: TextClassifier) -> None:
    probabilities = fitted.predict_proba(TEXTS)

    assert list(fitted.classes_) == ["no", "yes"]
    assert probabilities.shape == (N, 2)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)
    assert list(fitted.classes_[probabilities.argmax(axis=1)]) == list(fitted.predict(TEXTS))
    assert fitted.score(TEXTS, NAMES) == 1.0


def test_numbers_come_back_as_numbers(make: Make) -> None:
    made = make(TextClassifier).fit(np.array(TEXTS), CLASSES * 5)

    assert made.classes_.tolist() == [0, 5]
    assert set(made.predict(TEXTS)) <= {0, 5}
    assert made.predict(TEXTS).dtype == CLASSES.dtype


@pytest.mark.parametrize(
    "convert",
    [
        list,
        np.array,
        lambda texts: np.array(texts, dtype=object),
        lambda texts: np.array(texts).reshape(-1, 1),
        lambda texts: pd.Series(texts, index=range(50, 50 + len(texts))),
        lambda texts: pd.DataFrame({"anything": texts}),
        lambda texts: pl.Series(texts),
        lambda texts: pl.DataFrame({"anything": texts}),
    ],
)
def test_texts_may_be_in_any_container(fitted: TextClassifier, convert: Any) -> None:
    assert list(fitted.predict(convert(TEXTS))) == list(fitted.predict(TEXTS))


def test_pairs_are_two_columns(make: Make) -> None:
    pairs = [(text, "the cat") for text in TEXTS]
    made = make(TextClassifier, random_state=3).fit(pairs, NAMES)

    for X in (np.array(pairs), pd.DataFrame(pairs), [list(pair) for pair in pairs]):
        np.testing.assert_allclose(made.predict_proba(X), made.predict_proba(pairs), atol=1e-5)
    assert "pair" in made.predictor_.layout.columns


def test_indicator_matrix_gives_an_indicator_matrix(make: Make) -> None:
    y = np.stack([CLASSES, 1 - CLASSES, np.zeros(N, int)], axis=1)

    made = make(TextClassifier).fit(TEXTS, y)

    assert made.predict(TEXTS).shape == (N, 3)
    assert set(made.predict(TEXTS).ravel()) <= {0, 1}
    assert made.predict_proba(TEXTS)[:, 2].tolist() == [0.0] * N
    assert 0 <= made.score(TEXTS, y) <= 1


def test_regressor_predicts_numbers(make: Make) -> None:
    made = make(TextRegressor).fit(TEXTS, CLASSES * 2.5)

    assert made.predict(TEXTS).shape == (N,)
    assert made.score(TEXTS, CLASSES * 2.5) <= 1


def test_tagger_gives_a_tag_for_each_word(make: Make) -> None:
    made = make(TokenTagger).fit(WORDS, TAGS)

    assert made.classes_.tolist() == ["B-A", "I-A", "O"]
    assert [len(tags) for tags in made.predict(WORDS)] == [4] * N
    assert 0 <= made.score(WORDS, TAGS) <= 1
    assert clone(made).get_params() == made.get_params()


@pytest.mark.slow
def test_estimator_works_in_pipelines_searches_and_cross_validation(make: Make) -> None:
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    pipeline = make_pipeline(lower, make(TextClassifier))

    scores = cross_validate(pipeline, TEXTS, NAMES, cv=2, error_score="raise")
    search = GridSearchCV(pipeline, {"textclassifier__lr": [1e-3, 1e-4]}, cv=2)

    assert len(scores["test_score"]) == 2
    assert search.fit(TEXTS, NAMES).best_params_["textclassifier__lr"] in (1e-3, 1e-4)
    assert search.predict_proba(TEXTS).shape == (N, 2)


def test_same_random_state_gives_the_same_model(make: Make) -> None:
    first, second, other = (
        make(TextClassifier, random_state=seed).fit(TEXTS, NAMES).predict_proba(TEXTS)
        for seed in (7, 7, 8)
    )

    assert (first == second).all()
    assert (first != other).any()


@pytest.mark.process
@pytest.mark.slow
def test_pickle_holds_the_path_of_the_run(fitted: TextClassifier) -> None:
    packed = pickle.dumps(fitted)
    code = f"import pickle, sys; print(*pickle.load(sys.stdin.buffer).predict({TEXTS!r}))"

    ran = subprocess.run(
        [sys.executable, "-c", code], input=packed, capture_output=True, check=True
    )

    assert len(packed) < 10_000
    assert ran.stdout.decode().split() == list(fitted.predict(TEXTS))


def test_temporary_run_is_removed_unless_it_was_pickled(make: Make, tmp_path: Path) -> None:
    first, kept = (make(TextClassifier).fit(TEXTS, NAMES) for _ in range(2))
    runs = Path(first.run_), Path(kept.run_)
    copy = pickle.loads(pickle.dumps(kept))

    del first, kept

    assert [run.is_dir() for run in runs] == [False, True]
    assert copy.predict(TEXTS).shape == (N,)
    shutil.rmtree(runs[1])
    with pytest.raises(OneLayerError):
        pickle.loads(pickle.dumps(copy)).predict(TEXTS)
    saved = make(TextClassifier, runs=tmp_path / "runs").fit(TEXTS, NAMES)
    assert list(load(saved.run_).task.labels) == ["no", "yes"]
    assert Path(saved.run_).parent == tmp_path / "runs"


@pytest.mark.parametrize(
    ("kind", "X", "y", "says"),
    [
        (TextClassifier, TEXTS, None, "requires y to be passed"),
        (TextClassifier, TEXTS, sparse.csr_matrix(np.eye(N)), "y is sparse (give it as a dense"),
        (TextClassifier, sparse.csr_matrix(np.eye(N)), NAMES, "X is sparse"),
        (TextClassifier, np.eye(N), NAMES, "X[0] is 24 columns"),
        (TextClassifier, [1.0] * N, NAMES, "X[0] is a float"),
        (TextClassifier, [*TEXTS[:-1], None], NAMES, "X[23] is None"),
        (TextClassifier, "one text", NAMES, "not a text"),
        (TextClassifier, [*TEXTS[:-1], ("a", "b")], NAMES, "mixes single texts and pairs"),
        (TextClassifier, TEXTS[:-1], NAMES, "inconsistent numbers of samples"),
        (TextClassifier, TEXTS, ["yes"] * N, "one class only"),
        (TextClassifier, TEXTS, np.linspace(0, 1, N), "Unknown label type"),
        (TextClassifier, TEXTS[:1], NAMES[:1], "one class only"),
        (TextClassifier, [], [], "0 sample(s)"),
        (TextRegressor, TEXTS, [float("nan"), *[1.0] * (N - 1)], "y contains NaN"),
        (TextRegressor, TEXTS, NAMES, "could not convert string to float"),
        (TokenTagger, TEXTS, TAGS, "X[0] is a str (give a list of words"),
        (TokenTagger, WORDS, NAMES, "y[0] is a str"),
        (TokenTagger, WORDS, [["O"]] * N, "X[0] has 4 words and y[0] 1 tags"),
    ],
)
def test_unusable_input_is_a_value_error(kind: Any, X: Any, y: Any, says: str, make: Make) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the words differ
        make(kind).fit(X, y)

    assert says in str(caught.value)


def test_estimator_without_fit_says_so(make: Make) -> None:
    with pytest.raises(NotFittedError):
        make(TextClassifier).predict(TEXTS)
    with pytest.raises(NotFittedError):
        make(TokenTagger).score(WORDS, TAGS)
