"""Reads JSON documents that hold a whole table: frames as pandas writes them, and objects around a
list of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from onelayer.base.errors import DataError, Place
from onelayer.base.wording import listed
from onelayer.data.formats.header import is_known
from onelayer.data.formats.jsonlines import first_columns, json_values, row_record
from onelayer.data.formats.lines import head_lines
from onelayer.data.table import Record, Table

_ENVELOPES = ("data", "rows", "examples", "records", "items", "samples", "instances", "results")
"""Usual names of the list that holds the rows."""
_SEVERAL_WORDS = 3


@dataclass(frozen=True, slots=True)
class _Frame:
    """One way to write a table as an object."""

    fits: Callable[[Mapping[str, Any]], bool]
    rows: Callable[[Mapping[str, Any]], Iterator[Any]]
    note: Callable[[Mapping[str, Any]], str]


def is_frame(value: Any) -> bool:
    """Whether a JSON value holds a table."""
    return _frame_of(value) is not None


def is_alone(path: str) -> bool:
    """Whether a file holds one object and nothing else. An object of many is a row."""
    first = next((line for line in head_lines(path) if not line.isspace()), "")
    is_array = first.lstrip().startswith("[")
    return not is_array and len(list(islice(json_values(path), 2))) == 1


def read_frames(path: str) -> Table:
    """Reads the rows of a table in an object; a record's line is its row number. Raises DataError
    for an object with several lists of rows."""

    def held() -> tuple[Mapping[str, Any], _Frame]:
        value, _ = next(json_values(path))
        frame = _frame_of(value)
        if frame is None:
            hint = "start again when it is complete"
            raise DataError("the file changed while it was read", place=Place(path), hint=hint)
        return value, frame

    def records() -> Iterator[Record]:
        value, frame = held()
        for number, row in enumerate(frame.rows(value), 1):
            yield row_record(row, path, number)

    value, frame = held()
    _refuse_several(value, path)
    columns, n = first_columns(path, records), sum(1 for _ in frame.rows(value))
    return Table(path, "json", columns, records, note=frame.note(value), last_line=lambda: n)


def _frame_of(value: Any) -> _Frame | None:
    if not isinstance(value, dict) or not value:
        return None
    return next((frame for frame in _FRAMES if frame.fits(value)), None)


# Pandas ----------------------------------------------------------------------------------------


def _is_split(value: Mapping[str, Any]) -> bool:
    names, rows = value.get("columns"), value.get("data")
    return (
        set(value) <= {"columns", "index", "data"}
        and isinstance(names, list)
        and isinstance(rows, list)
        and all(isinstance(row, list) and len(row) == len(names) for row in rows)
    )


def _split_rows(value: Mapping[str, Any]) -> Iterator[Any]:
    for row in value["data"]:
        yield dict(zip(map(str, value["columns"]), row, strict=True))


def _are_objects(value: Mapping[str, Any]) -> bool:
    """Whether all values are objects with the same keys."""
    objects = list(value.values())
    if not all(isinstance(one, dict) and one for one in objects):
        return False
    return all(one.keys() == objects[0].keys() for one in objects)


def _are_numbers(keys: Mapping[str, Any]) -> bool:
    return all(key.isdecimal() for key in keys)


def _is_by_column(value: Mapping[str, Any]) -> bool:
    """``{"text": {"0": ..., "1": ...}, "label": {...}}``, which pandas writes by default."""
    return (
        _are_objects(value) and _are_numbers(next(iter(value.values()))) and not _are_numbers(value)
    )


def _rows_by_column(value: Mapping[str, Any]) -> Iterator[Any]:
    for key in next(iter(value.values())):
        yield {name: column[key] for name, column in value.items()}


def _is_by_index(value: Mapping[str, Any]) -> bool:
    """``{"0": {"text": ..., "label": ...}, "1": {...}}``."""
    return (
        _are_objects(value) and _are_numbers(value) and not _are_numbers(next(iter(value.values())))
    )


def _is_lists(value: Mapping[str, Any]) -> bool:
    """``{"text": [...], "label": [...]}``. The words and tags of one sentence look alike, but no
    word is a text of several words."""
    lists = list(value.values())
    if not all(isinstance(one, list) and len(one) == len(lists[0]) for one in lists):
        return False
    plain = all(not isinstance(item, (list, dict)) for one in lists for item in one)
    return (
        plain and len(lists[0]) > 0 and any(sum(map(_is_text, one)) > len(one) / 2 for one in lists)
    )


def _rows_of_lists(value: Mapping[str, Any]) -> Iterator[Any]:
    for row in zip(*value.values(), strict=True):
        yield dict(zip(value, row, strict=True))


def _is_text(value: Any) -> bool:
    """Whether a value is a text of several words, or of several Chinese characters."""
    if not isinstance(value, str):
        return False
    return len(value.split()) >= _SEVERAL_WORDS or sum(c >= "\u3040" for c in value) > 4


# Envelopes -------------------------------------------------------------------------------------


def _row_lists(value: Mapping[str, Any]) -> list[str]:
    """The names of the lists of objects in an object."""
    return [
        name
        for name, items in value.items()
        if isinstance(items, list) and items and all(isinstance(item, dict) for item in items)
    ]


def _is_envelope(value: Mapping[str, Any]) -> bool:
    """Whether an object holds rows, and isn't one: a row with a list of entities has a text."""
    names = _row_lists(value)
    usual = [name for name in names if name.lower() in _ENVELOPES]
    if len(usual) == 1:
        return True
    has_text = any(
        isinstance(item, str) and (is_known(name) or _is_text(item)) for name, item in value.items()
    )
    return bool(names) and not has_text


def _envelope(value: Mapping[str, Any]) -> str:
    names = _row_lists(value)
    return next((name for name in names if name.lower() in _ENVELOPES), names[0])


def _refuse_several(value: Mapping[str, Any], path: str) -> None:
    names = _row_lists(value)
    usual = [name for name in names if name.lower() in _ENVELOPES]
    if len(names) > 1 and len(usual) != 1:
        raise DataError(
            f"several lists of rows: {listed(names)}",
            place=Place(path),
            hint="save one of them as an array in a file of its own",
        )


_FRAMES = (
    _Frame(_is_split, _split_rows, lambda _: "a pandas frame, split into columns and data"),
    _Frame(_is_by_column, _rows_by_column, lambda _: "a pandas frame, written by column"),
    _Frame(_is_by_index, lambda value: iter(value.values()), lambda _: "a frame, written by row"),
    _Frame(_is_lists, _rows_of_lists, lambda _: "a frame, written as a list for each column"),
    _Frame(
        _is_envelope,
        lambda value: iter(value[_envelope(value)]),
        lambda value: f"the rows are the objects in {_envelope(value)!r}",
    ),
)
