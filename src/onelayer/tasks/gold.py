"""Gold labels in words, for lists of rows that a person looks through."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

from onelayer.base.errors import Place
from onelayer.tasks.answer.answer import AnswerRow
from onelayer.tasks.choose.choose import ChooseRow
from onelayer.tasks.tag.schemes import OUTSIDE
from onelayer.tasks.tag.tag import TagRow

NONE = "–"
"""What stands for no label, no entity and no answer."""


def gold_label(row: Any) -> str:
    """What a labelled row is labelled as."""
    match row:
        case TagRow(tags=None):
            spans = row.spans or ()
            return in_words(f"{row.text[s.start : s.end]} [{s.label}]" for s in spans)
        case TagRow():
            tagged = zip(row.words or (), row.tags or (), strict=True)
            return in_words(f"{row.text[a:b]}/{tag}" for (a, b), tag in tagged if tag != OUTSIDE)
        case AnswerRow():
            return in_words(dict.fromkeys(answer.text for answer in row.answers or ()))
        case ChooseRow():
            return row.options[row.answer] if row.answer is not None else NONE
    match row.label:
        case tuple():
            return in_words(row.label)
        case float():
            return f"{row.label:g}"
    return str(row.label)


def in_words(parts: Iterable[str]) -> str:
    return "; ".join(parts) or NONE


def clipped(text: str, width: int = 160) -> str:
    """One line of at most so many characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def where(place: Place) -> dict[str, Any]:
    """A row's line, or where lines say nothing, its id."""
    return {"line": place.line} if place.line is not None else {"id": place.column}


def gold_of(row: Any) -> Hashable:
    """A row's gold label as something that equals another one which means the same."""
    match row:
        case TagRow():
            return row.tags, row.spans
        case AnswerRow():
            return frozenset(answer.text for answer in row.answers or ())
        case ChooseRow():
            return row.options[row.answer] if row.answer is not None else None
    return frozenset(row.label) if isinstance(row.label, tuple) else row.label
