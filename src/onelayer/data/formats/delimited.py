"""Reads csv and tsv as a stream of rows, each with as many fields as the header."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from itertools import dropwhile, islice

from onelayer.base.errors import DataError, Place
from onelayer.data.formats.cells import (
    DELIMITERS,
    HEAD_ROWS,
    Dialect,
    NumberedCells,
    cell_rows,
    find_dialect,
)
from onelayer.data.formats.file_format import FileFormat, Sample
from onelayer.data.formats.header import Header, are_classes, find_header, is_known
from onelayer.data.formats.inference_pairs import fewest_fields
from onelayer.data.table import Record, Table, refuse_wide
from onelayer.recipe import AS_FOUND, Reading

SUFFIXES = frozenset({".csv", ".tsv"})
EMPTY_ROW = "an empty row, as spreadsheets write them"
HEADER_AGAIN = "the header line again, as where files are joined"
EXTRA_COLUMN = "row"
"""The name of a first column that the header leaves out, as R writes row names."""


def read_delimited(
    path: str,
    *,
    named: Collection[str] = (),
    expected: Collection[str] = (),
    prefer: str = ",",
    reading: Reading = AS_FOUND,
) -> Table:
    """Reads a csv or tsv file.

    Parameters
    ----------
    path
        The file.
    named
        Columns that the user asked for; a first row that has one of them is a header.
    expected
        Columns that the file may have: those of a model's training file.
    prefer
        The delimiter that the file's name suggests.
    reading
        What the user said of the file.

    Raises
    ------
    DataError
        For a header without rows and for repeated columns; while the table is iterated, for rows
        of another length and for quotes that are never closed.
    """
    dialect = find_dialect(path, prefer, reading.delimiter)
    head = list(islice(_filled_rows(path, dialect), HEAD_ROWS + 1))
    if not head:
        raise DataError("no rows", place=Place(path), hint="is it the right file?")
    line, first = head[0]
    refuse_wide(len(first), Place(path, line))
    below = [fields for _, fields in head[1:]]
    cells = [EXTRA_COLUMN, *first] if _lacks_a_name(first, below) else first
    if reading.header is None:
        header = find_header(cells, below, named, expected)
    else:
        header = Header(reading.header)
    columns = column_names(cells if header.present else first, header)
    if header.present:
        check_header(columns, bool(below), Place(path, line))
    classes = _class_columns(below, len(columns))
    named_width = next((n for n in range(len(cells), 0, -1) if cells[n - 1].strip()), 0)
    fewest = min(named_width, fewest_fields(columns))

    def records() -> Iterator[Record]:
        rows = _filled_rows(path, dialect)
        if header.present:
            next(rows)
        width, quotes, several = len(columns), dialect.quotes, len(columns) > 1
        for line, fields in rows:
            if len(fields) != width:
                if len(fields) > width and not any(fields[width:]):
                    fields = fields[:width]  # a comma at the end of every line
                elif header.present and fewest <= len(fields) < width:
                    fields = fields + [""] * (width - len(fields))
                else:
                    raise _ragged(path, line, width, len(fields), dialect)
            if quotes and "\n" in "".join(fields):
                _check_swallowed(path, line, fields, dialect, classes)
            why = None
            if several:
                if not fields[0] and _is_empty(fields):
                    why = EMPTY_ROW
                elif header.present and fields == first:
                    why = HEADER_AGAIN
            yield Record(dict(zip(columns, fields, strict=True)), line, left_out=why)

    note = "; ".join([*dialect.remarks, *header_remark(columns, header)])
    return Table(path, dialect.format, columns, records, note or None)


def _filled_rows(path: str, dialect: Dialect) -> Iterator[NumberedCells]:
    """The rows without empty ones at the top."""
    return dropwhile(lambda row: _is_empty(row[1]), cell_rows(path, dialect))


def _is_empty(fields: list[str]) -> bool:
    """Whether a row has several fields and nothing in them. A single empty field is a text."""
    return len(fields) > 1 and not any(fields)


def _lacks_a_name(first: list[str], below: list[list[str]]) -> bool:
    """Whether every row has one field more than the header, and it isn't an empty one at the end.
    R writes names of rows without a name for their column."""
    longer = all(len(fields) == len(first) + 1 for fields in below)
    return longer and len(below) > 1 and any(fields[-1] for fields in below)


def column_names(cells: list[str], header: Header) -> tuple[str, ...]:
    """The names in a header; numbers for columns without."""
    if not header.present:
        return tuple(f"column{number}" for number in range(1, len(cells) + 1))
    # pandas writes its index under an empty name; such a column is called by its number.
    return tuple(name.strip() or f"column{number}" for number, name in enumerate(cells, 1))


def header_remark(columns: tuple[str, ...], header: Header) -> list[str]:
    """What was decided about the first line, and why."""
    if header.present:
        why = f"{header.why}; --no-header reads it as a row"
        return [f"the first line is read as a header ({why})"] if header.why else []
    many = len(columns) > 1
    called = (
        f"columns are called column1 to column{len(columns)}"
        if many
        else "the column is called column1"
    )
    why = f" ({header.why}; --header reads it as one)" if header.why else ""
    return [f"no header line: {called}{why}"]


def check_header(columns: tuple[str, ...], has_rows: bool, place: Place) -> None:
    """Raises DataError for a name that comes twice, and for a header without rows."""
    name, count = Counter(columns).most_common(1)[0]
    if count > 1:
        hint = "rename one of them, or give --no-header if the line is a row"
        raise DataError(f"two columns are called {name!r}", place=place, hint=hint)
    if not has_rows:
        hint = "add at least one row, or give --no-header if the line is one"
        raise DataError("a header line and no rows", place=place, hint=hint)


def _ragged(path: str, line: int, expected: int, found: int, dialect: Dialect) -> DataError:
    hint = (
        "put a field with a delimiter or a line break in it between double quotes, or give "
        "--delimiter"
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


# Formats ---------------------------------------------------------------------------------------


def _is_csv(sample: Sample) -> bool:
    """By its name, or because the user named the delimiter."""
    return ".csv" in sample.suffixes or sample.reading.delimiter is not None


def _is_tsv(sample: Sample) -> bool:
    """By its name, or by a tab in most lines."""
    lines = [line for line in sample.head if line.strip()]
    return ".tsv" in sample.suffixes or sum("\t" in line for line in lines) > len(lines) / 2


def _names_columns(sample: Sample) -> bool:
    """Whether a file of unknown name begins like a csv, with at least two known column names, or
    has a header, as the user says."""
    if sample.reading.header is not None:
        return True
    names = {*sample.named, *sample.expected}
    cells = (sample.first_line.split(mark) for mark in DELIMITERS)
    stripped = ([cell.strip().strip('"') for cell in row] for row in cells)
    return any(sum(cell in names or is_known(cell) for cell in row) > 1 for row in stripped)


def _reader(prefer: str) -> Callable[[Sample], Table]:
    return lambda sample: read_delimited(
        sample.path,
        named=sample.named,
        expected=sample.expected,
        prefer=prefer,
        reading=sample.reading,
    )


CSV = FileFormat(_is_csv, _reader(","))
TSV = FileFormat(_is_tsv, _reader("\t"))
NAMED_COLUMNS = FileFormat(_names_columns, _reader(","))
