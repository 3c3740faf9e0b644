"""How wrong a prediction is, how sure the model was of it, and how people see both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from onelayer.base.errors import Place
from onelayer.evaluation.report.facts import Mark, Mistake, Passage
from onelayer.tasks import AnswerTask, AnyTask, Tag
from onelayer.tasks.answer.answer import Answer, AnswerRow
from onelayer.tasks.choose.choose import Choice, ChooseRow
from onelayer.tasks.labels import Label, Labels
from onelayer.tasks.regress.regress import Value
from onelayer.tasks.tag.schemes import Scheme
from onelayer.tasks.tag.tag import Tagged, TagRow
from onelayer.tasks.texts import TextRow


@dataclass(frozen=True, slots=True)
class Judged:
    """A prediction beside what the row's gold label says."""

    badness: float
    """0 for all right; only the order of the others means something, and only within a task."""
    beliefs: tuple[tuple[float, bool], ...] = ()
    """The probability of each thing that was said, and whether it was true; empty where the task's
    scorer keeps them itself."""
    confusions: tuple[tuple[str, str], ...] = ()
    """Gold and predicted class, where each item has just one."""


def judge(task: AnyTask, row: Any, prediction: Any) -> Judged:
    """Of a task that isn't known here nothing is said."""
    match prediction:
        case Label():
            right = prediction.label == row.label
            pair = (row.label, prediction.label or "")
            return Judged(0.0 if right else prediction.probability, confusions=(pair,))
        case Labels():
            gold = set(_names(row))
            wrong = gold ^ set(prediction.labels)
            p_of = prediction.probabilities
            badness = max((abs((name in gold) - p_of[name]) for name in wrong), default=0.0)
            return Judged(badness)
        case Value():
            return Judged(abs(prediction.value - row.label))
        case Tagged() if isinstance(task, Tag):
            return _tagged(task, row, prediction)
        case Answer():
            f1 = task.score([row], [prediction])()["f1"] / 100
            belief = (prediction.score, bool(f1 == 1.0))
            return Judged((1 - f1) * prediction.score, (belief,))
        case Choice():
            right = prediction.index == row.answer
            p = prediction.probabilities[prediction.index]
            return Judged(0.0 if right else p, ((p, right),))
    return Judged(0.0)


def _tagged(task: Tag, row: TagRow, prediction: Tagged) -> Judged:
    if task.scheme is Scheme.PLAIN:
        pairs = tuple(zip(row.tags or (), prediction.tags, strict=True))
        return Judged(sum(a != b for a, b in pairs), (), pairs)
    gold = task.gold_entities(row)
    beliefs = tuple((e.score, (e.start, e.end, e.label) in gold) for e in prediction.entities)
    found = sum(right for _, right in beliefs)
    n_wrong = len(gold) + len(beliefs) - 2 * found
    # Of sentences with as many errors, the one whose errors were the surest.
    surest = max((p for p, right in beliefs if not right), default=0.0)
    return Judged(n_wrong + surest / 2, beliefs)


def mistake(task: AnyTask, n: int, row: Any, prediction: Any) -> Mistake | None:
    """A wrong prediction for row number ``n`` as a report shows it."""
    match prediction:
        case Label():
            p_gold = prediction.probabilities[row.label]
            remark = f"{prediction.probability:.1%} sure; gold got {p_gold:.1%}"
            return Mistake(where(row), n, row.label, prediction.label or "", remark, _passages(row))
        case Labels():
            return _several(n, row, prediction)
        case Value():
            off = prediction.value - row.label
            remark = f"off by {off:+.4g}"
            number = f"{prediction.value:.4g}"
            return Mistake(where(row), n, f"{row.label:.4g}", number, remark, _passages(row))
        case Tagged() if isinstance(task, Tag):
            marks = _word_marks(row, prediction, task)
            wrong = sum(mark.kind == "gold" for mark in marks)
            remark = f"{wrong} wrong" if task.scheme is Scheme.PLAIN else _missed(marks)
            return Mistake(where(row), n, "", "", remark, (Passage("text", row.text, marks),))
        case Answer() if isinstance(task, AnswerTask):
            return _answer(n, row, prediction)
        case Choice():
            return _choice(n, row, prediction)
    return None


