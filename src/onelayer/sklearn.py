"""Estimators for scikit-learn: ``TextClassifier``, ``TextRegressor`` and ``TokenTagger``.

They clone, cross-validate and work in a ``Pipeline`` or a ``GridSearchCV``. A fit trains a run with
`onelayer.finetune`; the fitted estimator holds the path of the run, and so does its pickle.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from onelayer.base.errors import Place, UsageError
from onelayer.base.wording import listed
from onelayer.data.in_memory import tabular
from onelayer.data.plain_cells import plain_cell
from onelayer.prediction.inputs import items_of
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Recipe
from onelayer.training.finetune import finetune
from onelayer.training.progress import Silent

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.utils import check_consistent_length, check_random_state
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import assert_all_finite, check_is_fitted, column_or_1d
except ImportError:
    raise ImportError(
        'onelayer.sklearn needs scikit-learn: pip install "onelayer[sklearn]"'
    ) from None

Array = np.ndarray[Any, np.dtype[Any]]


class InvalidInputError(UsageError, ValueError):
    """An input that an estimator can't use. scikit-learn expects a ValueError."""


class TextEstimator(BaseEstimator):  # type: ignore[misc]
    """What the estimators share: parameters, training, and the path of the run, ``run_``.

    Parameters
    ----------
    model
        Pretrained model: a directory, a Hub name, ``starter`` or ``multilingual``; by default by
        the texts' language.
    epochs
        Passes over the training rows; by default 3, more for few rows.
    lr
        Peak learning rate; by default 3e-5 for width 768, more for narrower models.
    batch_size
        Examples per optimizer step; by default 32, 8 for few rows of some tasks.
    max_length
        Tokens per sequence; by default the model's limit.
    random_state
        Seed of the row order, the new layer and dropout: an int, a ``RandomState``, or None for
        the recipe's own seed, so that a fit can be repeated.
    runs
        The directory in which each fit saves its run. By default it is a temporary one, which is
        removed with the estimator, unless the estimator was pickled or copied.
    options
        Further fields of `Recipe`, such as ``{"patience": 3}``.
    """

    _task: str
    _roles: Sequence[str]

    def __init__(
        self,
        *,
        model: str | None = None,
        epochs: float | None = None,
        lr: float | None = None,
        batch_size: int | None = None,
        max_length: int | None = None,
        random_state: Any = None,
        runs: str | Path | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.max_length = max_length
        self.random_state = random_state
        self.runs = runs
        self.options = options

    def _train(self, inputs: list[Any], labels: list[Any], **own: Any) -> Self:
        """Trains a run on inputs and labels in the form of `finetune`."""
        if len(inputs) < 2:
            raise InvalidInputError("n_samples=1: one row is too few to learn from")
        columns = _columns(inputs, self._roles)
        roles = {role: role for role in (*columns, "label")}
        chosen = {
            "model": self.model,
            "epochs": self.epochs,
            "lr": self.lr,
            "batch_size": self.batch_size,
            "max_length": self.max_length,
            "seed": self._seed(),
        }
        recipe = Recipe(**{**(self.options or {}), **chosen, **roles, **own, "task": self._task})
        self._release()
        if self.runs is not None:
            Path(self.runs).mkdir(parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(prefix="run-", dir=self.runs)
        if self.runs is None:
            self._removal = weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self._predictor = finetune(
            {**columns, "label": labels}, out=folder, recipe=recipe, reporter=Silent()
        )
        self.run_ = folder
        return self

    def _seed(self) -> int:
        if self.random_state is None:
            return Recipe().seed
        if isinstance(self.random_state, (int, np.integer)):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(1 << 31))

    def _release(self) -> None:
        """Removes the temporary run of an earlier fit."""
        if (removal := self.__dict__.pop("_removal", None)) is not None:
            removal()

    @property
    def predictor_(self) -> Predictor:
        """The trained model. After a copy or a pickle it is loaded again from ``run_``."""
        check_is_fitted(self)
        if "_predictor" not in self.__dict__:
            self._predictor = load(self.run_)
        return self._predictor

    def _predictions(self, X: Any) -> list[Any]:
        check_is_fitted(self)
        inputs = _inputs(X, self._roles)
        return self.predictor_.predict(inputs)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "run_")

    def __getstate__(self) -> dict[str, Any]:
        """The parameters and the path of the run, which then stays where it is."""
        if (removal := self.__dict__.get("_removal")) is not None:
            removal.detach()
        state = dict(super().__getstate__())
        return {k: v for k, v in state.items() if k not in ("_removal", "_predictor")}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        return tags


