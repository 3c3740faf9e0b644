"""A text or a pair of texts gets a number."""

from __future__ import annotations

import math
from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from onelayer import metrics
from onelayer.base.errors import CheckpointError, DataError, Place
from onelayer.base.library_structs import Found, RowInput
from onelayer.data.values import in_role, number_in
from onelayer.recipe import Recipe
from onelayer.tasks.label_census import NumberCensus
from onelayer.tasks.label_judges import LabelJudge, Suspect
from onelayer.tasks.logits import Logits
from onelayer.tasks.mistakes import Judged, Mistake
from onelayer.tasks.pooling import (
    POOLINGS,
    Pooling,
    best_pooling,
    chosen_by_scores,
    first_pooling,
    pool,
    pooled_by,
    reading,
)
from onelayer.tasks.predictions import BasePrediction, OutputTensor
from onelayer.tasks.protocol import Chunk, SavedLayer, Task, Unit
from onelayer.tasks.regress.regress_columns import RegressColumns
from onelayer.tasks.suggestions import Labelling
from onelayer.tasks.texts import Text, TextRow, encode_texts, text_and_pair, texts_in
from onelayer.tasks.uncertainty import Uncertainty, no_uncertainty
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.words import WordSpans


@dataclass(frozen=True, slots=True)
class Value(BasePrediction):
    """The number predicted for a text, in the unit of the training labels."""

    value: float

    @property
    def headline(self) -> float:
        return float(f"{self.value:.7g}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Regress(Task[TextRow, Value]):
    """The layer learns numbers of mean 0 and deviation 1, whatever unit the labels have."""

    name = "regress"
    columns = RegressColumns()
    aim = "gives a text a number"
    example = '["a text to measure"]'
    pipeline_tag = "text-classification"
    may_truncate = True
    predicts_number = True

    max_length: int
    mean: float = 0.0
    deviation: float = 1.0
    stride: int = 0
    pooling: Pooling = "head"
    """How the windows of a long text become one number."""
    pooling_scores: Mapping[str, float] = field(default_factory=dict)
    """The dev score of each way of pooling, by which it was chosen; empty without long texts."""

    @property
    def head(self) -> str:
        return "value"

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("value",)

    @property
    def metric(self) -> str:
        return "spearman"

    @property
    def summary(self) -> str:
        spread = f"numbers of mean {self.mean:.4g} and deviation {self.deviation:.4g}"
        return f"{spread}; {reading(self.max_length, self.pooling)}"

    @property
    def decided_on_dev(self) -> str | None:
        return chosen_by_scores(self.pooling, self.pooling_scores, self.metric)

    @classmethod
    def row(cls, values: Mapping[str, Any], place: Place, labelled: bool) -> TextRow:
        text, pair = text_and_pair(values, place, labelled)
        return TextRow(text, pair, _number(values.get("label"), place) if labelled else None, place)

    @classmethod
    def census(cls) -> NumberCensus:
        return NumberCensus()

    @classmethod
    def fit(cls, rows: Iterable[TextRow], tokenizer: Tokenizer, recipe: Recipe, limit: int) -> Self:
        numbers = array("d")
        path: str | Path = ""
        for row in rows:
            assert isinstance(row.label, float)
            numbers.append(row.label)
            path = row.place.path
        values = np.frombuffer(numbers)
        deviation = float(values.std())
        if not deviation > 0:
            raise DataError(
                f"one number only: every row has {values[0]:g}",
                place=Place(path),
                hint="does --label name the right column?",
            )
        max_length = recipe.max_length or limit
        return cls(
            max_length=max_length,
            mean=float(values.mean()),
            deviation=deviation,
            stride=min(recipe.stride, max_length // 4),
            pooling=first_pooling(recipe),
        )

    def encode(self, rows: Sequence[TextRow], tokenizer: Tokenizer, labelled: bool) -> Encodings:
        encodings = encode_texts(rows, tokenizer, self.max_length, self.stride, self.pooling)
        if not labelled:
            return encodings
        targets = ((_gold(rows) - self.mean) / self.deviation).astype(np.float32)
        return replace(encodings, targets=np.repeat(targets, np.diff(encodings.cu_rows)))

    def decode(self, rows: Sequence[TextRow], encodings: Encodings, logits: Logits) -> list[Value]:
        return self._predictions(pool(encodings, logits, self.pooling))

    def _predictions(self, row_logits: Logits) -> list[Value]:
        values = row_logits[:, 0].astype(np.float64) * self.deviation + self.mean
        return [Value(value) for value in values.tolist()]

    def library_input(self, row: TextRow) -> RowInput:
        return row.library_input()

    def from_library(self, row: TextRow, found: Found) -> Value:
        return Value(found.value)

    def score(self, rows: Iterable[TextRow], predictions: Iterable[Value]) -> metrics.Scorer:
        values = np.fromiter((p.value for p in predictions), dtype=np.float64)
        return metrics.Regression(_gold(rows), values)

    def tune(
        self, rows: Iterable[TextRow], chunks: Iterable[Chunk[TextRow]]
    ) -> tuple[Self, metrics.Scorer]:
        """With the pooling that gives the best score on these rows."""

        def score(row_logits: Logits) -> metrics.Scorer:
            return self.score(rows, self._predictions(row_logits))

        ways = dict.fromkeys((self.pooling, *POOLINGS))
        pooling, scores, scorer = best_pooling(pooled_by(chunks, ways), score, self.metric)
        return replace(self, pooling=pooling, pooling_scores=scores), scorer

    @classmethod
    def texts(cls, row: TextRow) -> tuple[str, ...]:
        return texts_in(row)

    def with_texts(self, row: TextRow, texts: Sequence[str], words: Sequence[WordSpans]) -> TextRow:
        return row.with_texts(*texts)

    @classmethod
    def gold_text(cls, row: TextRow) -> str:
        return f"{row.label:g}"

    @classmethod
    def gold_key(cls, row: TextRow) -> Hashable:
        return row.label

    def judge(self, row: TextRow, prediction: Value) -> Judged:
        return Judged(abs(prediction.value - _number_of(row)))

    def mistake(self, row: TextRow, prediction: Value) -> Mistake:
        gold = _number_of(row)
        remark = f"off by {prediction.value - gold:+.4g}"
        return Mistake(f"{gold:.4g}", f"{prediction.value:.4g}", remark, self.passages(row))

    def label_judge(self) -> LabelJudge[Self]:
        return NumberJudge()

    def uncertainty(self, chunk: Chunk[TextRow]) -> Uncertainty:
        """A number comes without a probability: all rows count the same, and those are chosen that
        differ in their texts and predicted numbers."""
        rows, encodings, logits = chunk
        doubt, _ = no_uncertainty(len(rows))
        return Uncertainty(doubt, pool(encodings, logits, self.pooling))

    @property
    def labelling(self) -> Labelling:
        return Labelling("number")

    @classmethod
    def wire_input(cls) -> type[Text]:
        return Text

    def tensors(self) -> tuple[OutputTensor, ...]:
        return (OutputTensor("value", "FP32", lambda p: p.value),)

    def check_values(self) -> None:
        if not self.deviation > 0:
            raise CheckpointError(f"deviation is {self.deviation}, and must be above 0")

    @classmethod
    def of_saved(cls, layer: SavedLayer) -> Self | None:
        n, problem = len(layer.labels), layer.problem_type
        regresses = problem == "regression" or (n == 1 and problem != "multi_label_classification")
        if layer.form != "SequenceClassification" or not regresses:
            return None
        if n > 1:
            raise CheckpointError(
                f"an output layer of {n} numbers for a text, and {cls.name} predicts one"
            )
        return cls(max_length=layer.positions)

    @property
    def unit(self) -> Unit:
        return Unit(self.mean, self.deviation)

    def without_unit(self) -> Self:
        return replace(self, mean=0.0, deviation=1.0)

    @classmethod
    def range_of(cls, rows: Sequence[TextRow]) -> tuple[float, float]:
        numbers = _gold(rows)
        return float(numbers.min()), float(numbers.max())


class NumberJudge:
    """A number is wrong where it lies much farther from the prediction than others do."""

    def __init__(self) -> None:
        self.unjudged = 0
        self._facts = array("d")

    def see(self, model: Regress, numbers: metrics.Ints, chunk: Chunk[TextRow]) -> None:
        for number, row, said in zip(numbers, chunk[0], model.decode(*chunk), strict=True):
            self._facts.extend((float(number), _number_of(row), said.value))

    def suspects(self) -> list[Suspect]:
        facts = np.array(self._facts).reshape(-1, 3)
        if not len(facts):
            return []
        far, z = metrics.outliers(facts[:, 1] - facts[:, 2])
        return [
            Suspect(int(facts[i, 0]), -abs(float(z[i])), f"{facts[i, 2]:.4g}")
            for i in np.flatnonzero(far)
        ]


def _number_of(row: TextRow) -> float:
    assert isinstance(row.label, float), "only labelled rows are judged"
    return row.label


def _gold(rows: Iterable[TextRow]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.fromiter((row.label for row in rows), dtype=np.float64)


def _number(value: object, place: Place) -> float:
    number = number_in(value)
    if math.isnan(number):
        said = "no label" if value in (None, "") else f"label {value!r} is not a number"
        hint = "correct it, or leave such rows out with --skip-bad"
        raise DataError(said, place=in_role(place, "label"), hint=hint)
    return number
