"""Shortens a text to the sentences around its marked spans."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from onelayer.tasks.mistakes import Mark

MAX_CHARACTERS = 600
"""Of a text that are shown, plus or minus a word."""
MAX_WHOLE = 100
"""A marked text of this many characters is shown whole; of a longer one, sentences."""
MAX_SENTENCE = 240
"""Of a longer sentence, only the characters near its marks are shown."""
CONTEXT = 80
"""Characters shown on both sides of the edges of a mark in a long sentence."""
MIN_OMITTED = 20
"""Fewer characters between two parts are shown, not omitted."""

# The end of a sentence: in scripts without spaces the next one follows at once. Short words with
# a capital (Mr., St., J.) are abbreviations more often than the end.
_END = re.compile(
    r"(?<!\b[A-Z])(?<!\b[A-Z][a-z])(?<!\b[A-Z][a-z][a-z])[.!?…]+[\"')\]”’»]*\s+(?![a-z])"
    r"|[。！？；]+[”’」』）》]*\s*|\n\s*"
)


class Piece(NamedTuple):
    """Characters that all have the same marks."""

    text: str
    kinds: tuple[str, ...] = ()
    """The kinds of the marks that cover it."""
    over: tuple[Mark, ...] = ()
    """The predicted marks whose label stands over it."""
    under: tuple[Mark, ...] = ()
    """The other marks whose label stands under it."""


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What is shown of a text."""

    pieces: tuple[Piece, ...]
    is_whole: bool


def excerpt(text: str, marks: Sequence[Mark] = (), room: int = MAX_CHARACTERS) -> Excerpt:
    """The text, or its sentences around the marks, with "…" for what is omitted."""
    pieces: list[Piece] = []
    end = 0
    shown = _shown(text, marks, room)
    for start, stop in shown:
        if start > end:
            pieces.append(Piece("… " if text[start - 1].isspace() else "…"))
        pieces += _marked(text, marks, start, stop)
        end = stop
    pieces += [Piece("…")] * (end < len(text))
    return Excerpt(tuple(pieces), shown == [(0, len(text))])


def in_full(text: str, marks: Sequence[Mark]) -> Excerpt:
    """The whole text."""
    return Excerpt(tuple(_marked(text, marks, 0, len(text))), is_whole=True)


def _shown(text: str, marks: Sequence[Mark], room: int) -> list[tuple[int, int]]:
    """The parts of a text to show, as (start, end). Mistakes come before correct spans; of a long
    span both ends are shown."""
    if len(text) <= (min(MAX_WHOLE, room) if marks else room):
        return [(0, len(text))]
    if not marks:
        return [(0, _boundary(text, room))]
    bounds = [0, *(found.end() for found in _END.finditer(text)), len(text)]
    kept: list[tuple[int, int]] = []
    ordered = sorted(marks, key=lambda m: m.kind == "right")
    for at in (at for mark in ordered for at in (mark.start, max(mark.start, mark.end - 1))):
        merged = _merged([*kept, _around(text, bounds, at)])
        if kept and sum(end - start for start, end in merged) > room:
            break
        kept = merged
    return _merged([(0, 0), *kept, (len(text), len(text))])


def _around(text: str, bounds: Sequence[int], at: int) -> tuple[int, int]:
    """The sentence of the character ``at``, or the part of a long sentence near it. ``bounds`` are
    the starts of all sentences and the end of the text."""
    after = bisect_right(bounds, at, hi=len(bounds) - 1)
    start, end = bounds[after - 1], bounds[after]
    if end - start > MAX_SENTENCE:
        start = _boundary(text, max(start, at - CONTEXT))
        end = _boundary(text, min(end, at + 1 + CONTEXT))
    return start, end


def _boundary(text: str, at: int, near: int = 12) -> int:
    """The start of the word at ``at``, so that no word is cut in languages with spaces."""
    if at in (0, len(text)):
        return at
    space = text.rfind(" ", max(0, at - near), at)
    return space + 1 if space >= 0 else at


def _merged(parts: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The parts in order, without gaps too short to omit; empty parts are dropped."""
    merged: list[tuple[int, int]] = []
    for start, end in sorted(parts):
        if merged and start < merged[-1][1] + MIN_OMITTED:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return [part for part in merged if part[0] < part[1]]


def _words(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """A part without the spaces at its ends, and these: lines don't break at a label's spaces."""
    inner = text[start:end].strip()
    first = start + text[start:end].index(inner)
    edges = sorted({start, first, first + len(inner), end})
    return list(pairwise(edges))


def _marked(text: str, marks: Sequence[Mark], start: int, stop: int) -> Iterator[Piece]:
    """The characters ``start:stop``, split wherever a mark starts or ends: marks may overlap."""
    here = [mark for mark in marks if max(start, mark.start) < min(stop, mark.end)]
    cuts = {at for mark in here for at in (mark.start, mark.end) if start < at < stop}
    spans = [
        part for span in pairwise(sorted({start, stop} | cuts)) for part in _words(text, *span)
    ]
    labelled: dict[tuple[int, int], list[Mark]] = {}
    for mark in here:
        if mark.label:
            covered = [span for span in spans if mark.start <= span[0] and span[1] <= mark.end]
            widest = max(covered, key=lambda span: span[1] - span[0])
            labelled.setdefault(widest, []).append(mark)
    for a, b in spans:
        kinds = {mark.kind for mark in here if mark.start <= a and b <= mark.end}
        named = labelled.get((a, b), ())
        yield Piece(
            text[a:b],
            tuple(sorted(kinds)),
            over=tuple(mark for mark in named if mark.kind == "predicted"),
            under=tuple(mark for mark in named if mark.kind != "predicted"),
        )
