"""Options in the shapes that files have, and which of them an answer names."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onelayer.base.errors import DataError, Place, UsageError
from onelayer.data.readers import read_table
from onelayer.data.rows import Rows, read_rows
from onelayer.tasks.choose.choose import Choose, ChooseRow
from onelayer.tasks.choose.offered_options import offered_in
from onelayer.tasks.infer_columns import infer_columns
from onelayer.tokens.encodings import EncodingsBuilder

HERE = Place("rows.jsonl", 1)
Row = dict[str, Any]


def write(path: Path, rows: list[Row]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        if path.suffix == ".csv":
            table = csv.DictWriter(file, list(rows[0]))
            table.writeheader()
            table.writerows(rows)
        else:
            file.writelines(f"{json.dumps(row)}\n" for row in rows)
    return path


def read(path: Path, rows: list[Row]) -> tuple[Rows, str]:
    """The rows of a file that must be recognised as one of choices, and all that is said of it."""
    seen = infer_columns(read_table(write(path, rows)), task=None, asked={})
    assert seen.kind is Choose
    found = read_rows(Choose, read_table(path), seen.layout)
    return found, "\n".join([*seen.remarks, *found.remarks])


def offers(n: int = 12, **columns: Any) -> list[Row]:
    """n questions; of a list, the rows take one value after another."""
    return [
        {"question": f"Which of them is number {i}?"}
        | {
            name: value[i % len(value)] if isinstance(value, list) else value
            for name, value in columns.items()
        }
        for i in range(n)
    ]


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        (["a", " b "], ["a", "b"]),
        ([1, 2.5, True], ["1", "2.5", "true"]),
        ("['a' 'b']", ["a", "b"]),
        ('["a", "b"]', ["a", "b"]),
        ("{'text': array(['a', 'b'], dtype=object), 'label': array(['A', 'B'])}", ["a", "b"]),
        ({"text": ["a", "b"], "label": ["A", "B"]}, ["a", "b"]),
        ({"text": ["a", "b"]}, ["a", "b"]),
        ([{"label": "A", "text": "a"}, {"label": "B", "text": "b"}], ["a", "b"]),
        ({"A": "a", "B": "b", "C": None}, ["a", "b"]),
        ({"text": ["a", "", "b"], "label": ["A", "B", "C"], "column": ("A", "B", "C")}, ["a", "b"]),
    ],
)
def test_options_are_read_in_every_shape(value: object, texts: list[str]) -> None:
    assert [option.text for option in offered_in(value, HERE)] == texts


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "two or more options"),
        ("a, b", "two or more options"),
        (["a"], "two or more options"),
        ({"A": "a", "B": None}, "two or more options"),
        (["a", None, "b"], "option 2 is empty"),
        (["a", "b", " "], "option 3 is empty"),
        (["a", ["b"]], "option 2 is a list"),
        (["a", {"name": "b"}], "option 2 is an object without a text"),
    ],
)
def test_options_that_are_none_are_refused_by_number(value: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        offered_in(value, HERE)


LETTERS = {"A": "one", "B": "two", "C": "three"}
COLOURS = ["red", "green", "blue"]
TWICE = [["red", "red", "blue"]]
TEXTS, FROM_0 = "as the options' texts", "counted from 0"
WRITING = "case or white space"


@pytest.mark.parametrize(
    ("name", "columns", "answers", "said"),
    [
        ("a.csv", {**LETTERS, "answer": ["A", "B", "C"]}, [0, 1, 2], ""),
        ("a.jsonl", {"choices": [COLOURS], "answer": ["A", 1, "C"]}, [0, 1, 2], FROM_0),
        ("a.csv", {**LETTERS, "answer": ["a", "(b)", "C."]}, [0, 1, 2], ""),
        ("a.csv", {**LETTERS, "answer": ["0.0", "1.0", "2.0"]}, [0, 1, 2], FROM_0),
        ("a.csv", {**LETTERS, "answer": ["1", "2", "3"]}, [0, 1, 2], "counted from 1"),
        ("a.csv", {"opt1": "x", "opt2": "y", "correct": ["opt2", "opt1"]}, [1, 0, 1], ""),
        ("a.csv", {"choice_a": "x", "choice_b": "y", "answer": ["y", "x"]}, [1, 0, 1], ""),
        ("a.csv", {"A": "w", "B": ["", "x"], "C": "y", "answer": "2"}, [1, 2, 1], FROM_0),
        ("a.csv", {"A": "2", "B": "1", "C": "0", "answer": list("012")}, [2, 1, 0], TEXTS),
        ("a.jsonl", {"choices": [["2", "1", "0"]], "answer": ["2", "0"]}, [0, 2, 0], TEXTS),
        ("a.jsonl", {"choices": [["7", "1", "0"]], "answer": ["0", "2"]}, [0, 2, 0], FROM_0),
        ("a.jsonl", {"choices": [["2", "1", "0"]], "answer": [2, 0]}, [2, 0, 2], FROM_0),
        ("a.jsonl", {"choices": [[4, 5, 6]], "answer": [5, 6]}, [1, 2, 1], ""),
        ("a.jsonl", {"choices": [["B", "A", "O"], COLOURS], "answer": "A"}, [0, 0, 0], ""),
        ("a.jsonl", {"choices": [["B", "A", "O"]], "answer": ["A", "B"]}, [1, 0, 1], TEXTS),
        ("a.jsonl", {"choices": [COLOURS], "answer": [" Red", "BLUE"]}, [0, 2, 0], WRITING),
        ("a.jsonl", {"choices": TWICE, "answer": ["red", "blue"]}, [0, 2, 0], "twice"),
        ("a.jsonl", {"choices": TWICE, "answer": [1, 2]}, [0, 2, 0], "twice"),
        ("a.jsonl", {"options": {"A": "x", "B": "y"}, "answer_idx": ["B", "A"]}, [1, 0, 1], ""),
    ],
)  # fmt: skip
def test_answers_of_a_file_are_read_in_one_way(
    name: str, columns: Row, answers: list[int], said: str, tmp_path: Path
) -> None:
    found, remarks = read(tmp_path / name, offers(**columns))
    assert [row.answer for row in found][:3] == answers
    assert found.n_bad == 0
    assert said in remarks


def test_number_that_is_no_option_is_a_bad_row_where_answers_are_texts(tmp_path: Path) -> None:
    rows = offers(choices=[["10", "20", "30"]], answer=["10", "20"])
    found, _ = read(tmp_path / "a.jsonl", [*rows, rows[0] | {"answer": "2"}])
    assert found.n_bad == 1
    assert "answer '2' is none of the 3 options" in str(found.bad[0])


def test_unlabelled_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    found, said = read(tmp_path / "a.jsonl", offers(choices=[COLOURS], answer=[-1, 0, 2]))
    assert (len(found), found.n_bad) == (8, 0)
    assert [row.answer for row in found][:2] == [0, 2]
    assert "4 rows: left out, not labelled: the answer is -1" in said
    found, _ = read(tmp_path / "b.jsonl", offers(choices=[["-1", "1"]], answer=["-1", "1"]))
    assert [row.answer for row in found][:2] == [0, 1]


def test_options_side_by_side_whose_answers_are_letters_need_no_known_question(
    tmp_path: Path,
) -> None:
    rows = [
        {"id": str(i), "prompt": f"What is {i}?", **LETTERS, "answer": "ABC"[i % 3]}
        for i in range(12)
    ]
    found, _ = read(tmp_path / "a.csv", rows)
    assert next(iter(found)).context == "What is 0?"
    found, _ = read(tmp_path / "b.csv", [row | {"prompt": f"{row['id']}+2"} for row in rows])
    assert next(iter(found)).context == "0+2"


def test_answers_that_name_no_option_are_a_question(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", offers(A="one", B="two", label=["good", "bad"]))
    with pytest.raises(UsageError, match=r"can't tell the task.*--task choose or --task classify"):
        infer_columns(read_table(path), task=None, asked={})


def test_first_of_equal_options_is_predicted() -> None:
    row = ChooseRow("a", "b", ("x", "y", "y"), 1, HERE)
    builder = EncodingsBuilder()
    builder.start_row(6)
    for _ in row.options:
        builder.add([1, 2], 2)
    logits = np.asarray([[0.0], [1.0], [1.0 + 1e-6]])
    (found,) = Choose(max_length=8).decode([row], builder.build(examples_are_rows=True), logits)
    assert (found.index, found.option) == (1, "y")
