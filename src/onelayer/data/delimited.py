"""Reads csv and tsv as a stream of rows, each with as many fields as the header."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

from onelayer.base.errors import DataError, Place
from onelayer.data.file_format import FileFormat, Sample
from onelayer.data.header import Header, are_classes, find_header, is_known
from onelayer.data.lines import HEAD_LINES, LONGEST, head_lines, text_lines
from onelayer.data.table import Record, Table, refuse_wide

HEAD_ROWS = 200
SUFFIXES = frozenset({".csv", ".tsv"})

NumberedCells = tuple[int, list[str]]
"""A row: the line on which it begins, and its fields."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """A file's delimiter, and whether quotes around a field are markup or text."""

    delimiter: str
    quotes: bool

    @property
    def format(self) -> str:
        return "tsv" if self.delimiter == "\t" else "csv"


def read_delimited(path: str, *, named: Collection[str] = (), prefer: str = ",") -> Table:
    """Reads a csv or tsv file.

    Parameters
    ----------
    path
        The file.
    named
        Columns that the user asked for; a first row that has one of them is a header.
    prefer
        The delimiter that the file's name suggests.

    Raises
    ------
    DataError
        For a header without rows and for repeated columns; while the table is iterated, for rows
        of another length and for quotes that are never closed.
    """
    dialect = _dialect(path, prefer)
    head = list(islice(_rows(path, dialect), HEAD_ROWS + 1))
    line, first = head[0]
    refuse_wide(len(first), Place(path, line))
    below = [fields for _, fields in head[1:]]
    header = find_header(first, below, named)
    columns, note = _name_columns(first, header)
    if header is not Header.ABSENT:
        _check_header(columns, bool(below), Place(path, line))
    classes = _class_columns(below, len(columns))

    def records() -> Iterator[Record]:
        rows = _rows(path, dialect)
        if header is not Header.ABSENT:
            next(rows)
        width = len(columns)
        for line, fields in rows:
            if len(fields) != width:
                raise _ragged(path, line, width, len(fields), dialect)
            if dialect.quotes and "\n" in "".join(fields):
                _check_swallowed(path, line, fields, dialect, classes)
            yield Record(dict(zip(columns, fields, strict=True)), line)

    return Table(path, dialect.format, columns, records, note)


def _name_columns(first: list[str], header: Header) -> tuple[tuple[str, ...], str | None]:
    """The columns' names, and a note about them for the user."""
    if header is Header.ABSENT:
        columns = tuple(f"column{number}" for number in range(1, len(first) + 1))
        return columns, f"no header line: columns are called column1 to column{len(columns)}"
    note = "the first line looks like a header and is read as one"
    # pandas writes its index under an empty name; such a column is called by its number.
    names = (name.strip() or f"column{number}" for number, name in enumerate(first, 1))
    return tuple(names), note if header is Header.LIKELY else None


def _check_header(columns: tuple[str, ...], has_rows: bool, place: Place) -> None:
    name, count = Counter(columns).most_common(1)[0]
    if count > 1:
        hint = "rename one of them"
        raise DataError(f"two columns are called {name!r}", place=place, hint=hint)
    if not has_rows:
        raise DataError("a header line and no rows", place=place, hint="add at least one row")


def _ragged(path: str, line: int, expected: int, found: int, dialect: Dialect) -> DataError:
    hint = (
        "put a field with a delimiter or a line break in it between double quotes"
        if dialect.quotes
        else "a tab or a line break inside a field? write the file as csv with quotes, or as jsonl"
    )
    fields = "field" if expected == 1 else "fields"
    return DataError(
        f"{expected} {fields} expected, as in the first line, but {found} found",
        place=Place(path, line),
        hint=hint,
    )


def _class_columns(rows: list[list[str]], width: int) -> dict[int, frozenset[str]]:
    """The columns that hold a few classes, by index, and those classes."""
    whole = [row for row in rows if len(row) == width]
    columns = enumerate(zip(*whole, strict=True))
    return {index: frozenset(column) for index, column in columns if are_classes(column)}


def _check_swallowed(
    path: str, line: int, fields: list[str], dialect: Dialect, classes: dict[int, frozenset[str]]
) -> None:
    """Raises DataError for a field that swallowed rows. Two stray quotes, rows apart, make one
    legal field of everything between them. Its lines give it away: split like rows, they have a
    known class in the right column.
    """
    for index, field in enumerate(fields):
        inner = field.split("\n")[1:-1]
        cells = [line.rstrip("\r").split(dialect.delimiter) for line in inner]
        rows = [
            row
            for row in cells
            if len(row) == len(fields) and any(row[at] in names for at, names in classes.items())
        ]
        if rows and len(rows) >= len(inner) / 2:
            opening = line + "".join(fields[:index]).count("\n")
            raise DataError(
                f"a quote opens here and takes in {len(inner)} lines that look like rows",
                place=Place(path, opening),
                hint='close the quote, or write "" for each quote inside of a quoted field',
            )


