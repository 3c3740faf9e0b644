"""Finds the place of a gold answer in its passage, also where the two are written differently."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from onelayer.base.text_offsets import OffsetUnit, TextOffsets

OFF_BY = 2
"""Characters by which a given place may be wrong. SQuAD has answers that are one or two off."""
WORD_SEEN = 64
"""Characters of a word or number that are looked at on each side of an answer."""

_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")
_DASHES_AND_QUOTES = str.maketrans("‘’‚‛′´`“”„‟″«»‐‑‒–—―−", "'''''''" + '"' * 7 + "-" * 7)
_UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff"
    "\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff]"
)
"""Letters of scripts that don't separate words by spaces, or, as Korean, append particles."""
_NUMBER = re.compile(r"[0-9]{1,3}(?:[.,][0-9]{3})+(?:[.,][0-9]+)?|[0-9]+[.,][0-9]+")

_CLUSTER = re.compile(r"[!-~]+(?![^\x00-\x7f])|[!-~]?[^\x00-\x7f]+|[\x00-\x7f]")

_STEPS: dict[str, Callable[[str], str]] = {
    "white space": lambda text: " ".join(_INVISIBLE.sub("", text).split()),
    "quotes and dashes": lambda text: text.translate(_DASHES_AND_QUOTES),
    "Unicode forms": lambda text: unicodedata.normalize("NFKD", text),
    "case": str.casefold,
}
"""The differences in writing that are put right, and what makes both sides alike."""


@dataclass(frozen=True, slots=True)
class Placed:
    """An answer's place ``start:end`` in the passage, and what was put right to find it."""

    start: int
    end: int
    repairs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Misplaced:
    """Why an answer has no place, to be put behind ``answer 'x' is``."""

    reason: str


def find_place(text: str, passage: str) -> Placed | Misplaced:
    """The place of an answer of unknown position: the first whole words or numbers that are equal,
    else those that are equal but for white space, Unicode form, quotes and case, else the first
    or last half of a word. A number is never found inside a longer one."""
    inside: list[tuple[int, int]] = []
    for level in (_equal(text, passage), _alike(text, passage)):  # the second one is slower
        spans = list(islice(level, 1000))
        inside += spans
        for least in (2, 1):  # a unit may stand right behind a number: 5km
            whole = [span for span in spans if _separation(passage, *span) >= least]
            if whole:
                several = ("the answer occurs several times: the first place is used",)
                repairs = _differences(text, passage, *whole[0])
                return Placed(*whole[0], repairs + several * (len(whole) > 1))
    for start, end in inside:
        first, last = _word_around(passage, start, end)
        at_its_edge = start == first or end == last
        half = at_its_edge and 2 * (end - start) >= last - first
        if half and not _in_number(passage, start, end):
            repairs = _differences(text, passage, start, end)
            return Placed(start, end, (*repairs, "the answer is a part of a word"))
    if inside:
        first, last = _word_around(passage, *inside[0])
        return Misplaced(f"in the passage only as a part of {passage[first:last]!r}")
    return Misplaced("nowhere in the passage")


def check_place(text: str, start: int, passage: str) -> Placed | Misplaced:
    """The place of an answer that a file puts at a character. It is believed where the passage has
    the answer there, or has it written differently, or one or two characters further; or where
    the file counts UTF-16 units or bytes."""
    if start >= 0 and passage.startswith(text, start):
        return Placed(start, start + len(text))
    counted = {
        "answer_start counted in UTF-16 units": _code_point(passage, start, "utf16"),
        "answer_start counted in bytes": _code_point(passage, start, "utf8"),
    }
    for how, at in counted.items():
        if at is not None and passage.startswith(text, at):
            return Placed(at, at + len(text), (how,))
    for shift in (-1, 1, -2, 2):
        at = start + shift
        if at >= 0 and passage.startswith(text, at) and _separation(passage, at, at + len(text)):
            repair = f"answer_start is off by up to {OFF_BY} characters"
            return Placed(at, at + len(text), (repair,))
    expected = {start, *(at for at in counted.values() if at is not None)}
    alike = list(_alike(text, passage))
    for first, last in alike:
        near = any(abs(first - at) <= OFF_BY for at in expected)
        if near and passage[first:last] != text:
            return Placed(first, last, _differences(text, passage, first, last))
    found = passage.find(text)
    found = found if found >= 0 or not alike else alike[0][0]
    elsewhere = f"it is at {found}" if found >= 0 else "nor anywhere in it"
    return Misplaced(f"not at character {start} of the passage, {elsewhere}")


# Equal but for the writing -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Folded:
    """A text without the differences that are put right. Of each of its characters, the characters
    ``starts[i]:ends[i]`` of the original are the source."""

    text: str
    starts: list[int]
    ends: list[int]


def _equal(text: str, passage: str) -> Iterator[tuple[int, int]]:
    start = passage.find(text)
    while start >= 0:
        yield start, start + len(text)
        start = passage.find(text, start + 1)


