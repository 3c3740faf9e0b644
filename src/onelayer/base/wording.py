"""How names, texts and places are written in messages and lists of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypedDict

from onelayer.base.errors import Place

Say = Callable[[str], None]
"""Receives remarks, each a line of text."""

NONE = "–"
"""Printed for no label, no entity or no answer."""


def silent(remark: str) -> None:
    """Ignores a remark."""


def listed(names: Sequence[str], shown: int = 8) -> str:
    """The first names, with an ellipsis if there are more."""
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")


def in_words(parts: Iterable[str]) -> str:
    """The parts of one label, or ``NONE``."""
    return "; ".join(parts) or NONE


def clipped(text: str, width: int = 160) -> str:
    """A text as one line of at most ``width`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


class RowPlace(TypedDict, total=False):
    """Where a row is in its file, as keyword arguments of a record."""

    line: int | None
    id: int | str | None


def where(place: Place) -> RowPlace:
    """A row's line, or its id in formats without lines."""
    return {"line": place.line} if place.line is not None else {"id": place.column}
