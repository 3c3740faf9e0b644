"""Questions with their passages, and what a model answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from onelayer.base.errors import Place
from onelayer.base.text_offsets import OffsetUnit, TextOffsets
from onelayer.tasks.answer.gold_answers import GoldAnswer
from onelayer.tasks.predictions import BasePrediction


@dataclass(frozen=True, kw_only=True)
class Question:
    """A question, and the passage that may answer it."""

    question: str
    context: str


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """``answers`` is empty where the passage has none, None where that isn't known."""

    id: str
    question: str
    passage: str
    answers: tuple[GoldAnswer, ...] | None
    place: Place
    title: str = ""
    """Of the document that the passage is part of, where the file has one."""
    repairs: tuple[str, ...] = ()
    """What was put right in the gold answers, in words."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """``text`` is the characters ``start:end`` of the passage, counted in code points unless
    another unit was asked for."""

    text: str
    start: int
    end: int
    score: float


@dataclass(frozen=True, slots=True)
class Answer(BasePrediction):
    """The best span, or ``text == ""`` with no ``start`` and ``end`` for "no answer".

    Scores are probabilities among ``candidates`` and "no answer". ``margin`` is by how much, in
    logits, "no answer" beats the best span; above the task's threshold there is no answer.
    ``offsets`` is the unit in which starts and ends are counted; without it they are code points.
    """

    id: str
    text: str
    start: int | None
    end: int | None
    score: float
    no_answer_score: float
    margin: float
    candidates: tuple[Candidate, ...]
    offsets: OffsetUnit | None = None

    json_schema: ClassVar[Mapping[str, Any]] = {
        "margin": {"anyOf": [{"type": "number"}, {"type": "null"}]}
    }

    @property
    def headline(self) -> str:
        return self.text

    def in_unit(self, unit: OffsetUnit, passage: str) -> Answer:
        """The same prediction with its code points of the passage counted in another unit."""
        offsets = TextOffsets(passage, unit)
        candidates = tuple(
            replace(one, start=offsets.of(one.start), end=offsets.of(one.end))
            for one in self.candidates
        )
        start = None if self.start is None else offsets.of(self.start)
        end = None if self.end is None else offsets.of(self.end)
        return replace(self, start=start, end=end, candidates=candidates, offsets=unit)


def answer_doubt(answer: Answer) -> float:
    """How unsure an answer is, from 0 to 1: the probability of "no answer", where that isn't the
    answer, and of all candidates that don't overlap with it."""
    start, end = answer.start, answer.end
    if start is None or end is None:
        return 1.0 - answer.no_answer_score
    same = sum(one.score for one in answer.candidates if one.start < end and start < one.end)
    return min(max(1.0 - same, 0.0), 1.0)
