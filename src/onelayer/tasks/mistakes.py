"""How wrong a prediction is, and what people see of it: plain values that every task can make."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from typing import Literal

LabelledSpan = tuple[int, int, str]
"""Start and end in a text, and a label."""


@dataclass(frozen=True, slots=True)
class Judged:
    """A prediction beside what the row's gold label says."""

    badness: float
    """0 for all right; only the order of the others means something, and only within a task."""
    beliefs: tuple[tuple[float, bool], ...] = ()
    """The probability of each thing that was predicted, and whether it was true; empty where the
    task's scorer keeps them itself."""
    confusions: tuple[tuple[str, str], ...] = ()
    """Gold and predicted class, where each item has just one."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Characters ``start:end``: only in gold, only predicted, or both (``right``)."""

    start: int
    end: int
    kind: Literal["gold", "predicted", "right"]
    label: str = ""


@dataclass(frozen=True, slots=True)
class Passage:
    """A text of a row with what is marked in it."""

    role: str
    text: str
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Mistake:
    """A row that the model got wrong. ``gold`` and ``predicted`` are empty where the marks in the
    passages say it all."""

    gold: str
    predicted: str
    remark: str
    """How wrong, in words."""
    passages: tuple[Passage, ...]
    options: tuple[tuple[str, float, Literal["gold", "predicted", ""]], ...] = ()
    """Text and probability of each option to choose from, and which it was."""


def span_marks(gold: Set[LabelledSpan], found: Set[LabelledSpan]) -> tuple[Mark, ...]:
    """A mark for each span of either, in the order of the text."""

    def kind(span: LabelledSpan) -> Literal["gold", "predicted", "right"]:
        if span in gold and span in found:
            return "right"
        return "gold" if span in gold else "predicted"

    return tuple(
        Mark(start, end, kind((start, end, label)), label)
        for start, end, label in sorted(gold | found)
    )


def missed(marks: Iterable[Mark]) -> str:
    """How many spans are wrong, in words."""
    kinds = [mark.kind for mark in marks]
    return f"{kinds.count('gold')} not found, {kinds.count('predicted')} wrongly found"
