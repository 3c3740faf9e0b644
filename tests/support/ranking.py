"""A sixth task, as written outside of onelayer: how well a passage answers a query."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np

from onelayer import metrics
from onelayer.base.errors import DataError, Place
from onelayer.data.column_rules import ColumnRules
from onelayer.data.values import in_role, text_of
from onelayer.recipe import Recipe
from onelayer.tasks import Task
from onelayer.tasks.label_judges import LabelJudge, Suspect
from onelayer.tasks.logits import Logits
from onelayer.tasks.mistakes import Judged
from onelayer.tasks.predictions import BasePrediction, OutputTensor
from onelayer.tasks.protocol import Chunk
from onelayer.tokens.encodings import Cut, Encodings
from onelayer.tokens.pieces import join_texts, truncate_longest
from onelayer.tokens.tokenizer import Tokenizer


class RankColumns(ColumnRules):
    inputs = ("query", "passage")


@dataclass(frozen=True, slots=True)
class RankRow:
    """``grade`` is how well the passage answers the query; None where that isn't known."""

    query: str
    passage: str
    grade: float | None
    place: Place


@dataclass(frozen=True, slots=True)
class Ranked(BasePrediction):
    """How well a passage answers a query."""

    relevance: float

    @property
    def headline(self) -> float:
        return round(self.relevance, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rank(Task[RankRow, Ranked]):
    """``[CLS] query [SEP] passage [SEP]``; one number is read at ``[CLS]``."""

    name = "rank"
    columns = RankColumns()
    aim = "says how well a passage answers a query"
    example = '[("a query", "a passage")]'
    pipeline_tag = "text-ranking"
    predicts_number = True

    max_length: int

    @property
    def head(self) -> str:
        return "value"

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("relevance",)

    @property
    def metric(self) -> str:
        return "spearman"

    @property
    def summary(self) -> str:
        return f"a grade for each passage; {self.max_length} tokens"

    @classmethod
    def row(cls, values: Mapping[str, Any], place: Place, labelled: bool) -> RankRow:
        query, passage = text_of(values, "query", place), text_of(values, "passage", place)
        if not labelled:
            return RankRow(query, passage, None, place)
        try:
            return RankRow(query, passage, float(values["label"]), place)
        except (KeyError, TypeError, ValueError):
            raise DataError("the grade is no number", place=in_role(place, "label")) from None

    @classmethod
    def texts(cls, row: RankRow) -> tuple[str, ...]:
        return row.query, row.passage

    @classmethod
    def group(cls, row: RankRow) -> str:
        return row.query

    @classmethod
    def gold_text(cls, row: RankRow) -> str:
        return f"{row.grade:g}"

    @classmethod
    def gold_key(cls, row: RankRow) -> Hashable:
        return row.grade

    @classmethod
    def fit(cls, rows: Iterable[RankRow], tokenizer: Tokenizer, recipe: Recipe, limit: int) -> Self:
        if not any(True for _ in rows):
            raise DataError("no rows to learn from")
        return cls(max_length=recipe.max_length or limit)

    def encode(self, rows: Sequence[RankRow], tokenizer: Tokenizer, labelled: bool) -> Encodings:
        queries = tokenizer.pieces([row.query for row in rows])
        passages = tokenizer.pieces([row.passage for row in rows])
        a, b = truncate_longest(queries.lengths, passages.lengths, self.max_length - 3)
        paired = np.ones(len(rows), np.bool_)
        encodings = join_texts(queries.part(0, a), passages.part(0, b), paired, tokenizer.template)
        whole = queries.lengths + passages.lengths
        encodings = replace(encodings, cut=Cut.of(whole - a - b, whole))
        return replace(encodings, targets=_grades(rows, np.float32)) if labelled else encodings

    def decode(self, rows: Sequence[RankRow], encodings: Encodings, logits: Logits) -> list[Ranked]:
        return [Ranked(float(relevance)) for relevance in logits[:, 0]]

    def score(self, rows: Iterable[RankRow], predictions: Iterable[Ranked]) -> metrics.Scorer:
        relevance = np.fromiter((one.relevance for one in predictions), np.float64)
        return metrics.Regression(_grades(rows, np.float64), relevance)

    def judge(self, row: RankRow, prediction: Ranked) -> Judged:
        return Judged(_error(row, prediction))

    def label_judge(self) -> LabelJudge[Self]:
        return FarFromGrade()

    def tensors(self) -> tuple[OutputTensor, ...]:
        return (OutputTensor("relevance", "FP32", lambda one: one.relevance),)


class FarFromGrade:
    """Reports grades that are much farther from their prediction than the others."""

    def __init__(self) -> None:
        self.unjudged = 0
        self.numbers, self.errors = array("q"), array("d")

    def see(self, model: Rank, numbers: metrics.Ints, chunk: Chunk[RankRow]) -> None:
        self.numbers.extend(numbers.tolist())
        self.errors.extend(map(_error, chunk[0], model.decode(*chunk)))

    def suspects(self) -> list[Suspect]:
        far, _ = metrics.outliers(np.array(self.errors))
        return [
            Suspect(self.numbers[i], -self.errors[i], "another grade")
            for i in np.flatnonzero(far).tolist()
        ]


def _grades(rows: Iterable[RankRow], kind: type[np.floating]) -> Any:
    return np.fromiter((row.grade for row in rows), kind)


def _error(row: RankRow, prediction: Ranked) -> float:
    assert row.grade is not None, "only labelled rows are judged"
    return abs(prediction.relevance - row.grade)