# Rows ------------------------------------------------------------------------------------------


def _rows(path: str, dialect: Dialect) -> Iterator[NumberedCells]:
    """Rows with their lines; empty lines aren't rows."""
    if dialect.quotes:
        return _quoted_rows(path, dialect.delimiter)
    return _literal_rows(path, dialect.delimiter)


def _literal_rows(path: str, delimiter: str) -> Iterator[NumberedCells]:
    for number, line in enumerate(text_lines(path), 1):
        text = line.rstrip("\r\n")
        if text:
            yield number, text.split(delimiter)


def _quoted_rows(path: str, delimiter: str) -> Iterator[NumberedCells]:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST))
    reader = csv.reader(text_lines(path), delimiter=delimiter, strict=True)
    begin = 1
    try:
        for fields in reader:
            if fields:
                yield begin, fields
            begin = reader.line_num + 1
    except csv.Error as error:
        raise _broken_row(path, begin, reader.line_num, delimiter, str(error)) from None


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
    well_formed = re.compile(
        rf'(?:"[^"]*(?:""[^"]*)*"|(?!")[^{delimiter}\r\n]*)(?:{delimiter}|\r?\n)'
    )
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


def _dialect(path: str, prefer: str) -> Dialect:
    delimiter = _delimiter(path, prefer)
    return Dialect(delimiter, quotes=delimiter != "\t" or _quotes_are_markup(path))


def _delimiter(path: str, prefer: str) -> str:
    """The delimiter that splits the most rows into the same number of fields."""
    if prefer == "\t" and _consistency(_widths(path, "\t")) > 0.5:
        return "\t"  # every text may have a comma, but hardly ever a tab
    candidates = sorted(",;\t", key=lambda delimiter: delimiter != prefer)
    return max(candidates, key=lambda delimiter: _consistency(_widths(path, delimiter)))


def _consistency(widths: list[int]) -> float:
    width, count = Counter(widths).most_common(1)[0] if widths else (1, 0)
    return count / len(widths) if width > 1 else 0.0


def _widths(path: str, delimiter: str) -> list[int]:
    """The numbers of fields of the first rows, up to a row that can't be read."""
    widths = []
    try:
        for _, fields in islice(_rows(path, Dialect(delimiter, delimiter != "\t")), HEAD_ROWS):
            widths.append(len(fields))
    except DataError:
        pass
    return widths


_QUOTED = re.compile(r'"[^"]*(?:""[^"]*)*"')


def _quotes_are_markup(path: str) -> bool:
    """Whether a tsv's quotes are markup, as csv libraries such as pandas write them, or text, as in
    GLUE's files.

    If all lines have the same number of tabs, quotes are markup when every field that begins with
    one is properly quoted *and* either one of them needs its quotes or a whole column is quoted.
    If the numbers differ, fields may hold tabs or line breaks: then quotes are markup when reading
    them as markup makes all rows equally long.
    """
    lines = [line.rstrip("\r\n") for line in head_lines(path)]
    rows = [line.split("\t") for line in lines if line]
    if len({len(row) for row in rows}) > 1:
        return len(set(_quoted_widths(path))) == 1
    quoted = [field for row in rows for field in row if field.startswith('"')]
    if not all(_QUOTED.fullmatch(field) for field in quoted):
        return False
    if any('""' in field[1:-1] for field in quoted):
        return True
    return any(all(field.startswith('"') for field in column) for column in zip(*rows, strict=True))


def _quoted_widths(path: str) -> list[int]:
    try:
        return [len(fields) for _, fields in islice(_quoted_rows(path, "\t"), HEAD_LINES)]
    except DataError:
        return []


# Formats ---------------------------------------------------------------------------------------


def _is_tsv(sample: Sample) -> bool:
    """By its name, or by a tab in most lines."""
    lines = [line for line in sample.head if line.strip()]
    return ".tsv" in sample.suffixes or sum("\t" in line for line in lines) > len(lines) / 2


def _names_columns(sample: Sample) -> bool:
    """Whether a file of unknown name begins like a csv, with at least two known column names."""
    cells = [cell.strip().strip('"') for cell in sample.first_line.split(",")]
    return sum(cell in sample.named or is_known(cell) for cell in cells) > 1


def _read_csv(sample: Sample) -> Table:
    return read_delimited(sample.path, named=sample.named)


def _read_tsv(sample: Sample) -> Table:
    return read_delimited(sample.path, named=sample.named, prefer="\t")


CSV = FileFormat(lambda sample: ".csv" in sample.suffixes, _read_csv)
TSV = FileFormat(_is_tsv, _read_tsv)
NAMED_COLUMNS = FileFormat(_names_columns, _read_csv)
