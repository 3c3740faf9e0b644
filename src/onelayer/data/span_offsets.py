"""How a file counts the offsets of its spans, by the evidence of all of them."""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from itertools import accumulate, pairwise

from onelayer.base.text_offsets import unit_widths

SPANS_KEPT = 500
"""Spans of each kind, clean ones and others, by which readings are compared. With more, rarer
deviations decide."""
FEWEST_WITHOUT_TEXT = 5
"""Spans that must speak for a reading where no span has a text of its own to compare."""


class CountedUnit(StrEnum):
    """What offsets count; the values are used in remarks."""

    CHARACTERS = "characters"
    UTF16 = "UTF-16 units"
    UTF8 = "UTF-8 bytes"
    CRLF = "characters, with two for each line end"
    LF = "characters, without the \\r of line ends"
    NFD = "characters of the text in NFD"
    NFC = "characters of the text in NFC"


@dataclass(frozen=True, slots=True, order=True)
class WrittenSpan:
    """A span as a file writes it, with its own text where the file has that."""

    start: int
    end: int
    label: str
    mention: str | None = None


@dataclass(frozen=True, slots=True)
class Offsets:
    """A way to count offsets. The default is Python's: characters from 0, without the end."""

    unit: CountedUnit = CountedUnit.CHARACTERS
    first: int = 0
    """The number of the first character."""
    inclusive: bool = False
    """Whether the end is the number of the last character."""

    def place(self, text: str, start: int, end: int) -> tuple[int, int] | None:
        """The characters ``start:end`` of a text; None where the span is empty, leaves the text or
        divides a character."""
        start, end = start - self.first, end - self.first + self.inclusive
        if self.unit is not CountedUnit.CHARACTERS:
            bounds = _bounds(text, self.unit)
            at = [bisect_right(bounds, offset) - 1 for offset in (start, end)]
            if start < 0 or [bounds[i] for i in at] != [start, end]:
                return None
            start, end = at
        return (start, end) if 0 <= start < end <= len(text) else None

    def matches(self, text: str, span: WrittenSpan) -> bool:
        """Whether the span's own text stands at its place."""
        at = self.place(text, span.start, span.end)
        return at is not None and same_text(text[slice(*at)], span.mention or "")

    def __str__(self) -> str:
        return f"{self.unit} from {self.first}, the end {'' if self.inclusive else 'not '}included"


READINGS = [
    Offsets(unit, first, inclusive)
    for first, inclusive in ((0, False), (0, True), (1, True), (1, False))
    for unit in CountedUnit
]
"""Of readings that explain a file equally well, the first one is taken."""


@lru_cache(maxsize=8)
def _bounds(text: str, unit: CountedUnit) -> list[int]:
    """The offset of each character of a text, and that of its end."""
    return list(accumulate(_widths(text, unit), initial=0))


def _widths(text: str, unit: CountedUnit) -> Iterable[int]:
    match unit:
        case CountedUnit.UTF16:
            return unit_widths(text, "utf16")
        case CountedUnit.UTF8:
            return unit_widths(text, "utf8")
        case CountedUnit.CRLF:
            pairs = pairwise(" " + text)
            return (1 + (here == "\n" and before != "\r") for before, here in pairs)
        case CountedUnit.LF:
            pairs = pairwise(text + " ")
            return (int((here, after) != ("\r", "\n")) for here, after in pairs)
        case CountedUnit.NFD:
            return (len(unicodedata.normalize("NFD", character)) for character in text)
        case CountedUnit.NFC:
            return _composed_widths(text)
    return [1] * len(text)


def _composed_widths(text: str) -> Iterable[int]:
    """A character with its combining marks is as wide as it is when composed; the marks are 0."""
    starts = [i for i, character in enumerate(text) if not unicodedata.combining(character)]
    for start, end in pairwise(sorted({0, *starts, len(text)})):
        yield len(unicodedata.normalize("NFC", text[start:end]))
        yield from [0] * (end - start - 1)


def same_text(one: str, other: str) -> bool:
    """Whether two texts only differ in white space, case and composition: tools print the
    texts of spans."""
    return one == other or _bare(one) == _bare(other) != ""


def _bare(text: str) -> str:
    words = text.replace("\\n", " ").split()  # some tools write a line end as two characters
    return unicodedata.normalize("NFC", "".join(words)).casefold()


@dataclass(slots=True)
class OffsetEvidence:
    """The spans of a file, and what they tell of its offsets."""

    seen: int = 0
    with_text: int = 0
    """Spans with texts of their own."""
    unclean: int = 0
    """Spans without, that by the default begin or end inside a word."""
    _right: list[tuple[str, WrittenSpan]] = field(default_factory=list)
    _wrong: list[tuple[str, WrittenSpan]] = field(default_factory=list)

    def see(self, text: str, spans: Iterable[WrittenSpan]) -> None:
        """Adds the spans of a text."""
        for span in spans:
            self.seen += 1
            self.with_text += span.mention is not None
            right = _DEFAULT.matches(text, span) if span.mention else _is_clean(text, span)
            if not span.mention and (at := _DEFAULT.place(text, span.start, span.end)):
                self.unclean += any(_cuts_word(text, i) for i in at)
            kept = self._right if right else self._wrong
            if len(kept) < SPANS_KEPT:
                kept.append((text, span))

    def reading(self) -> Offsets:
        """The reading by which most spans' own texts are at their places. Without such texts, the
        one by which spans don't cut words, if they do by the default."""
        if not self._wrong:
            return _DEFAULT
        spans = self._right + self._wrong
        if not self.with_text:
            return _by_words(spans)
        checked = [(text, span) for text, span in spans if span.mention]
        counts = [sum(one.matches(*span) for span in checked) for one in READINGS]
        best = max(counts)
        return READINGS[counts.index(best)] if 2 * best > len(checked) else _DEFAULT


_DEFAULT = Offsets()


def _by_words(spans: Sequence[tuple[str, WrittenSpan]]) -> Offsets:
    """Only spans that a reading places elsewhere tell anything of it: nine tenths of them have to
    be whole words there, and three tenths at most by the default."""
    clean = [_is_clean(*span) for span in spans]
    best, found = 0, _DEFAULT
    for reading in READINGS[1:]:
        moved = [
            (_is_clean(text, span, reading), before)
            for (text, span), before in zip(spans, clean, strict=True)
            if reading.place(text, span.start, span.end)
            != _DEFAULT.place(text, span.start, span.end)
        ]
        now, before = (sum(column) for column in zip(*moved, strict=True)) if moved else (0, 0)
        enough = len(moved) >= FEWEST_WITHOUT_TEXT and 10 * now >= 9 * len(moved)
        if enough and 10 * before <= 3 * len(moved) and now - before > best:
            best, found = now - before, reading
    return found


def _is_clean(text: str, span: WrittenSpan, reading: Offsets = _DEFAULT) -> bool:
    """Whether a span begins and ends with a word, as far as the script tells."""
    at = reading.place(text, span.start, span.end)
    if at is None or text[at[0]].isspace() or text[at[1] - 1].isspace():
        return False
    return not any(_cuts_word(text, i) for i in at)


def _cuts_word(text: str, at: int) -> bool:
    around = text[max(at - 1, 0) : at + 1] if at else ""
    return len(around) == 2 and all(map(_in_word, around))


def _in_word(character: str) -> bool:
    """Whether it is a letter or digit of a script that puts spaces between words."""
    return character.isalnum() and not "\u0e00" <= character <= "\u0eff" and character < "\u2e80"
