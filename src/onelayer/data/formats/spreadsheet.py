"""Reads Excel workbooks (.xlsx): the first sheet that has rows, row by row."""

from __future__ import annotations

import os
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, time
from itertools import islice
from typing import Any

from onelayer.base.errors import DataError, Place, UsageError
from onelayer.base.wording import listed
from onelayer.data.formats.cells import HEAD_ROWS
from onelayer.data.formats.delimited import check_header, column_names, header_remark
from onelayer.data.formats.file_format import FileFormat, Sample
from onelayer.data.formats.header import Header, find_header
from onelayer.data.formats.lines import LARGEST_DOCUMENT
from onelayer.data.formats.unpacking import BOMB, BOMB_RATIO
from onelayer.data.table import Record, Table, refuse_wide

_SUFFIXES = {".xlsx", ".xlsm"}
NumberedValues = tuple[int, list[Any]]
"""A row's number, and its cells up to the last that is filled."""


def read_spreadsheet(sample: Sample) -> Table:
    """Opens a workbook; a record's line is its row number, as Excel counts.

    Raises
    ------
    UsageError
        If openpyxl isn't installed.
    DataError
        For a workbook that is damaged, has no rows, or unpacks to far more than text does; for a
        row with more cells than the header while the table is iterated.
    """
    path = sample.path
    _refuse_bomb(path)
    with _opened(path) as workbook:
        filled = [name for name in workbook.sheetnames if next(_rows(workbook, name), None)]
        if not filled:
            raise DataError("no rows", place=Place(path), hint="is it the right file?")
        head = list(islice(_rows(workbook, filled[0]), HEAD_ROWS + 1))
    above = _title_rows(head)
    (line, first), below = head[above], [values for _, values in head[above + 1 :]]
    width = max(map(len, [first, *below]))
    refuse_wide(width, Place(path, line))
    cells = [_as_text(value) for value in first] + [""] * (width - len(first))
    if sample.reading.header is None:
        texts = [list(map(_as_text, values)) for values in below]
        header = find_header(cells, texts, sample.named, sample.expected)
    else:
        header = Header(sample.reading.header)
    columns = column_names(cells, header)
    if header.present:
        check_header(columns, bool(below), Place(path, line))

    def records() -> Iterator[Record]:
        with _opened(path) as workbook:
            rows = _rows(workbook, filled[0])
            for number, values in islice(rows, above + header.present, None):
                if len(values) > width:
                    message = f"{width} cells expected, as in the rows above, but {len(values)}"
                    hint = "name the column, or empty the cells"
                    raise DataError(message, place=Place(path, number), hint=hint)
                values += [None] * (width - len(values))
                yield Record(dict(zip(columns, values, strict=True)), number)

    remarks = header_remark(columns, header)
    if above:
        rows = "a row" if above == 1 else f"{above} rows"
        remarks.append(f"{rows} above the table left out")
    if len(filled) > 1:
        remarks.append(f"the sheet {filled[0]!r} is read, not {listed(filled[1:])}")
    note = "; ".join(remarks)
    return Table(
        path,
        "xlsx",
        columns,
        records,
        note or None,
        last_line=lambda: max((record.line or 0 for record in records()), default=0),
    )


@contextmanager
def _opened(path: str) -> Iterator[Any]:
    """A workbook whose sheets are read as streams. Raises UsageError without openpyxl, and
    DataError for whatever openpyxl and the parsers below it raise for damaged bytes."""
    try:
        import openpyxl
    except ModuleNotFoundError:
        hint = "pip install 'onelayer[excel]', or save it as csv in UTF-8"
        message = "reading an Excel file needs openpyxl, which is not installed"
        raise UsageError(message, place=Place(path), hint=hint) from None
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions, which we don't read
            workbook = openpyxl.load_workbook(file, read_only=True, data_only=True)
            try:
                yield workbook
            finally:
                workbook.close()
    except (DataError, OSError):
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"not a readable Excel file: {reason}",
            place=Place(path),
            hint="save it again, or as csv in UTF-8",
        ) from None


def _refuse_bomb(path: str) -> None:
    """Raises DataError by the sizes that the archive states; more is never unpacked."""
    packed = os.path.getsize(path)
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (zipfile.BadZipFile, ValueError) as error:
        message = f"not a readable Excel file: {error}"
        raise DataError(message, place=Place(path), hint="save it as xlsx, or as csv") from None
    if size > LARGEST_DOCUMENT or size > max(BOMB, BOMB_RATIO * packed):
        raise DataError(
            f"{packed:,} bytes that unpack to {size:,}",
            place=Place(path),
            hint="save the rows as csv in UTF-8",
        )


def _rows(workbook: Any, name: str) -> Iterator[NumberedValues]:
    """The rows of a sheet that have a filled cell."""
    sheet = workbook[name]
    if not hasattr(sheet, "iter_rows"):
        return  # a sheet with a chart
    sheet.reset_dimensions()  # other programs write wrong ones
    for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
        values = [_value(cell) for cell in cells]
        while values and values[-1] in (None, ""):
            values.pop()
        if values:
            yield number, values


def _title_rows(head: list[NumberedValues]) -> int:
    """How many of the first rows have one filled cell, as a title has, above rows with more."""
    widths = [len(values) for _, values in head]
    found = next((n for n, width in enumerate(widths) if width > 1), 0)
    return found if found <= 3 and all(width > 1 for width in widths[found:]) else 0


def _value(cell: Any) -> Any:
    """A cell as JSON has it: Excel keeps every number as a float."""
    if isinstance(cell, float) and cell.is_integer():
        return int(cell)
    if isinstance(cell, (datetime, date, time)):
        return cell.isoformat(*[" "] * isinstance(cell, datetime))
    return cell if cell is None or isinstance(cell, (str, int, float)) else str(cell)


def _as_text(value: Any) -> str:
    return "" if value is None else str(value)


def _recognises(sample: Sample) -> bool:
    """By its name, or by the parts that Excel writes; an empty file is called so elsewhere."""
    if not sample.first_bytes.startswith(b"PK\x03\x04"):
        return False
    if sample.suffixes & _SUFFIXES:
        return True
    try:
        with zipfile.ZipFile(sample.path) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except (zipfile.BadZipFile, ValueError):
        return False


XLSX = FileFormat(_recognises, read_spreadsheet, binary=True)