def _alike(text: str, passage: str) -> Iterator[tuple[int, int]]:
    """Where the passage has the text, whatever the white space, Unicode form, quotes and case."""
    wanted = _fold(text).text.strip()
    if not wanted:
        return
    there = _fold_passage(passage)
    at = there.text.find(wanted)
    while at >= 0:
        last = at + len(wanted) - 1
        begins = at == 0 or there.starts[at - 1] != there.starts[at]
        if begins and (last + 1 == len(there.text) or there.starts[last + 1] != there.starts[last]):
            yield there.starts[at], there.ends[last]
        at = there.text.find(wanted, at + 1)


def _fold(text: str) -> _Folded:
    folded: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for start, end in _clusters(text):
        part = _fold_cluster(text[start:end])
        if folded and (not part or part == folded[-1] == " "):
            ends[-1] = end if part else ends[-1]
        elif end - start > 1 and text[start:end].isascii():  # a run: each character for itself
            folded.extend(part)
            starts.extend(range(start, end))
            ends.extend(range(start + 1, end + 1))
        else:
            folded.extend(part)
            starts.extend([start] * len(part))
            ends.extend([end] * len(part))
    return _Folded("".join(folded), starts, ends)


_fold_passage = lru_cache(maxsize=4)(_fold)
"""The questions about a passage stand together in most files."""


@lru_cache(maxsize=1 << 14)
def _fold_cluster(part: str) -> str:
    for step in _STEPS.values():
        part = " " if part.isspace() else step(part)
    return part


def _clusters(text: str) -> Iterator[tuple[int, int]]:
    """Runs of visible ASCII, and each other character with the marks that combine with it: their
    order is a matter of the form."""
    for match in _CLUSTER.finditer(text):
        start, end = match.span()
        if match[0].isascii():
            yield start, end
            continue
        for i in range(start + 1, end):
            if not unicodedata.combining(text[i]):
                yield start, i
                start = i
        yield start, end


def _differences(text: str, passage: str, start: int, end: int) -> tuple[str, ...]:
    """Which differences in writing there are between an answer and its place, in words."""

    needed = set(_STEPS)

    def alike_with(names: set[str]) -> bool:
        a, b = text, passage[start:end]
        for name, step in _STEPS.items():
            if name in names:
                a, b = step(a), step(b)
        return a == b

    for name in reversed(_STEPS):
        if alike_with(needed - {name}):
            needed.remove(name)
    names = " and ".join(name for name in _STEPS if name in needed)
    return (f"{names} of the answer taken from the passage",) if needed else ()


# Words and numbers -------------------------------------------------------------------------------


def _separation(passage: str, start: int, end: int) -> int:
    """How well a span is separated from what is around it: 2 for whole words and numbers, 1 for a
    number next to a letter, 0 for a part of a word or number."""
    return min(_border(passage, start), _border(passage, end))


def _border(passage: str, at: int) -> int:
    """How well the characters before and after a position are separated: 2, 1 or 0."""
    if at <= 0 or at >= len(passage):
        return 2
    before, after = passage[at - 1], passage[at]
    if unicodedata.combining(after):
        return 0
    if _in_number(passage, at, at):
        return 0
    if not (_in_word(before) and _in_word(after)):
        return 2
    if before.isdigit() != after.isdigit():
        return 2 if _UNSPACED.match(before) or _UNSPACED.match(after) else 1
    return 2 if _UNSPACED.match(before) or _UNSPACED.match(after) else 0


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_" or bool(unicodedata.combining(character))


def _in_number(passage: str, start: int, end: int) -> bool:
    """Whether one end of a span is inside a number, such as 1730, 3.14 or 1,000."""
    return any(_cuts_number(passage, at) for at in {start, end} if 0 < at < len(passage))


def _cuts_number(passage: str, at: int) -> bool:
    before, after = passage[at - 1], passage[at]
    if before.isdigit() and after.isdigit():
        return True
    if not (before.isdigit() or after.isdigit()) or not {before, after} & {".", ","}:
        return False
    first = max(0, at - WORD_SEEN)
    numbers = re.finditer(r"[0-9][0-9.,]*[0-9]", passage[first : at + WORD_SEEN])
    return any(
        first + match.start() < at < first + match.end() and _NUMBER.fullmatch(match[0])
        for match in numbers
    )


def _word_around(passage: str, start: int, end: int) -> tuple[int, int]:
    """The word or number that a span is a part of."""
    least, most = max(0, start - WORD_SEEN), min(len(passage), end + WORD_SEEN)
    while start > least and _border(passage, start) < 2:
        start -= 1
    while end < most and _border(passage, end) < 2:
        end += 1
    return start, end


# Other units than code points --------------------------------------------------------------------


def _code_point(passage: str, position: int, unit: OffsetUnit) -> int | None:
    """The code point at a position that counts another unit; None if none begins there."""
    try:
        return TextOffsets(passage, unit).code_point(position)
    except ValueError:
        return None
