"""Gold entities given as character spans of a text, in the shapes that files have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from onelayer.base.errors import DataError, Place
from onelayer.data.values import in_role

_LABELS = ("label", "type", "entity", "tag")
_STARTS = ("start", "start_offset", "begin")
_ENDS = ("end", "end_offset")
_CORRECT_IT = "correct its place, or leave such rows out with --skip-bad"


@dataclass(frozen=True, slots=True, order=True)
class Gold:
    """Characters ``start:end`` of the text are a ``label``."""

    start: int
    end: int
    label: str


def spans_of(value: object, text: str, place: Place) -> tuple[Gold, ...]:
    """Spans in order. Reads ``[{"start", "end", "label"}]``, ``[[start, end, label]]`` and
    CLUENER's ``{label: {mention: [[start, last]]}}``. Raises DataError for spans outside the text
    or overlapping each other."""
    place = in_role(place, "label")
    if isinstance(value, dict):
        spans = sorted(_from_mentions(value, text, place))
    elif isinstance(value, (list, tuple)):
        spans = sorted(_from_item(item, place) for item in value)
    else:
        hint = "write an empty list where a text has none"
        raise DataError("no list of entities", place=place, hint=hint)
    for span in spans:
        if not 0 <= span.start < span.end <= len(text):
            raise DataError(
                f"span {span.start}:{span.end} {span.label!r} is outside the text of "
                f"{len(text)} characters",
                place=place,
                hint=_CORRECT_IT,
            )
    for one, next_one in pairwise(spans):
        if next_one.start < one.end:
            raise DataError(
                f"overlapping spans: {text[one.start : one.end]!r} {one.label} and "
                f"{text[next_one.start : next_one.end]!r} {next_one.label}",
                place=place,
                hint="keep one of them, or leave such rows out with --skip-bad",
            )
    return tuple(spans)


def are_spans(value: object) -> bool:
    """Whether a value has one of the shapes that ``spans_of`` reads."""
    if isinstance(value, dict):
        return bool(value) and all(isinstance(mentions, dict) for mentions in value.values())
    return isinstance(value, (list, tuple)) and bool(value) and all(map(_is_item, value))


def _is_item(item: object) -> bool:
    if isinstance(item, dict):
        return any(key in item for key in _STARTS) and any(key in item for key in _LABELS)
    return isinstance(item, (list, tuple)) and [type(part) for part in item] == [int, int, str]


def _from_mentions(value: dict[object, object], text: str, place: Place) -> Iterator[Gold]:
    for label, mentions in value.items():
        if not isinstance(mentions, dict):
            hint = 'write them as {"label": {"mention": [[first, last]]}}'
            raise DataError(f"{label!r} has no mentions", place=place, hint=hint)
        for mention, positions in mentions.items():
            for first, last in _ranges(positions, place):
                if text[first : last + 1] != mention:
                    raise DataError(
                        f"{mention!r} is not at characters {first} to {last}",
                        place=place,
                        hint=_CORRECT_IT,
                    )
                yield Gold(first, last + 1, str(label))


def _ranges(positions: object, place: Place) -> Iterator[tuple[int, int]]:
    for position in positions if isinstance(positions, list) else [positions]:
        if not isinstance(position, list) or [type(part) for part in position] != [int, int]:
            hint = "write [[first, last]], counted from 0"
            raise DataError(
                f"{position!r:.60} is no first and last character", place=place, hint=hint
            )
        yield position[0], position[1]


def _from_item(item: object, place: Place) -> Gold:
    if isinstance(item, dict):
        label, start, end = (
            next((item[key] for key in keys if key in item), None)
            for keys in (_LABELS, _STARTS, _ENDS)
        )
    elif isinstance(item, (list, tuple)) and len(item) == 3:
        start, end, label = item
    else:
        start = end = label = None
    if not (isinstance(start, int) and isinstance(end, int) and isinstance(label, str)):
        hint = 'write {"start": 0, "end": 4, "label": "PER"}, in characters counted from 0'
        raise DataError(f"no start, end and label: {item!r:.60}", place=place, hint=hint)
    return Gold(start, end, label)


def words_under(span: Gold, words: Sequence[tuple[int, int]]) -> tuple[str, int, int] | None:
    """The words that a span covers, wholly or in part, as (label, first, last + 1); None where it
    covers no word."""
    covered = [i for i, (start, end) in enumerate(words) if start < span.end and span.start < end]
    return (span.label, covered[0], covered[-1] + 1) if covered else None
