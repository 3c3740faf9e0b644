"""A text with spans marked in it, cut to what matters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from onelayer.evaluation.report.facts import Mark
from onelayer.evaluation.report.markup import Html, clipped, join, tag

ROOM = 600
"""Characters of a text that are shown at most, give or take a word."""
JOINED = "\u2060"
"""A word joiner: no line breaks between a span and its label."""
AROUND = 80
"""Characters shown on both sides of what is marked."""


def excerpt(text: str, marks: Sequence[Mark] = (), room: int = ROOM) -> Html:
    """The text, or its parts around the marks, with "…" for what is left out."""
    shown = _shown(text, marks, room)
    parts: list[str] = []
    end = 0
    for start, stop in shown:
        parts += ["…"] * (start > end)
        parts += _marked(text, marks, start, stop)
        end = stop
    return join([*parts, "…" if end < len(text) else ""])


def _shown(text: str, marks: Sequence[Mark], room: int) -> list[tuple[int, int]]:
    """Which parts of a text are shown. What is wrong comes before what is right, and of a long span
    both ends."""
    if len(text) <= room:
        return [(0, len(text))]
    edges = [
        at
        for mark in sorted(marks, key=lambda m: m.kind == "right")
        for at in (mark.start, mark.end)
    ]
    kept: list[tuple[int, int]] = []
    for at in edges or [0]:
        around = AROUND if edges else room
        part = (_boundary(text, max(0, at - around)), _boundary(text, min(len(text), at + around)))
        merged = _merged([*kept, part])
        if kept and sum(end - start for start, end in merged) > room:
            break
        kept = merged
    return kept


def _boundary(text: str, at: int, near: int = 12) -> int:
    """The nearest space before ``at``, so that no word is cut where words have spaces."""
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


def _marked(text: str, marks: Sequence[Mark], start: int, stop: int) -> Iterator[Html | str]:
    """The characters ``start:stop``, cut wherever a mark begins or ends. Gold is drawn below the
    line, predictions above it, so that the two may overlap in any way."""
    here = [mark for mark in marks if mark.start < stop and start < mark.end]
    cuts = {at for mark in here for at in (mark.start, mark.end) if start < at < stop}
    for a, b in pairwise(sorted({start, stop} | cuts)):
        kinds = {mark.kind for mark in here if mark.start <= a and b <= mark.end}
        piece = text[a:b]
        yield tag("span", piece, class_=" ".join(sorted(kinds))) if kinds else piece
        for mark in sorted(here, key=lambda mark: mark.kind != "predicted"):
            if mark.end == b and mark.label:
                name = "sup" if mark.kind == "predicted" else "sub"
                yield tag(name, JOINED + clipped(mark.label, 30), class_=mark.kind)
