"""Excel files are read as csv files are."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from onelayer.base.errors import DataError, UsageError
from onelayer.data.readers import extent, read_table
from onelayer.recipe import Reading

openpyxl = pytest.importorskip("openpyxl")

TEXTS = ["The lamp broke after a week.", "It works very well.", "Never again in this hotel."]
ROWS: list[list[Any]] = [[text, label] for text, label in zip(TEXTS, (1, 0, 1), strict=True)]


def saved(path: Path, *sheets: Sequence[Sequence[Any]]) -> Path:
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for number, rows in enumerate(sheets, 1):
        sheet = workbook.create_sheet(f"Sheet{number}")
        for row in rows:
            sheet.append(list(row))
    workbook.save(path)
    return path


def rows_in(path: Path, **reading: Any) -> list[list[Any]]:
    table = read_table(path, reading=Reading(**reading))
    return [list(record.values.values()) for record in table]


def test_workbook_is_read_with_its_types(tmp_path: Path) -> None:
    day = datetime(2026, 1, 2, 10, 30)
    rows = [["text", "label", "score", "day"], ["fine", 1.0, 0.5, day], [None, "x", None, None]]
    table = read_table(saved(tmp_path / "a.xlsx", rows))
    assert (table.format, table.columns) == ("xlsx", ("text", "label", "score", "day"))
    assert [(r.line, list(r.values.values())) for r in table] == [
        (2, ["fine", 1, 0.5, "2026-01-02 10:30:00"]),
        (3, [None, "x", None, None]),
    ]
    assert extent(table) == 3


@pytest.mark.parametrize("header", [["v1", "v2"], ["Feedback", "Is it ok?"]])
def test_header_of_a_workbook_is_found_by_its_values(tmp_path: Path, header: list[str]) -> None:
    assert rows_in(saved(tmp_path / "a.xlsx", [header, *ROWS])) == ROWS
    assert rows_in(saved(tmp_path / "b.xlsx", ROWS * 2)) == ROWS * 2
    assert rows_in(tmp_path / "a.xlsx", header=False) == [header, *ROWS]


def test_sheet_title_and_gaps_are_left_out(tmp_path: Path) -> None:
    rows = [["Reviews of 2026"], [], ["text", "label"], ROWS[0], [], [None, None], ROWS[1]]
    table = read_table(saved(tmp_path / "a.xlsx", [], rows, [["a", "b"]]))
    assert [list(record.values.values()) for record in table] == ROWS[:2]
    assert [record.line for record in table] == [4, 7]
    assert table.note == "a row above the table left out; the sheet 'Sheet2' is read, not Sheet3"


def test_workbook_is_recognised_without_its_name(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.xlsx", [["text", "label"], *ROWS]).rename(tmp_path / "download")
    assert rows_in(path) == ROWS


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "no rows"),
        ([["text", "label"]], "a header line and no rows"),
        ([["text", "text"], ["a", "b"]], "two columns are called 'text'"),
        ([["text", "label"], *[["a", "b"]] * 250, ["a", "b", "c"]], r"a\.xlsx:252: 2 cells"),
    ],
)
def test_bad_workbook_is_refused(tmp_path: Path, rows: list[list[str]], says: str) -> None:
    with pytest.raises(DataError, match=says):
        rows_in(saved(tmp_path / "a.xlsx", rows))


def test_damaged_workbook_is_refused_in_one_line(tmp_path: Path) -> None:
    whole = saved(tmp_path / "a.xlsx", [["text", "label"], *ROWS]).read_bytes()
    (tmp_path / "b.xlsx").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "c.xlsx").write_bytes(b"PK\x03\x04" + bytes(100))
    for name in ("b.xlsx", "c.xlsx"):
        with pytest.raises(DataError, match=r"not a readable (Excel|zip) file"):
            rows_in(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "d.xlsx", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        made.writestr("[Content_Types].xml", bytes(80 << 20))
    with pytest.raises(DataError, match="bytes that unpack to 83,886,080"):
        rows_in(tmp_path / "d.xlsx")


def test_missing_openpyxl_is_named_with_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = saved(tmp_path / "a.xlsx", ROWS)
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(UsageError, match=r"needs openpyxl.*onelayer\[excel\]"):
        read_table(path)
