"""The rows of a csv or tsv as lists of cells: which delimiter, quotes and comments a file has."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from onelayer.base.errors import DataError, Place, UsageError
from onelayer.data.formats.lines import (
    HEAD_CHARACTERS,
    HEAD_LINES,
    LONGEST,
    head_lines,
    text_lines,
)

HEAD_ROWS = 200
DELIMITERS = ",;\t|"
NONE = "\x1f"
"""The delimiter of a file with one column, whose texts may have commas."""
NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "space": " "}
"""Delimiters in words: a shell hardly lets a tab through."""

_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)
_QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*"')

NumberedCells = tuple[int, list[str]]
"""A row: the line on which it begins, and its fields."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a file's lines are cut into cells."""

    delimiter: str
    quotes: bool
    """Whether quotes around a field are markup, or text."""
    spaces: bool = False
    """Whether a space after a delimiter is markup."""
    skip: int = 0
    """The lines above the table: comments, and the ``sep=`` that Excel reads."""

    @property
    def format(self) -> str:
        return "tsv" if self.delimiter == "\t" else "csv"

    @property
    def remarks(self) -> list[str]:
        """What a user wouldn't expect."""
        found = []
        if self.delimiter not in (",", "\t", NONE):
            found.append(f"fields are parted by {self.delimiter!r}")
        if self.delimiter == NONE:
            found.append("one column: its commas are text")
        if self.skip:
            lines = "a line" if self.skip == 1 else f"{self.skip} lines"
            found.append(f"{lines} above the table left out")
        return found


def find_dialect(path: str, prefer: str, delimiter: str | None = None) -> Dialect:
    """A file's dialect, by its first rows.

    Parameters
    ----------
    path
        The file.
    prefer
        The delimiter that the file's name suggests.
    delimiter
        The delimiter that the user named: a character, or one of ``NAMES``.

    Raises
    ------
    UsageError
        For a named delimiter of several characters.
    """
    lines = head_lines(path)
    announced = _SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    skip = int(announced is not None)
    given = _named(delimiter) if delimiter else announced and announced[1]
    comments = _comments(lines[skip:])
    found = _best(path, prefer, given, skip + comments)
    if comments and not _are_comments(lines[skip : skip + comments], path, found):
        found = _best(path, prefer, given, skip)
    quotes = found.delimiter != "\t" or _quotes_are_markup(path, found.skip)
    return replace(found, quotes=quotes)


def cell_rows(path: str, dialect: Dialect) -> Iterator[NumberedCells]:
    """Rows with their lines; empty lines aren't rows. Raises DataError where a quoted field never
    ends, or in the middle of a text."""
    try:
        yield from _parsed(text_lines(path), dialect)
    except _BrokenRowError as error:
        raise _broken_row(path, error.begin, error.end, dialect.delimiter, str(error)) from None


class _BrokenRowError(Exception):
    """What the csv module says of a row that it can't read, from line ``begin`` to ``end``."""

    def __init__(self, reason: str, begin: int, end: int) -> None:
        super().__init__(reason)
        self.begin, self.end = begin, end


def _parsed(lines: Iterator[str], dialect: Dialect) -> Iterator[NumberedCells]:
    """As `cell_rows`, for the lines of a file. Raises _BrokenRowError."""
    return (_quoted_rows if dialect.quotes else _literal_rows)(lines, dialect)


def _literal_rows(lines: Iterator[str], dialect: Dialect) -> Iterator[NumberedCells]:
    for number, line in enumerate(islice(lines, dialect.skip, None), 1 + dialect.skip):
        text = line.rstrip("\r\n")
        if text:
            yield number, text.split(dialect.delimiter)


def _quoted_rows(lines: Iterator[str], dialect: Dialect) -> Iterator[NumberedCells]:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
    reader = csv.reader(
        islice(lines, dialect.skip, None),
        delimiter=dialect.delimiter,
        skipinitialspace=dialect.spaces,
        strict=True,
    )
    begin = 1 + dialect.skip
    try:
        for fields in reader:
            if fields:
                yield begin, fields
            begin = reader.line_num + 1 + dialect.skip
    except csv.Error as error:
        end = reader.line_num + dialect.skip
        raise _BrokenRowError(str(error), begin, end) from None


def _broken_row(path: str, begin: int, end: int, delimiter: str, reason: str) -> DataError:
    """The error for a row that csv can't read, with the place where the quote opens. The csv module
    only reports the line where it gave up."""
    if "new-line" in reason:
        return DataError(
            "a carriage return inside a field",
            place=Place(path, end),
            hint="put the field between double quotes, or end lines with a line feed",
        )
    text = "".join(islice(text_lines(path), begin - 1, end))
    mark = re.escape(delimiter)
    well_formed = re.compile(rf'(?:"[^"]*(?:""[^"]*)*"|(?!")[^{mark}\r\n]*)(?:{mark}|\r?\n)')
    opening = 0
    while match := well_formed.match(text, opening):
        opening = match.end()
    line = begin + text.count("\n", 0, opening)
    is_open = "unexpected end" in reason or "limit" in reason
    closing = "is never closed" if is_open else f"closes on line {end} in the middle of the text"
    return DataError(
        f"a quote opens here and {closing}",
        place=Place(path, line, opening - text.rfind("\n", 0, opening)),
        hint='inside a quoted field write "" for each quote',
    )


# Dialect ---------------------------------------------------------------------------------------