def where(row: Any) -> str:
    """A row's line in its file or, of nested files, its name."""
    place: Place = row.place
    return f"line {place.line:,}" if place.line else str(place.column or "")


def _passages(row: TextRow) -> tuple[Passage, ...]:
    first = Passage("text", row.text)
    return (first,) if row.pair is None else (first, Passage("pair", row.pair))


def _names(row: TextRow) -> tuple[str, ...]:
    return row.label if isinstance(row.label, tuple) else (str(row.label),)


def _several(n: int, row: TextRow, prediction: Labels) -> Mistake:
    gold = _names(row)
    p = prediction.probabilities

    def named(names: Iterable[str]) -> str:
        return ", ".join(f"{name} ({p[name]:.0%})" for name in names) or "none"

    wrong = sorted(set(gold) ^ set(prediction.labels))
    return Mistake(
        where(row), n, named(gold), named(prediction.labels), f"{len(wrong)} wrong", _passages(row)
    )


def _word_marks(row: TagRow, prediction: Tagged, task: Tag) -> tuple[Mark, ...]:
    if task.scheme is not Scheme.PLAIN:
        gold = task.gold_entities(row)
        return _span_marks(gold, {(e.start, e.end, e.label) for e in prediction.entities})
    marks: list[Mark] = []
    for (start, end), wanted, found in zip(
        prediction.words, row.tags or (), prediction.tags, strict=True
    ):
        if wanted != found:
            marks += [Mark(start, end, "gold", wanted), Mark(start, end, "predicted", found)]
    return tuple(marks)


def _span_marks(
    gold: set[tuple[int, int, str]], found: set[tuple[int, int, str]]
) -> tuple[Mark, ...]:
    def kind(span: tuple[int, int, str]) -> Literal["gold", "predicted", "right"]:
        if span in gold and span in found:
            return "right"
        return "gold" if span in gold else "predicted"

    return tuple(
        Mark(start, end, kind((start, end, label)), label)
        for start, end, label in sorted(gold | found)
    )


def _missed(marks: Iterable[Mark]) -> str:
    kinds = [mark.kind for mark in marks]
    return f"{kinds.count('gold')} not found, {kinds.count('predicted')} wrongly found"


def _answer(n: int, row: AnswerRow, prediction: Answer) -> Mistake:
    golds = {(a.start, a.start + len(a.text), "") for a in row.answers or () if a.start is not None}
    found: set[tuple[int, int, str]] = set()
    if prediction.start is not None and prediction.end is not None:
        found = {(prediction.start, prediction.end, "")}
    texts = list(dict.fromkeys(answer.text for answer in row.answers or ()))
    return Mistake(
        where(row),
        n,
        " / ".join(texts) or "no answer",
        prediction.text or "no answer",
        f"{prediction.score:.1%} sure",
        (
            Passage("question", row.question),
            Passage("passage", row.passage, _span_marks(golds, found)),
        ),
    )


def _choice(n: int, row: ChooseRow, prediction: Choice) -> Mistake:
    def kind(i: int) -> Literal["gold", "predicted", ""]:
        return "gold" if i == row.answer else "predicted" if i == prediction.index else ""

    options = tuple(
        (option, p, kind(i))
        for i, (option, p) in enumerate(zip(row.options, prediction.probabilities, strict=True))
    )
    passages = [Passage("context", row.context)]
    if row.question:
        passages.append(Passage("question", row.question))
    sure = prediction.probabilities[prediction.index]
    return Mistake(where(row), n, "", "", f"{sure:.1%} sure", tuple(passages), options)
