"""Gold answers given as parts of a passage, in the shapes that files have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from onelayer.base.errors import DataError, Place
from onelayer.data.values import whole_number
from onelayer.data.written import written_value
from onelayer.tasks.answer.answer_places import Misplaced, check_place, find_place

Given = tuple[object, object]
"""An answer's text and its place, as the file has them; None where there is no place."""

SHAPE = 'write answers as {"text": ..., "answer_start": ...}'


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """``start`` is None for an annotator's wording that the passage doesn't have: it is scored
    against and not learned from."""

    text: str
    start: int | None


@dataclass(frozen=True, slots=True)
class GoldAnswers:
    """A question's answers, and what was put right in them."""

    answers: tuple[GoldAnswer, ...]
    repairs: tuple[str, ...] = ()


def answers_of(values: Mapping[str, Any], passage: str, place: Place) -> GoldAnswers:
    """Gold answers in SQuAD's shapes, or texts to be found in the passage. Raises DataError for
    those that contradict the passage or ``is_impossible``."""
    given, impossible = values.get("label"), values.get("impossible")
    says_none = str(impossible).strip().lower() in ("true", "1", "1.0")
    if given is None or given != given:
        if says_none:
            return GoldAnswers(())
        raise DataError("no answers", place=place, hint="an empty list says that there are none")
    items = _items(given, values.get("start"), passage, place)
    texts = [_text(text, place) for text, _ in items]
    if not any(texts):
        return _without_answer(bool(items), impossible, says_none)
    if says_none:
        raise DataError(
            f"is_impossible is true, and the answer is {_short(next(filter(None, texts)))!r}",
            place=place,
            hint="remove the answers or set is_impossible to false; --skip-bad leaves such out",
        )
    starts = [_start(start, place) for _, start in items]
    return _placed(list(zip(texts, starts, strict=True)), passage, place)


def _without_answer(listed: bool, impossible: object, says_none: bool) -> GoldAnswers:
    if listed:
        return GoldAnswers((), ("the answer is an empty text: read as no answer",))
    if impossible is None or says_none or impossible == "":
        return GoldAnswers(())
    return GoldAnswers((), ("is_impossible is false and there is no answer: read as no answer",))


def _placed(items: list[tuple[str, int | None]], passage: str, place: Place) -> GoldAnswers:
    golds: list[GoldAnswer] = []
    repairs: dict[str, None] = {}
    missing: list[str] = []
    for text, start in items:
        bare = text.strip()
        placed = start is not None and start >= 0 and passage.startswith(text, start)
        if placed and bare == text != "":
            golds.append(GoldAnswer(text, start))  # as it should be
            continue
        if not bare:
            raise DataError(f"an answer needs a text: {text!r:.60}", place=place, hint=SHAPE)
        if bare != text:
            repairs["white space around the answer removed"] = None
        if start is None:
            found = find_place(bare, passage)
        else:
            leading = len(text) - len(text.lstrip())
            at = start + leading if passage.startswith(text, start) else start
            found = check_place(bare, at, passage)
        if not isinstance(found, Misplaced):
            golds.append(GoldAnswer(passage[found.start : found.end], found.start))
            repairs.update(dict.fromkeys(found.repairs))
        elif start is None:
            golds.append(GoldAnswer(bare, None))
            missing.append(f"answer {_short(bare)!r} is {found.reason}")
        else:
            hint = "correct answer_start, or leave such questions out with --skip-bad"
            raise DataError(f"answer {_short(bare)!r} is {found.reason}", place=place, hint=hint)
    if len(missing) == len(golds):
        hint = "an answer is a part of the passage, to the letter; --skip-bad leaves others out"
        raise DataError(missing[0], place=place, hint=hint)
    if missing:
        repairs["an answer that the passage doesn't have: only scored against"] = None
    if _are_apart(golds):
        repairs["the answers differ and are at different places: each of them is learned"] = None
    return GoldAnswers(tuple(golds), tuple(repairs))


def _are_apart(golds: list[GoldAnswer]) -> bool:
    """Whether two answers differ in their words and share no character of the passage."""
    spans = sorted((gold.start, gold.text) for gold in golds if gold.start is not None)
    return any(
        a + len(text) <= b and text.casefold() != other.casefold()
        for (a, text), (b, other) in pairwise(spans)
    )


# Shapes ------------------------------------------------------------------------------------------


def _items(value: Any, start: Any, passage: str, place: Place) -> list[Given]:
    """The answers of a field: a text, an object, a list of them, or the Hub's object of lists."""
    if isinstance(value, str):
        inside = None if value in passage else written_value(value)
        if inside is not None:
            return _items(inside, start, passage, place)
        return [(value, start)] if value else []
    if isinstance(value, Mapping):
        text, at = value.get("text"), value.get("answer_start", value.get("start"))
        return _parallel(text, at, place) if isinstance(text, (list, tuple)) else [(text, at)]
    if isinstance(value, (list, tuple)):
        if any(isinstance(item, Mapping) for item in value):
            return [
                pair
                for item in value
                for pair in (
                    _items(item, None, passage, place)
                    if isinstance(item, Mapping)
                    else [(item, None)]
                )
            ]
        return _parallel(value, start, place)
    return [(value, start)]


def _parallel(texts: Any, starts: Any, place: Place) -> list[Given]:
    """Texts with their places, which may be a list of the same length."""
    if isinstance(starts, str) and (written := written_value(starts)) is not None:
        starts = written
    if not isinstance(starts, (list, tuple)):
        starts = [starts] * len(texts) if starts is None or len(texts) == 1 else [starts]
    if not starts:
        starts = [None] * len(texts)
    if len(starts) != len(texts):
        message = f"{len(texts)} answers and {len(starts)} places"
        raise DataError(message, place=place, hint="give each text its answer_start")
    return list(zip(texts, starts, strict=True))


def _text(value: object, place: Place) -> str:
    """An answer's text; a number is read as the text that writes it."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:
        whole = whole_number(value)
        return str(value if whole is None else whole)
    if not isinstance(value, str):
        raise DataError(f"an answer needs a text: {value!r:.60}", place=place, hint=SHAPE)
    return value


def _start(value: object, place: Place) -> int | None:
    """An answer's place; None where it is unknown, which CMRC writes as -1."""
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, str) and (written := written_value(value)) is not None:
        return _start(written, place)
    if value is None or value == "" or value != value:
        return None
    start = whole_number(value)
    if start is None:
        hint = "a character's position in the passage, counted from 0"
        raise DataError(f"answer_start is no whole number: {value!r:.40}", place=place, hint=hint)
    return None if start == -1 else start


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
