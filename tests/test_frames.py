"""JSON documents that hold a whole table are read as its rows; rows that look alike stay rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onelayer.base.errors import DataError
from onelayer.data.readers import extent, read_table
from onelayer.data.table import Table

TEXTS = ["It broke after a week.", "It works very well.", "Never again in this hotel."]
LABELS = ["bad", "good", "bad"]
ROWS = [{"text": t, "label": label} for t, label in zip(TEXTS, LABELS, strict=True)]


def table_of(folder: Path, value: Any, name: str = "a.json", indent: int | None = None) -> Table:
    text = value if isinstance(value, str) else json.dumps(value, indent=indent)
    (folder / name).write_text(text, encoding="utf-8")
    return read_table(folder / name)


FRAMES = {
    "columns": {
        "text": dict(zip("012", TEXTS, strict=True)),
        "label": dict(zip("012", LABELS, strict=True)),
    },
    "index": dict(zip("012", ROWS, strict=True)),
    "split": {
        "columns": ["text", "label"],
        "index": [0, 1, 2],
        "data": [[row["text"], row["label"]] for row in ROWS],
    },
    "table": {"schema": {"fields": [{"name": "text"}]}, "data": ROWS},
    "list": {"text": TEXTS, "label": LABELS},
    "envelope": {"version": 1, "description": "reviews of three lamps", "data": ROWS},
    "envelope of another name": {"version": "1.2", "reviews": ROWS},
}


@pytest.mark.parametrize("shape", FRAMES)
@pytest.mark.parametrize("indent", [None, 2])
def test_table_in_an_object_is_read(tmp_path: Path, shape: str, indent: int | None) -> None:
    table = table_of(tmp_path, FRAMES[shape], indent=indent)
    assert [record.values for record in table] == ROWS
    assert [record.line for record in table] == [1, 2, 3]
    assert table.note
    assert extent(table) == 3


ROWS_ALONE: dict[str, Any] = {
    "words and tags": {"tokens": ["Ann", "ran"], "tags": ["B-PER", "O"]},
    "a short text with entities": {"text": "Ann ran", "entities": [{"start": 0, "label": "PER"}]},
    "a text with slots": {"utterance": "wake me at six", "slots": [{"value": "six"}]},
    "options": {"question": "Which one?", "options": ["the first of them", "the second of them"]},
    "a row": ROWS[0],
}


@pytest.mark.parametrize("row", ROWS_ALONE)
@pytest.mark.parametrize("n", [1, 3])
def test_row_with_lists_stays_a_row(tmp_path: Path, row: str, n: int) -> None:
    table = table_of(tmp_path, (json.dumps(ROWS_ALONE[row]) + "\n") * n, "a.jsonl")
    assert [record.values for record in table] == [ROWS_ALONE[row]] * n


def test_several_lists_of_rows_are_a_question(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="several lists of rows: train, test"):
        table_of(tmp_path, {"train": ROWS, "test": ROWS})


def test_dicts_as_python_prints_them_are_read(tmp_path: Path) -> None:
    rows = [{"text": 'it\'s "so"', "label": None, "more": [True, 1.5]}, {"text": "b", "label": 1}]
    lines = "".join(f"{row!r}\n" for row in rows)
    for name in ("a.jsonl", "a.txt"):
        assert [record.values for record in table_of(tmp_path, lines, name)] == rows


def test_code_in_a_line_is_not_run(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.jsonl:1:2: not valid JSON"):
        table_of(tmp_path, "{'text': open('x', 'w')}\n", "a.jsonl")
    assert not Path("x").exists()
