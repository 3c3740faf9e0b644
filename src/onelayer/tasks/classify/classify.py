"""A text or a pair of texts gets one label, or several."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from onelayer import metrics
from onelayer.base.errors import CheckpointError, DataError, Place, UsageError
from onelayer.base.library_structs import Found, RowInput
from onelayer.base.wording import in_words, listed
from onelayer.recipe import Recipe
from onelayer.tasks.calibration import (
    Calibration,
    best_thresholds,
    calibrate_labels,
    calibrate_sets,
    cross_fitted_sets,
)
from onelayer.tasks.classify.class_predictions import Label, Labels, judged_labels, judged_sets
from onelayer.tasks.classify.classify_columns import ClassifyColumns
from onelayer.tasks.classify.classify_judges import OneLabelJudge, SeveralLabelsJudge
from onelayer.tasks.classify.classify_mistakes import (
    judge_one_label,
    judge_several_labels,
    one_label_mistake,
    several_labels_mistake,
)
from onelayer.tasks.classify.gold_labels import (
    gold_ids,
    gold_sets,
    judge_unlabelled,
    names_of,
    one_name,
    read_label,
)
from onelayer.tasks.label_census import ClassCensus
from onelayer.tasks.label_judges import LabelJudge
from onelayer.tasks.label_names import in_order
from onelayer.tasks.logits import Logits, sigmoid, softmax
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
from onelayer.tasks.predictions import OutputTensor
from onelayer.tasks.protocol import Chunk, SavedLayer, Task
from onelayer.tasks.suggestions import Labelling, Suggestion
from onelayer.tasks.texts import Text, TextRow, encode_texts, text_and_pair, texts_in
from onelayer.tasks.uncertainty import Uncertainty, uncertain_label, uncertain_labels
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.words import WordSpans


@dataclass(frozen=True, slots=True, kw_only=True)
class Classify(Task[TextRow, Label | Labels]):
    """One label of ``labels``, or with ``multi_label`` those at or above ``threshold``, which is
    one for all or has one for each."""

    name = "classify"
    columns = ClassifyColumns()
    aim = "sorts texts into classes"
    example = '["a text to sort"]'
    pipeline_tag = "text-classification"
    may_truncate = True
    promises = True
    hub_form = "text-classification"

    labels: tuple[str, ...]
    max_length: int
    multi_label: bool = False
    threshold: float | tuple[float, ...] = 0.5
    stride: int = 0
    pooling: Pooling = "head"
    """How the windows of a long text become one prediction."""
    pooling_scores: Mapping[str, float] = field(default_factory=dict)
    """The dev score of each way of pooling, by which it was chosen; empty without long texts."""
    calibration: Calibration | None = None
    """What dev rows told of the probabilities; None before training and in others' models."""
    least_in_set: float | None = None
    """The probability from which a label is in the set; None where no sets were asked for."""
    least_confidence: float | None = None
    """The probability from which there is an answer; None where there always is one."""

    @property
    def head(self) -> str:
        return "labels" if self.multi_label else "label"

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.labels

    @property
    def metric(self) -> str:
        return "micro_f1" if self.multi_label else "accuracy"

    @property
    def summary(self) -> str:
        kind = "several labels a row" if self.multi_label else "one label a row"
        labels = f"{kind} of {len(self.labels)}: {listed(self.labels)}"
        return f"{labels}; {reading(self.max_length, self.pooling)}"

    @property
    def decided_on_dev(self) -> str | None:
        return chosen_by_scores(self.pooling, self.pooling_scores, self.metric)

    @property
    def tuned_on_dev(self) -> tuple[str, ...]:
        if self.calibration is None:
            return ()
        return ("the temperature", *(("the labels' thresholds",) if self.multi_label else ()))

    @property
    def label_temperature(self) -> float | None:
        return self.calibration.temperature if self.calibration else None

    def in_short(self) -> dict[str, Any]:
        known = self.calibration
        short = {"rows": known.rows, "temperature": known.temperature} if known else None
        return {**self.to_json(), "calibration": short}

    @property
    def label_names(self) -> tuple[str, ...]:
        return self.labels

    @property
    def thresholds(self) -> tuple[float, ...]:
        if not self.multi_label:
            return ()
        return tuple(np.broadcast_to(self.threshold, len(self.labels)).tolist())

    @property
    def several_labels(self) -> bool:
        return self.multi_label

    @classmethod
    def row(cls, values: Mapping[str, Any], place: Place, labelled: bool) -> TextRow:
        text, pair = text_and_pair(values, place, labelled)
        return TextRow(text, pair, read_label(values, place) if labelled else None, place)

    @classmethod
    def census(cls) -> ClassCensus:
        return ClassCensus()

    @classmethod
    def check(cls, rows: Iterable[TextRow]) -> Callable[[TextRow], DataError | None] | None:
        return judge_unlabelled(rows)

    @classmethod
    def fit(cls, rows: Iterable[TextRow], tokenizer: Tokenizer, recipe: Recipe, limit: int) -> Self:
        names: set[str] = set()
        several = False
        path: str | Path = ""
        for row in rows:
            several = several or isinstance(row.label, tuple)
            names.update(names_of(row))
            path = row.place.path
        multi_label = several if recipe.multi_label is None else recipe.multi_label
        labels = in_order(names)
        if not labels or (len(labels) == 1 and not multi_label):
            only = f"every row has {labels[0]!r}" if labels else "no row has a label"
            raise DataError(
                f"one class only: {only}",
                place=Place(path),
                hint="two or more are needed; does --label name the right column?",
            )
        max_length = recipe.max_length or limit
        return cls(
            labels=labels,
            max_length=max_length,
            multi_label=multi_label,
            stride=min(recipe.stride, max_length // 4),
            pooling=first_pooling(recipe),
        )

    def encode(self, rows: Sequence[TextRow], tokenizer: Tokenizer, labelled: bool) -> Encodings:
        encodings = encode_texts(rows, tokenizer, self.max_length, self.stride, self.pooling)
        if not labelled:
            return encodings
        targets = (gold_sets if self.multi_label else gold_ids)(rows, self.labels)
        return replace(encodings, targets=np.repeat(targets, np.diff(encodings.cu_rows), axis=0))

    def decode(
        self, rows: Sequence[TextRow], encodings: Encodings, logits: Logits
    ) -> list[Label | Labels]:
        return list(self._predictions(pool(encodings, logits, self.pooling)))

    def with_guarantees(self, coverage: float | None, abstain: float | None) -> Self:
        if self.calibration is None:
            raise UsageError(
                "the model has no calibration that --coverage and --abstain could rely on",
                hint="only runs of onelayer train have one",
            )
        if abstain is not None and self.multi_label:
            raise UsageError("--abstain is for one label a row, and this model gives several")
        known = self.calibration
        return replace(
            self,
            least_in_set=None if coverage is None else known.least_in_set(coverage),
            least_confidence=None if abstain is None else known.least_confidence(abstain),
        )

    def _predictions(self, row_logits: Logits) -> Iterator[Label | Labels]:
        """(B, C) logits -> one prediction a row."""
        logits = row_logits / (self.calibration.temperature if self.calibration else 1.0)
        if not self.multi_label:
            return (self._label(p.tolist()) for p in softmax(logits))
        return (self._labels(p.tolist(), self.thresholds) for p in sigmoid(logits))

    def _label(self, p: list[float]) -> Label:
        probabilities = dict(zip(self.labels, p, strict=True))
        best = max(probabilities, key=probabilities.__getitem__)
        sure = self.least_confidence is None or probabilities[best] >= self.least_confidence
        found = self._set(probabilities)
        if found == ():  # which would be of no use
            found = (best,)
        return Label(best if sure else None, probabilities[best], probabilities, found)

    def _labels(self, p: list[float], thresholds: Sequence[float]) -> Labels:
        probabilities = dict(zip(self.labels, p, strict=True))
        pairs = zip(probabilities.items(), thresholds, strict=True)
        chosen = tuple(name for (name, q), threshold in pairs if q >= threshold)
        return Labels(chosen, probabilities, self._set(probabilities))

    def _set(self, probabilities: Mapping[str, float]) -> tuple[str, ...] | None:
        if self.least_in_set is None:
            return None
        ranked = sorted(probabilities, key=probabilities.__getitem__, reverse=True)
        return tuple(name for name in ranked if probabilities[name] >= self.least_in_set)

    def library_input(self, row: TextRow) -> RowInput:
        return row.library_input()

    def from_library(self, row: TextRow, found: Found) -> Label | Labels:
        kind = Labels if self.multi_label else Label
        return kind.of_library(found, self.labels, sets=self.least_in_set is not None)

    def score(
        self, rows: Iterable[TextRow], predictions: Iterable[Label | Labels]
    ) -> metrics.Scorer:
        sets = self.least_in_set is not None
        if self.multi_label:
            several = (p for p in predictions if isinstance(p, Labels))
            return judged_sets(gold_sets(rows, self.labels), several, self.labels, sets=sets)
        found = (p for p in predictions if isinstance(p, Label))
        abstains = self.least_confidence is not None
        gold = gold_ids(rows, self.labels)
        return judged_labels(gold, found, self.labels, sets=sets, abstains=abstains)

    def tune(
        self, rows: Iterable[TextRow], chunks: Iterable[Chunk[TextRow]]
    ) -> tuple[Self, metrics.Scorer]:
        """With the pooling that gives the best score on these rows, and with the temperature, the
        thresholds and the promises that follow from them."""

        def score(row_logits: Logits) -> metrics.Scorer:
            tuned = self._calibrated(row_logits, rows)
            return tuned.score(rows, tuned._predictions(row_logits))

        ways = dict.fromkeys((self.pooling, *POOLINGS))
        pooled = pooled_by(chunks, ways)
        pooling, scores, scorer = best_pooling(pooled, score, self.metric)
        tuned = self._calibrated(pooled[pooling], rows)
        if isinstance(scorer, metrics.MultiLabel):
            scorer = self._cross_fitted(scorer)
        return replace(tuned, pooling=pooling, pooling_scores=scores), scorer

    @staticmethod
    def _cross_fitted(scorer: metrics.MultiLabel) -> metrics.MultiLabel:
        """The scores with the metric for thresholds that were tuned on other rows."""
        assert scorer.confidence is not None
        chosen = cross_fitted_sets(scorer.confidence.probability, scorer.gold)
        if chosen is None:
            return scorer
        value = metrics.MultiLabel(scorer.gold, chosen)()["micro_f1"]
        return replace(scorer, cross_fitted=value)

    def _calibrated(self, row_logits: Logits, rows: Iterable[TextRow]) -> Self:
        if not self.multi_label:
            gold_label = gold_ids(rows, self.labels)
            return replace(self, calibration=calibrate_labels(row_logits, gold_label))
        gold = gold_sets(rows, self.labels)
        calibration = calibrate_sets(row_logits, gold)
        p = sigmoid(row_logits / calibration.temperature)
        return replace(self, calibration=calibration, threshold=best_thresholds(p, gold))

    @classmethod
    def texts(cls, row: TextRow) -> tuple[str, ...]:
        return texts_in(row)

    def with_texts(self, row: TextRow, texts: Sequence[str], words: Sequence[WordSpans]) -> TextRow:
        return row.with_texts(*texts)

    @classmethod
    def stratum(cls, row: TextRow) -> str:
        return "\0".join(names_of(row))

    @classmethod
    def gold_text(cls, row: TextRow) -> str:
        return in_words(row.label) if isinstance(row.label, tuple) else str(row.label)

    @classmethod
    def gold_key(cls, row: TextRow) -> Hashable:
        return frozenset(row.label) if isinstance(row.label, tuple) else row.label

    @classmethod
    def labels_in(cls, row: TextRow) -> tuple[str, ...]:
        return names_of(row)

    def row_logits(self, encodings: Encodings, logits: Logits) -> Logits:
        return pool(encodings, logits, self.pooling)

    def by_label(
        self, scorer: metrics.Scorer, rows: metrics.ChosenRows | None = None
    ) -> dict[str, dict[str, float]]:
        assert isinstance(scorer, (metrics.Classification, metrics.MultiLabel))
        return {self.labels[i]: values for i, values in scorer.by_label(rows).items()}

    def judge(self, row: TextRow, prediction: Label | Labels) -> Judged:
        if isinstance(prediction, Labels):
            return judge_several_labels(names_of(row), prediction)
        return judge_one_label(one_name(row), prediction)

    def mistake(self, row: TextRow, prediction: Label | Labels) -> Mistake:
        if isinstance(prediction, Labels):
            return several_labels_mistake(names_of(row), prediction, self.passages(row))
        return one_label_mistake(one_name(row), prediction, self.passages(row))

    def label_judge(self) -> LabelJudge[Self]:
        return (SeveralLabelsJudge if self.multi_label else OneLabelJudge)(self.labels)

    def uncertainty(self, chunk: Chunk[TextRow]) -> Uncertainty:
        x = self.row_logits(*chunk[1:]) / (self.label_temperature or 1.0)
        return uncertain_labels(x, self.thresholds) if self.multi_label else uncertain_label(x)

    def suggestion(self, prediction: Label | Labels) -> Suggestion:
        labels = prediction.labels if isinstance(prediction, Labels) else (prediction.headline,)
        return Suggestion(prediction.headline, names=labels)

    @property
    def labelling(self) -> Labelling:
        return Labelling("choices", self.labels, self.multi_label)

    @classmethod
    def wire_input(cls) -> type[Text]:
        return Text

    def tensors(self) -> tuple[OutputTensor, ...]:
        each = OutputTensor(
            "probabilities",
            "FP32",
            lambda p: list(p.probabilities.values()),
            (len(self.labels),),
        )
        if self.multi_label:
            chosen = lambda p: json.dumps(p.labels, ensure_ascii=False)  # noqa: E731
            return (OutputTensor("labels", "BYTES", chosen), each)
        return (
            OutputTensor("label", "BYTES", lambda p: p.label or ""),
            OutputTensor("probability", "FP32", lambda p: p.probability),
            each,
        )

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Self:
        if known := fields.get("calibration"):
            fields = {**fields, "calibration": Calibration.from_json(known)}
        return cls(**fields)

    def check_values(self) -> None:
        temperature = self.label_temperature
        if temperature is not None and not temperature > 0:
            raise CheckpointError(f"temperature is {temperature}, and must be above 0")
        if isinstance(self.threshold, tuple) and len(self.threshold) != len(self.labels):
            n, labels = len(self.threshold), len(self.labels)
            raise CheckpointError(f"threshold has {n} numbers for {labels} labels")

    @classmethod
    def of_saved(cls, layer: SavedLayer) -> Self | None:
        multi_label = layer.problem_type == "multi_label_classification"
        one_number = len(layer.labels) == 1 and not multi_label
        regresses = layer.problem_type == "regression" or one_number
        if layer.form != "SequenceClassification" or regresses:
            return None
        return cls(labels=layer.labels, max_length=layer.positions, multi_label=multi_label)
