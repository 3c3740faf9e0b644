"""A folder that brat wrote is a row for each line, with its entities."""

from __future__ import annotations

from pathlib import Path

import pytest

from onelayer.base.errors import DataError
from onelayer.data.readers import extent, read_table
from onelayer.data.rows import Rows, read_rows
from onelayer.tasks.infer_columns import infer_columns

TEXT = "Ada met Bo.\nIn Ulm\n\nNew\nYork is far.\n"
ANN = (
    "T1\tPER 0 3\tAda\nT2\tLOC 15 18\tUlm\nT3\tLOC 20 24;25 28\tNew York\nR1\tin Arg1:T1 Arg2:T2\n"
)


def folder(path: Path, **documents: tuple[str, str | None]) -> Path:
    for name, (text, entities) in documents.items():
        (path / f"{name}.txt").write_text(text, encoding="utf-8", newline="")
        if entities is not None:
            (path / f"{name}.ann").write_text(entities, encoding="utf-8", newline="")
    return path


def read(path: Path) -> tuple[Rows, str]:
    table = read_table(path)
    found = infer_columns(table, task=None, asked={})
    rows = read_rows(found.kind, table, found.layout)
    return rows, "\n".join((*found.remarks, *rows.remarks))


def golds(rows: Rows) -> list[tuple[str, str]]:
    return [(row.text, rows.kind.gold_text(row)) for row in rows]


def test_lines_are_rows_unless_an_entity_joins_them(tmp_path: Path) -> None:
    rows, remarks = read(folder(tmp_path, a=(TEXT, ANN), b=("Bo ran.\n", None), c=("It ran.", "")))
    assert golds(rows) == [
        ("Ada met Bo.", "Ada [PER]"),
        ("In Ulm", "Ulm [LOC]"),
        ("New\nYork is far.", "New\nYork [LOC]"),
        ("It ran.", "–"),
    ]
    assert "3 rows: relations, events and attributes aren't learned" in remarks
    assert "1 row: left out, without an .ann file" in remarks
    assert [str(row.place) for row in rows][:2] == [f"{tmp_path / 'a.txt'}:{n}" for n in (1, 2)]
    assert extent(read_table(tmp_path)) is None


def test_one_ann_file_is_read_with_its_text(tmp_path: Path) -> None:
    rows, _ = read(folder(tmp_path, a=(TEXT, ANN), b=("x", "")) / "a.ann")
    assert len(rows) == 3


def test_ann_file_without_its_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ann").write_text(ANN)
    with pytest.raises(DataError, match=r"a\.ann: no a\.txt, the text of it"):
        read_table(tmp_path / "a.ann")


@pytest.mark.parametrize(
    ("text", "annotations"),
    [
        ("🎉🎉 in\r\nUlm.\r\n" * 2, "T1\tLOC 9 12\tUlm\nT2\tLOC 24 27\tUlm\n"),
        ("\ufeffin Ulm.\nin Ulm.\n", "T1\tLOC 4 7\tUlm\nT2\tLOC 12 15\tUlm\n"),
    ],
    ids=["UTF-16", "BOM"],
)
def test_offsets_of_brat_are_checked_by_the_texts(
    tmp_path: Path, text: str, annotations: str
) -> None:
    rows, remarks = read(folder(tmp_path, a=(text, annotations)))
    assert rows.n_bad == 0
    assert {gold for _, gold in golds(rows)} <= {"Ulm [LOC]", "–"}
    assert [gold for _, gold in golds(rows)].count("Ulm [LOC]") == text.count("Ulm")
    assert "offsets are" in remarks


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ("T1\tPER 0 3;8 10\tAda Bo", "an entity in several parts: 0 3;8 10 'PER'"),
        ("T1\tPER 0 3\tBo", "span 0:3 'PER' is 'Ada' in the text, and 'Bo' by its own text"),
        ("T1\tPER 4 99\tmet", "span 4:99 'PER' is outside the text"),
    ],
)
def test_wrong_entity_is_a_bad_row_of_its_text(
    tmp_path: Path, annotation: str, message: str
) -> None:
    good = "".join(f"T{n + 2}\tLOC 15 18\tUlm\n" for n in range(2))
    rows, _ = read(folder(tmp_path, a=(TEXT, f"{annotation}\n{good}")))
    assert rows.n_bad == 1
    assert message in str(rows.bad[0])
    assert str(rows.bad[0]).startswith(f"{tmp_path / 'a.txt'}:1:entities")


def test_malformed_line_has_its_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.ann:2: no place of an entity"):
        read_table(folder(tmp_path, a=(TEXT, "T1\tPER 0 3\tAda\nT2 PER 0 3 Ada\n")))


def test_entity_of_white_space_or_after_the_text_is_not_lost(tmp_path: Path) -> None:
    spans = "T1\tPER 19 20\t \nT2\tPER 900 904\tAda\n"
    rows, _ = read(folder(tmp_path, a=(TEXT, ANN + spans)))
    assert rows.n_bad == 2
    assert {str(error.place).split(":")[1] for error in rows.bad} == {"3", "4"}
