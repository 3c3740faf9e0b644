"""Rows in JSON: an object per line, an array of objects, or objects one after another."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from onelayer.base.errors import DataError, Place
from onelayer.data.formats.lines import head_lines, text_lines, whole_text
from onelayer.data.table import Record, Table, refuse_wide
from onelayer.data.written import written_value

JSON_LINES = {".jsonl", ".ndjson"}
"""Suffixes of files with an object a line."""
HEAD_OBJECTS = 100
"""Objects whose keys become the columns."""

_SPACE = re.compile(r"[ \t\r\n]*")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_DECODER = json.JSONDecoder()
_DIGITS = "a number of thousands of digits"  # CPython reads at most 4,300
HEAVY = 100 << 20
"""Bytes that the lists and objects of a small document may take in memory."""


def read_json_lines(path: str) -> Table:
    """Reads one JSON object per line, as a stream."""

    def records() -> Iterator[Record]:
        for number, line in enumerate(text_lines(path), 1):
            if not line.isspace():
                yield row_record(decode_line(path, line, number), path, number)

    return Table(path, "jsonl", first_columns(path, records), records)


def read_json_document(path: str) -> Table:
    """Reads an array of objects, or objects one after another. The whole document is in memory."""

    def records() -> Iterator[Record]:
        for value, line in json_items(path):
            yield row_record(value, path, line)

    return Table(path, "json", first_columns(path, records), records)


def line_value(path: str) -> Any:
    """The JSON value in the first line that isn't blank; None if it isn't one complete value.

    A file named .jsonl has lines of bounded length; any other may be one long line, so only its
    head is read."""
    named = Path(path).suffix.lower() in JSON_LINES
    for line in text_lines(path) if named else head_lines(path):
        if not line.isspace():
            try:
                return json.loads(line)
            except (ValueError, RecursionError):
                return _python_object(line)
    return None


def _python_object(line: str) -> dict[str, Any] | None:
    """The object in a line as Python prints it, ``{'text': 'fine'}``; None for any other line."""
    value = written_value(line) if line.lstrip().startswith("{") else None
    return value if isinstance(value, dict) else None


def is_row(value: Any) -> bool:
    """Whether a line's value is a row by itself: an object, or a text with an object about it. Any
    other array is a document of rows."""
    kinds = [type(part) for part in value] if isinstance(value, list) else []
    return isinstance(value, dict) or kinds == [str, dict]


def json_values(path: str) -> Iterator[tuple[Any, int]]:
    """The rows of a file, one a line or all in one document, with their lines."""
    if not is_row(line_value(path)):
        yield from json_items(path)
        return
    for number, line in enumerate(text_lines(path), 1):
        if not line.isspace():
            yield decode_line(path, line, number), number


def json_items(path: str) -> Iterator[tuple[Any, int]]:
    """The items of a top-level array, or the values that follow one another, with their lines."""
    text = whole_text(path)
    _refuse_heavy(path, text)
    position = _skip_space(text, 0)
    inside = text.startswith("[", position)
    if inside:
        position = _skip_space(text, position + 1)
        if text.startswith("]", position):
            return
    counted, line = 0, 1
    while position < len(text):
        line += text.count("\n", counted, position)
        counted = position
        value, position = _decode_at(path, text, position, line)
        yield value, line
        position = _skip_space(text, position)
        if inside:
            inside = text.startswith(",", position)
            if not inside:
                _expect_end(path, text, position)
                return
            position = _skip_space(text, position + 1)
    if inside:
        raise _unexpected(path, text, position, "the array is never closed")


def _refuse_heavy(path: str, text: str) -> None:
    """Raises DataError for a document of mostly lists: three bytes, ``[],``, take 64 in memory."""
    weight = 64 * (text.count("[") + text.count("{"))
    if weight > max(HEAVY, 5 * len(text)):
        raise DataError(
            f"lists and objects that would take {weight >> 20:,} MB of memory and hold little text",
            place=Place(path),
            hint="write a JSON object a line, in a file named .jsonl",
        )


def _expect_end(path: str, text: str, position: int) -> None:
    if not text.startswith("]", position):
        raise _unexpected(path, text, position, "',' or ']' expected")
    position = _skip_space(text, position + 1)
    if position < len(text):
        raise _unexpected(path, text, position, "something follows the end of the array")


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match is not None  # the pattern matches the empty string
    return match.end()


def _decode_at(path: str, text: str, position: int, line: int) -> tuple[Any, int]:
    try:
        value, end = _DECODER.raw_decode(text, position)
    except json.JSONDecodeError as error:
        raise _unexpected(path, text, error.pos, error.msg) from None
    except RecursionError:
        raise _unexpected(path, text, position, "nested too deeply") from None
    except ValueError:
        raise _unexpected(path, text, position, _DIGITS) from None
    _check_surrogates(value, text[position:end], Place(path, line))
    return value, end


def decode_line(path: str, line: str, number: int) -> Any:
    """The JSON value of a line. Raises DataError, which names line and column."""
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        if (found := _python_object(line)) is not None:
            return found
        raise _not_json(error.msg, Place(path, number, error.colno)) from None
    except RecursionError:
        raise _not_json("nested too deeply", Place(path, number)) from None
    except ValueError:
        raise _not_json(_DIGITS, Place(path, number)) from None
    _check_surrogates(value, line, Place(path, number))
    return value


def _unexpected(path: str, text: str, position: int, reason: str) -> DataError:
    line = text.count("\n", 0, position) + 1
    return _not_json(reason, Place(path, line, position - text.rfind("\n", 0, position)))


def _not_json(reason: str, place: Place) -> DataError:
    hint = "write each object on a line of its own, or all in one array"
    return DataError(f"not valid JSON: {reason[:1].lower()}{reason[1:]}", place=place, hint=hint)


def _check_surrogates(value: Any, source: str, place: Place) -> None:
    """Raises DataError for half a character (``\\ud83d``), which UTF-8 can't hold."""
    if not _SURROGATE.search(source):
        return
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        raise DataError(
            f"half a character: {half} is one part of a surrogate pair",
            place=place,
            hint="an emoji that was cut in two? remove it or write U+FFFD",
        ) from None


def row_record(value: Any, path: str, line: int) -> Record:
    """An object as a record. Raises DataError for any other value."""
    if not isinstance(value, dict):
        raise DataError(
            f"a JSON object expected, found {_KINDS[type(value)]}",
            place=Place(path, line),
            hint='write rows as {"text": ..., "label": ...}',
        )
    return Record(value, line)


_KINDS = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def first_columns(path: str, records: Callable[[], Iterator[Record]]) -> tuple[str, ...]:
    """All keys of the first records, in order of appearance.

    Raises
    ------
    DataError
        If there are no records, or they have no keys.
    """
    head = islice(records(), HEAD_OBJECTS)
    columns = tuple(dict.fromkeys(key for record in head for key in record.values))
    if not columns:
        raise DataError("no rows", place=Place(path), hint="is it the right file?")
    refuse_wide(len(columns), Place(path))
    return columns