def _named(delimiter: str) -> str:
    mark = NAMES.get(delimiter.lower(), delimiter)
    if len(mark) != 1 or mark in '"\r\n':
        names = ", ".join(name for name in NAMES if name.isalpha())
        raise UsageError(
            f"--delimiter must be one character, not {delimiter!r}", hint=f"or one of {names}"
        )
    return mark


def _best(path: str, prefer: str, given: str | None, skip: int) -> Dialect:
    """The dialect that cuts the most rows into the same number of fields."""
    if given:
        return _spaced(path, Dialect(given, given != "\t", skip=skip))
    by_tab = Dialect("\t", False, skip=skip)
    if prefer == "\t" and _consistency(_widths(path, by_tab)) > 0.5:
        return by_tab  # every text may have a comma, but hardly ever a tab
    marks = sorted(DELIMITERS, key=lambda mark: mark != prefer)
    dialects = [_spaced(path, Dialect(mark, mark != "\t", skip=skip)) for mark in marks]
    best = max(dialects, key=lambda one: _consistency(_widths(path, one)))
    if prefer == "," and _is_one_column(_widths(path, best)):
        return Dialect(NONE, quotes=True, skip=skip)
    return best


def _spaced(path: str, dialect: Dialect) -> Dialect:
    """The dialect, with spaces after delimiters as markup where a quote follows them, or where each
    field begins with one."""
    spaced = replace(dialect, spaces=True)
    if dialect.delimiter.isspace():
        return dialect
    mark = re.compile(re.escape(dialect.delimiter) + ' +"')
    if any(mark.search(line) for line in islice(head_lines(path), HEAD_ROWS)):
        readable = _consistency(_widths(path, spaced, whole=True))
        return spaced if readable > _consistency(_widths(path, dialect)) - 0.01 else dialect
    rows = _head(path, dialect)
    after = [field for _, fields in rows for field in fields[1:]]
    return spaced if len(rows) > 1 and after and all(f[:1] == " " for f in after) else dialect


def _consistency(widths: list[int]) -> float:
    width, count = Counter(widths).most_common(1)[0] if widths else (1, 0)
    return count / len(widths) if width > 1 else 0.0


def _is_one_column(widths: list[int]) -> bool:
    """Whether the first line has no delimiter, and the others have as many as texts happen to."""
    usual = Counter(widths[1:]).most_common(1)
    if not usual or widths[0] > 1 or set(widths) == {1}:
        return False
    return usual[0][0] == 1 or usual[0][1] < 0.9 * len(widths[1:])


def _head(
    path: str, dialect: Dialect, *, whole: bool = False, n: int = HEAD_ROWS
) -> list[NumberedCells]:
    """The first rows, as far as they can be read; with ``whole`` none if one can't."""
    rows: list[NumberedCells] = []
    lines = _HeadLines(text_lines(path))
    try:
        for row in islice(_parsed(lines, dialect), n):
            rows.append(row)
            lines.room = HEAD_CHARACTERS
    except (_BrokenRowError, _LongRowError, DataError):
        return [] if whole else rows
    return rows


class _LongRowError(Exception):
    """A row has more than ``HEAD_CHARACTERS`` characters."""


class _HeadLines:
    """Lines, in which no row may be long: a quote that is never closed would be looked for to its
    end in each dialect."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self.room = HEAD_CHARACTERS
        """Characters that the current row may still have."""

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = next(self._lines)
        self.room -= len(line)
        if self.room < 0:
            raise _LongRowError
        return line


def _widths(path: str, dialect: Dialect, *, whole: bool = False) -> list[int]:
    """The numbers of fields of the first rows."""
    return [len(fields) for _, fields in _head(path, dialect, whole=whole)]


def _comments(lines: Sequence[str]) -> int:
    """How many of the first lines may be comments: they begin with ``#``, or are blank between
    such lines."""
    found = 0
    for number, line in enumerate(lines, 1):
        if line.startswith("#"):
            found = number
        elif line.strip():
            return found
    return 0  # all lines begin with a hash: texts


def _are_comments(lines: Sequence[str], path: str, dialect: Dialect) -> bool:
    """Whether lines that begin with ``#`` have another number of fields than the rows below:
    ``#text,label`` is a header."""
    width = Counter(_widths(path, dialect)).most_common(1)[0][0]
    cells = [line.split(dialect.delimiter) for line in lines if line.startswith("#")]
    return width > 1 and all(len(cell) != width for cell in cells)


def _quotes_are_markup(path: str, skip: int) -> bool:
    """Whether a tsv's quotes are markup, as csv libraries such as pandas write them, or text, as in
    GLUE's files.

    If all lines have the same number of tabs, quotes are markup when every field that begins with
    one is properly quoted *and* either one of them needs its quotes or a whole column is quoted.
    If the numbers differ, fields may hold tabs or line breaks: then quotes are markup when reading
    them as markup makes all rows equally long.
    """
    lines = [line.rstrip("\r\n") for line in head_lines(path)[skip:]]
    rows = [line.split("\t") for line in lines if line]
    if len({len(row) for row in rows}) > 1:
        return len(set(_quoted_widths(path, skip))) == 1
    quoted = [field for row in rows for field in row if field.startswith('"')]
    if not all(_QUOTED.fullmatch(field) for field in quoted):
        return False
    if any('""' in field[1:-1] for field in quoted):
        return True
    return any(all(field.startswith('"') for field in column) for column in zip(*rows, strict=True))


def _quoted_widths(path: str, skip: int) -> list[int]:
    rows = _head(path, Dialect("\t", quotes=True, skip=skip), whole=True, n=HEAD_LINES)
    return [len(fields) for _, fields in rows]
