"""Gold entities given as character spans of a text, in the shapes that files have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from onelayer.base.errors import DataError, Place
from onelayer.data.span_offsets import Offsets, WrittenSpan
from onelayer.data.values import in_role, label_name, whole_number

# In lower case and without ``_``. The first name that an entity has is taken.
_LABELS = (
    *("label", "labels", "type", "entity", "entitytype", "entitygroup", "tag"),
    *("category", "class"),
)
_STARTS = ("start", "startoffset", "begin", "beginoffset", "startchar", "offset")
_ENDS = ("end", "endoffset", "endchar")
_LENGTH = "length"
_MENTIONS = ("text", "mention", "surface", "word")
_CORRECT_IT = "correct its place, or leave such rows out with --skip-bad"
_INCLUSIVE = Offsets(inclusive=True)

TRIMMED = "white space at the edge of an entity is left out"
MERGED = "an entity that stands there twice is taken once"


@dataclass(frozen=True, slots=True, order=True)
class Gold:
    """Characters ``start:end`` of the text are a ``label``."""

    start: int
    end: int
    label: str


def spans_of(
    value: object, text: str, place: Place, offsets: Offsets
) -> tuple[tuple[Gold, ...], tuple[str, ...]]:
    """Spans in order, and what was put right in them.

    Reads the shapes of ``written_spans``. Raises DataError for spans that are outside the text,
    of white space only, overlapping, or elsewhere than their own texts."""
    place = in_role(place, "label")
    written = list(written_spans(value, place))
    if isinstance(value, dict):
        offsets = _INCLUSIVE
    placed = [_placed(span, text, place, offsets) for span in written]
    spans = [_trimmed(span, text) for span in placed]
    distinct = sorted(set(spans))
    repairs = [TRIMMED] * (spans != placed) + [MERGED] * (len(distinct) < len(spans))
    for one, next_one in pairwise(distinct):
        if next_one.start < one.end:
            raise DataError(
                f"overlapping spans: {text[one.start : one.end]!r} {one.label} and "
                f"{text[next_one.start : next_one.end]!r} {next_one.label}",
                place=place,
                hint="a word gets one tag: keep one of them, or leave such rows out with "
                "--skip-bad",
            )
    return tuple(distinct), tuple(repairs)


def _placed(span: WrittenSpan, text: str, place: Place, offsets: Offsets) -> Gold:
    at = offsets.place(text, span.start, span.end)
    name = f"span {span.start}:{span.end} {span.label!r}"
    if at is None:
        raise DataError(
            f"{name} is outside the text of {len(text)} characters",
            place=place,
            hint=_CORRECT_IT,
        )
    found = text[slice(*at)]
    if span.mention and not offsets.matches(text, span):
        raise DataError(
            f"{name} is {found!r:.60} in the text, and {span.mention!r:.60} by its own text",
            place=place,
            hint=_CORRECT_IT,
        )
    if found.isspace():
        raise DataError(f"{name} is white space", place=place, hint=_CORRECT_IT)
    return Gold(*at, span.label)


def _trimmed(span: Gold, text: str) -> Gold:
    found = text[span.start : span.end]
    start = span.start + len(found) - len(found.lstrip())
    return Gold(start, start + len(found.strip()), span.label)


def are_spans(value: object) -> bool:
    """Whether a value has one of the shapes that ``written_spans`` reads."""
    if isinstance(value, dict):
        return bool(value) and all(isinstance(mentions, dict) for mentions in value.values())
    return isinstance(value, (list, tuple)) and bool(value) and all(map(_is_item, value))


def _is_item(item: object) -> bool:
    if isinstance(item, dict):
        fields = _fields(item)
        placed = "points" in fields or any(key in fields for key in _STARTS)
        return placed and any(key in fields for key in _LABELS)
    if not isinstance(item, (list, tuple)) or len(item) != 3:
        return False
    *numbers, label = sorted(item, key=lambda part: whole_number(part) is None)
    return isinstance(label, str) and all(whole_number(part) is not None for part in numbers)


def _fields(item: dict[Any, object]) -> dict[str, object]:
    """An entity's values by names without case and ``_``."""
    return {str(key).replace("_", "").lower(): value for key, value in item.items()}