class TextClassifier(ClassifierMixin, TextEstimator):  # type: ignore[misc]
    """Fine-tune BERT to classify texts, or pairs of texts.

    ``X`` is a list, array or Series of texts; for pairs it has two columns. ``y`` has a class for
    each text, or is a dense indicator matrix, (texts, labels) of 0 and 1, where a text may have
    several labels. The parameters are those of `TextEstimator`.
    """

    _task = "classify"
    _roles = ("text", "pair")

    def fit(self, X: Any, y: Any) -> Self:
        """Train on texts and their classes.

        Raises
        ------
        ValueError, OneLayerError
            For texts and classes that can't be used.
        """
        inputs, y = _labelled(self, X, y, self._roles)
        check_classification_targets(y)
        self._several = type_of_target(y, input_name="y").startswith("multilabel")
        if self._several:
            flags = np.asarray(y).astype(bool)
            self.classes_ = np.arange(flags.shape[1])
            self._names = [str(name) for name in getattr(y, "columns", self.classes_)]
            labels: list[Any] = [_chosen(self._names, row) for row in flags]
        else:
            self.classes_, numbers = np.unique(column_or_1d(y, warn=True), return_inverse=True)
            self._names = _class_names(self.classes_)
            labels = [self._names[number] for number in numbers]
        return self._train(inputs, labels, multi_label=self._several)

    def predict(self, X: Any) -> Array:
        """(texts,) classes; (texts, labels) of 0 and 1 if it was fitted on an indicator matrix."""
        found = self._predictions(X)
        if self._several:
            chosen = [set(one.labels) for one in found]
            flags = [[int(name in names) for name in self._names] for names in chosen]
            return np.array(flags, dtype=int).reshape(len(found), len(self._names))
        number = {name: i for i, name in enumerate(self._names)}
        return np.asarray(self.classes_[np.array([number[one.label] for one in found], dtype=int)])

    def predict_proba(self, X: Any) -> Array:
        """(texts, classes) probabilities, in the order of ``classes_``; those of several labels
        don't add up to 1."""
        found = [one.probabilities for one in self._predictions(X)]
        # A label that no training row has is unknown to the model.
        table = [[by_name.get(name, 0.0) for name in self._names] for by_name in found]
        return np.array(table, dtype=float).reshape(len(found), len(self._names))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class TextRegressor(RegressorMixin, TextEstimator):  # type: ignore[misc]
    """Fine-tune BERT to predict a number for each text, or pair of texts.

    ``X`` is a list, array or Series of texts; for pairs it has two columns. ``y`` has a number for
    each text. The parameters are those of `TextEstimator`.
    """

    _task = "regress"
    _roles = ("text", "pair")

    def fit(self, X: Any, y: Any) -> Self:
        """Train on texts and their numbers.

        Raises
        ------
        ValueError, OneLayerError
            For texts and numbers that can't be used.
        """
        inputs, y = _labelled(self, X, y, self._roles)
        numbers = column_or_1d(y, warn=True, dtype=float)
        assert_all_finite(numbers, input_name="y")
        return self._train(inputs, numbers.tolist())

    def predict(self, X: Any) -> Array:
        """(texts,) numbers, in the unit of the training labels."""
        return np.array([one.value for one in self._predictions(X)], dtype=float)


class TokenTagger(TextEstimator):
    """Fine-tune BERT to label each word of a text, such as for named entities.

    ``X`` is a list with the list of words of each text, ``y`` one with the list of their tags.
    The parameters are those of `TextEstimator`.
    """

    _task = "tag"
    _roles = ("text",)

    def fit(self, X: Any, y: Any) -> Self:
        """Train on lists of words and lists of tags.

        Raises
        ------
        ValueError, OneLayerError
            For words and tags that can't be used.
        """
        inputs, y = _labelled(self, X, y, self._roles)
        tags = [plain_cell(one) for one in y]
        _refuse_no_lists(tags, "y")
        for i, (words, own) in enumerate(zip(inputs, tags, strict=True)):
            if len(words) != len(own):
                raise InvalidInputError(f"X[{i}] has {len(words)} words and y[{i}] {len(own)} tags")
        self.classes_ = np.array(sorted({str(tag) for own in tags for tag in own}))
        return self._train(inputs, tags)

    def predict(self, X: Any) -> list[list[str]]:
        """The list of tags of each text, one for each word."""
        return [list(one.tags) for one in self._predictions(X)]

    def score(self, X: Any, y: Any) -> float:
        """The task's metric on these texts: entity F1, or accuracy where tags make no entities."""
        check_is_fitted(self)
        inputs, y = _labelled(self, X, y, self._roles)
        task = self.predictor_.task
        rows = [
            task.row({"text": words, "label": plain_cell(tags)}, Place("X", i), True)
            for i, (words, tags) in enumerate(zip(inputs, y, strict=True), start=1)
        ]
        return float(self.predictor_.evaluate(rows)()[task.metric])


