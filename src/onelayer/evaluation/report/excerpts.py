"""Shortens a text to the parts around its marked spans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from onelayer.tasks.mistakes import Mark

MAX_CHARACTERS = 600
"""Of a text that are shown, plus or minus a word."""
CONTEXT = 80
"""Characters shown on both sides of a mark's start and end."""


class Piece(NamedTuple):
    """Characters that all have the same marks."""

    text: str
    kinds: tuple[str, ...] = ()
    """The kinds of the marks that cover it."""
    named: tuple[Mark, ...] = ()
    """The marks with a label that end with it."""


def excerpt(text: str, marks: Sequence[Mark] = (), room: int = MAX_CHARACTERS) -> list[Piece]:
    """The text, or its parts around the marks, with "…" for what is omitted."""
    pieces: list[Piece] = []
    end = 0
    for start, stop in _shown(text, marks, room):
        pieces += [Piece("…")] * (start > end)
        pieces += _marked(text, marks, start, stop)
        end = stop
    return [*pieces, Piece("…")] if end < len(text) else pieces


def _shown(text: str, marks: Sequence[Mark], room: int) -> list[tuple[int, int]]:
    """The parts of a text to show, as (start, end). Mistakes come before correct spans; of a long
    span both ends are shown."""
    if len(text) <= room:
        return [(0, len(text))]
    edges = [
        at
        for mark in sorted(marks, key=lambda m: m.kind == "right")
        for at in (mark.start, mark.end)
    ]
    kept: list[tuple[int, int]] = []
    for at in edges or [0]:
        around = CONTEXT if edges else room
        part = (_boundary(text, max(0, at - around)), _boundary(text, min(len(text), at + around)))
        merged = _merged([*kept, part])
        if kept and sum(end - start for start, end in merged) > room:
            break
        kept = merged
    return kept


def _boundary(text: str, at: int, near: int = 12) -> int:
    """The start of the word at ``at``, so that no word is cut in languages with spaces."""
    if at in (0, len(text)):
        return at
    space = text.rfind(" ", max(0, at - near), at)
    return space + 1 if space >= 0 else at


def _merged(parts: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(parts):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _marked(text: str, marks: Sequence[Mark], start: int, stop: int) -> Iterator[Piece]:
    """The characters ``start:stop``, split wherever a mark starts or ends: marks may overlap."""
    here = [mark for mark in marks if mark.start < stop and start < mark.end]
    cuts = {at for mark in here for at in (mark.start, mark.end) if start < at < stop}
    for a, b in pairwise(sorted({start, stop} | cuts)):
        kinds = {mark.kind for mark in here if mark.start <= a and b <= mark.end}
        ending = [mark for mark in here if mark.end == b and mark.label]
        ending.sort(key=lambda mark: mark.kind != "predicted")
        yield Piece(text[a:b], tuple(sorted(kinds)), tuple(ending))