def written_spans(value: object, place: Place) -> Iterator[WrittenSpan]:
    """The spans of a row as the file has them: ``[{"start", "end", "label"}]``, also by the names
    that doccano, Label Studio, Dataturks, Azure and AWS give them, ``[[start, end, label]]``, or
    CLUENER's ``{label: {mention: [[first, last]]}}``. Raises DataError for anything else."""
    if isinstance(value, dict):
        yield from _from_mentions(value, place)
    elif isinstance(value, (list, tuple)):
        for item in value:
            points = item.get("points") if isinstance(item, dict) else None
            for point in points if isinstance(points, list) else ():
                yield _from_item({**item, **point} if isinstance(point, dict) else point, place)
            if not isinstance(points, list):
                yield _from_item(item, place)
    else:
        hint = "write an empty list where a text has none"
        raise DataError("no list of entities", place=place, hint=hint)


def _from_mentions(value: dict[object, object], place: Place) -> Iterator[WrittenSpan]:
    for label, mentions in value.items():
        if not isinstance(mentions, dict):
            hint = 'write them as {"label": {"mention": [[first, last]]}}'
            raise DataError(f"{label!r} has no mentions", place=place, hint=hint)
        for mention, positions in mentions.items():
            for first, last in _ranges(positions, place):
                yield WrittenSpan(first, last, _label(label, place), str(mention))


def _ranges(positions: object, place: Place) -> Iterator[tuple[int, int]]:
    for position in positions if isinstance(positions, list) else [positions]:
        if not isinstance(position, list) or [type(part) for part in position] != [int, int]:
            hint = "write [[first, last]], counted from 0"
            raise DataError(
                f"{position!r:.60} is no first and last character", place=place, hint=hint
            )
        yield position[0], position[1]


def _from_item(item: object, place: Place) -> WrittenSpan:
    label = start = end = mention = None
    if isinstance(item, dict):
        fields = _fields(item)
        label, start, end, mention = (
            next((fields[key] for key in keys if key in fields), None)
            for keys in (_LABELS, _STARTS, _ENDS, _MENTIONS)
        )
        first, length = whole_number(start), whole_number(fields.get(_LENGTH))
        if end is None and first is not None and length is not None:
            end = first + length
    elif isinstance(item, (list, tuple)) and len(item) == 3:
        start, end, label = item
        if whole_number(start) is None:
            label, start, end = item
    if isinstance(start, str) and ";" in start:
        hint = "a word gets one tag: keep one part, or leave such rows out with --skip-bad"
        raise DataError(f"an entity in several parts: {start} {label!r}", place=place, hint=hint)
    begin, until = whole_number(start), whole_number(end)
    if begin is None or until is None:
        hint = 'write {"start": 0, "end": 4, "label": "PER"}, in characters counted from 0'
        raise DataError(f"no start, end and label: {item!r:.60}", place=place, hint=hint)
    own = mention if isinstance(mention, str) and mention.strip() else None
    return WrittenSpan(begin, until, _label(label, place), own)


def _label(value: object, place: Place) -> str:
    """A span's label, which Label Studio puts in a list. Raises DataError for none or several."""
    one = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(one, list) and one:
        hint = "keep one of them, or leave such rows out with --skip-bad"
        raise DataError(f"a span with {len(one)} labels: {one!r:.60}", place=place, hint=hint)
    if (isinstance(one, str) and one.strip()) or type(one) is int:
        return label_name(one)
    hint = "name it, or leave such rows out with --skip-bad"
    raise DataError(f"a span without a label: {value!r:.60}", place=place, hint=hint)


def words_under(span: Gold, words: Sequence[tuple[int, int]]) -> tuple[str, int, int] | None:
    """The words that a span covers, wholly or in part, as (label, first, last + 1); None where it
    covers no word."""
    covered = [i for i, (start, end) in enumerate(words) if start < span.end and span.start < end]
    return (span.label, covered[0], covered[-1] + 1) if covered else None
