"""How names, texts and places look in a message, or in a list of rows that a person reads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from onelayer.base.errors import Place

NONE = "–"
"""What stands for no label, no entity and no answer."""


def listed(names: Sequence[str], shown: int = 8) -> str:
    """The first names, and whether there are more."""
    return ", ".join(names[:shown]) + (", …" if len(names) > shown else "")


def in_words(parts: Iterable[str]) -> str:
    """The parts of one label, or the sign for none."""
    return "; ".join(parts) or NONE


def clipped(text: str, width: int = 160) -> str:
    """A text as one line of at most ``width`` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def where(place: Place) -> dict[str, Any]:
    """A row's line, or where lines say nothing, its id."""
    return {"line": place.line} if place.line is not None else {"id": place.column}
