"""Gold answers given as parts of a passage, in the shapes that files have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onelayer.base.errors import DataError, Place
from onelayer.data.values import is_number


@dataclass(frozen=True, slots=True)
class GoldAnswer:
    """``start`` is None for an annotator's wording that the passage doesn't have: it is scored
    against and not learned from."""

    text: str
    start: int | None


def answers_of(values: Mapping[str, Any], passage: str, place: Place) -> tuple[GoldAnswer, ...]:
    """Gold answers in SQuAD's shapes, or a text to be found in the passage."""
    value = values.get("label")
    if value is None:
        raise DataError("no answers", place=place, hint="an empty list says that there are none")
    if isinstance(value, str):
        value = [{"text": value, "answer_start": values.get("start")}] if value else []
    if isinstance(value, dict) and isinstance(value.get("text"), list):
        starts = value.get("answer_start") or value.get("start") or [None] * len(value["text"])
        value = [
            {"text": text, "answer_start": start}
            for text, start in zip(value["text"], starts, strict=False)
        ]
    items = value if isinstance(value, (list, tuple)) else [value]
    golds = tuple(_gold(item, passage, place) for item in items)
    if golds and all(gold.start is None for gold in golds):
        raise DataError(
            f"answer {_short(golds[0].text)!r} is nowhere in the passage",
            place=place,
            hint="an answer is a part of the passage, to the letter; --skip-bad leaves others out",
        )
    return golds


def _gold(item: object, passage: str, place: Place) -> GoldAnswer:
    """An answer at its place. Without one, or at CMRC's -1, it is looked for."""
    text = item if isinstance(item, str) else item.get("text") if isinstance(item, dict) else None
    if not isinstance(text, str) or not text:
        hint = 'write answers as {"text": ..., "answer_start": ...}'
        raise DataError(f"an answer needs a text: {item!r:.60}", place=place, hint=hint)
    given = item.get("answer_start", item.get("start")) if isinstance(item, dict) else None
    start = int(given) if isinstance(given, str) and is_number(given) else given
    found = passage.find(text)
    if start in (None, -1):
        return GoldAnswer(text, found if found >= 0 else None)
    if isinstance(start, int) and start >= 0 and passage.startswith(text, start):
        return GoldAnswer(text, start)
    raise DataError(
        f"answer {_short(text)!r} is not at character {given} of the passage, "
        + (f"it is at {found}" if found >= 0 else "nor anywhere in it"),
        place=place,
        hint="correct answer_start, or leave such questions out with --skip-bad",
    )


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