def _labelled(estimator: Any, X: Any, y: Any, roles: Sequence[str]) -> tuple[list[Any], Any]:
    """The inputs, and ``y`` as it can be checked. Raises ValueError for missing and sparse ones."""
    if y is None:
        name = type(estimator).__name__
        raise InvalidInputError(f"{name} requires y to be passed, but the target y is None")
    if hasattr(y, "toarray"):
        raise InvalidInputError("y is sparse", hint="give it as a dense array: y.toarray()")
    inputs = _inputs(X, roles)
    if hasattr(y, "to_list") and not hasattr(y, "tolist"):
        y = y.to_list()
    check_consistent_length(inputs, y)
    if not inputs:
        raise InvalidInputError("Found array with 0 sample(s): X has no texts")
    return inputs, y


def _inputs(X: Any, roles: Sequence[str]) -> list[Any]:
    """Each row of ``X`` as `Predictor.predict` takes it: a text, a pair, or a list of words."""
    if hasattr(X, "toarray"):
        raise InvalidInputError("X is sparse, and should hold texts", hint=_hint(roles))
    try:
        table = tabular(X)
        rows: Iterable[Any] = items_of(X) if table is None else ()
    except UsageError as error:
        raise InvalidInputError(error.message, hint=error.hint) from None
    if table is not None:
        rows = (tuple(record.values.values()) for record in table)
    found = [_input(row, i, roles) for i, row in enumerate(rows)]
    if len({isinstance(row, tuple) for row in found}) > 1:
        raise InvalidInputError("X mixes single texts and pairs", hint=_hint(roles))
    return found


def _input(row: Any, number: int, roles: Sequence[str]) -> Any:
    """A row's text, pair or list of words. Raises InvalidInputError for anything else."""
    wants_words = "pair" not in roles
    value = plain_cell(row)
    if isinstance(value, list) and not wants_words:
        if len(value) == 1:
            value = value[0]
        elif len(value) == 2 and all(isinstance(text, str) for text in value):
            return tuple(value)
    elif isinstance(value, list) and isinstance(row, tuple) and len(value) == 1:
        value = value[0]  # a table with a column of lists
    if isinstance(value, list if wants_words else str):
        return value
    kind = "None" if value is None else f"a {type(value).__name__}"
    kind = f"{len(value)} columns" if isinstance(row, tuple) and isinstance(value, list) else kind
    raise InvalidInputError(f"X[{number}] is {kind}", hint=_hint(roles))


def _hint(roles: Sequence[str]) -> str:
    if "pair" not in roles:
        return "give a list of words for each text"
    return "give a column of texts, or two for pairs"


def _columns(inputs: list[Any], roles: Sequence[str]) -> dict[str, list[Any]]:
    if isinstance(inputs[0], tuple):
        return {
            role: list(column)
            for role, column in zip(roles, zip(*inputs, strict=True), strict=True)
        }
    return {roles[0]: inputs}


def _refuse_no_lists(tags: list[Any], name: str) -> None:
    for i, own in enumerate(tags):
        if not isinstance(own, list):
            hint = "give a list of tags for each text"
            raise InvalidInputError(f"{name}[{i}] is a {type(own).__name__}", hint=hint)


def _class_names(classes: Array) -> list[str]:
    """A name for each class. Raises InvalidInputError for classes whose names are equal."""
    names = [str(one).strip() for one in classes.tolist()]
    if len(set(names)) < len(names) or "" in names:
        raise InvalidInputError(f"classes whose names are equal or empty: {listed(names)}")
    if len(names) < 2:
        raise InvalidInputError(f"one class only: {listed(names)}; two or more are needed")
    return names


def _chosen(names: list[str], flags: Array) -> list[str]:
    return [name for name, flag in zip(names, flags, strict=True) if flag]
