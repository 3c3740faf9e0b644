"""The same text twice, in one file or in several, and whether it is labelled the same."""

from __future__ import annotations

import json
import tracemalloc
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onelayer.base.errors import Place
from onelayer.base.json_values import to_plain
from onelayer.data.equal_texts import normalized
from onelayer.data.layout import Layout
from onelayer.data.readers import read_table
from onelayer.data.rows import Rows, read_rows
from onelayer.inspection.inspect import inspect_file
from onelayer.inspection.repeats import find_repeats
from onelayer.recipe import Columns
from onelayer.tasks import TASKS

LAYOUTS = {
    "classify": Layout({"text": "text", "label": "label"}),
    "tag": Layout({"text": "text", "label": "label"}),
    "answer": Layout({"question": "question", "context": "context", "label": "answers"}),
    "choose": Layout({"context": "context", "options": "options", "label": "answer"}),
    "regress": Layout({"text": "text", "label": "label"}),
}


def rows_of(folder: Path, name: str, rows: Sequence[Any], task: str = "classify") -> Rows:
    file = folder / name
    file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return read_rows(TASKS[task], read_table(file), LAYOUTS[task])


def texts(*pairs: tuple[str, Any]) -> list[dict[str, Any]]:
    return [{"text": text, "label": label} for text, label in pairs]


def test_rows_shared_by_several_files_are_listed_with_their_places(tmp_path: Path) -> None:
    train = rows_of(tmp_path, "train.jsonl", texts(("a cat", "x"), ("b", "y"), ("b", "y")))
    test = rows_of(tmp_path, "test.jsonl", texts(("c", "x"), ("A  Cat", "y")))
    found = find_repeats([train, test])
    assert to_plain(found.shared) == [
        {
            "text": "a cat",
            "rows": [
                {"file": "train.jsonl", "line": 1, "label": "x"},
                {"file": "test.jsonl", "line": 2, "label": "y"},
            ],
        }
    ]
    assert found.conflicts == found.shared
    assert list(found.across.values()) == [1, 1]
    assert (found.rows, found.differently_written, found.conflicting) == (1, 0, 1)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Café  au lait", "café au LAIT", True),
        ("ｗｉｄｅ，文字", "wide,文字", True),
        ("ﬁn\t\n", "fin", True),
        ("Straße", "STRASSE", True),
        ("it's", "its", False),
        ("cafe", "café", False),
    ],
)
def test_repeats_ignore_case_spaces_and_width(one: str, other: str, same: bool) -> None:
    assert (normalized(one) == normalized(other)) is same


@settings(max_examples=60)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(["a", "A", "a ", "b", "c"]), st.sampled_from("xy"))),
        min_size=1,
        max_size=3,
    )
)
def test_counts_equal_the_dictionary_reference(files: list[list[tuple[str, str]]]) -> None:
    """Compares with a simple implementation."""

    class Made(Rows):
        def __iter__(self) -> Any:
            kind = TASKS["classify"]
            for line, (text, label) in enumerate(self.layout, start=1):
                yield kind.row({"text": text, "label": label}, Place("f", line), True)

    table = type("T", (), {"path": "f"})()
    none = np.empty(0, np.bool_)
    made = [Made(TASKS["classify"], table, rows, True, none) for rows in files]
    found = find_repeats(made)
    where, labels = defaultdict(set), defaultdict(set)
    for number, rows in enumerate(files):
        for text, label in rows:
            where[normalized(text)].add(number)
            labels[normalized(text)].add(label)
    first = [text for text, _ in files[0]]
    assert found.rows == len(first) - len({normalized(text) for text in first})
    assert found.rows - found.differently_written == len(first) - len(set(first))
    assert found.conflicting == len(found.conflicts) == sum(len(v) > 1 for v in labels.values())
    assert len(found.shared) == sum(len(v) > 1 for v in where.values())
    for entry in found.shared + found.conflicts:
        assert len({normalized(entry.text)}) == 1
        key = normalized(entry.text)
        assert len(entry.rows) == sum(normalized(t) == key for rows in files for t, _ in rows)


@pytest.mark.parametrize(
    ("task", "one", "other", "labels"),
    [
        ("classify", {"text": "x", "label": ["a", "b"]}, {"text": "x", "label": ["b"]}, "a; b|b"),
        ("regress", {"text": "x", "label": 1.5}, {"text": "x", "label": 2}, "1.5|2"),
        (
            "tag",
            {"text": ["a", "cat"], "label": ["O", "B-X"]},
            {"text": ["a", "cat"], "label": ["O", "O"]},
            "cat/B-X|–",
        ),
        (
            "tag",
            {"text": "a cat", "label": [[2, 5, "X"]]},
            {"text": "a cat", "label": [[0, 5, "X"]]},
            "cat [X]|a cat [X]",
        ),
        (
            "answer",
            {"question": "q", "context": "a cat", "answers": "cat"},
            {"question": "q", "context": "a cat", "answers": []},
            "cat|–",
        ),
        (
            "choose",
            {"context": "c", "options": ["a", "b"], "answer": 0},
            {"context": "c", "options": ["a", "b"], "answer": 1},
            "a|b",
        ),
    ],
)
def test_conflicting_labels_are_found_for_every_task(
    task: str, one: dict[str, Any], other: dict[str, Any], labels: str, tmp_path: Path
) -> None:
    found = find_repeats([rows_of(tmp_path, "f.jsonl", [one, other, one], task)])
    (conflict,) = found.conflicts
    first, second = labels.split("|")
    assert [row.label for row in conflict.rows] == [first, second, first]
    assert not find_repeats([rows_of(tmp_path, "g.jsonl", [one, one], task)]).conflicts


def test_order_of_labels_is_no_conflict(tmp_path: Path) -> None:
    rows = rows_of(tmp_path, "f.jsonl", texts(("x", ["a", "b"]), ("x", ["b", "a"])))
    assert find_repeats([rows]).conflicting == 0


@pytest.mark.slow
def test_memory_is_under_200_bytes_a_row(tmp_path: Path) -> None:
    def peak(n: int) -> int:
        rows = rows_of(
            tmp_path, f"{n}.jsonl", texts(*((f"{'long ' * 50}{i}", "x") for i in range(n)))
        )
        tracemalloc.start()
        try:
            find_repeats([rows])
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(100)
    assert peak(3000) - peak(1000) < 2000 * 200  # a text alone has 250 bytes


def test_inspect_reads_other_files_with_the_same_columns(tmp_path: Path, bert: Path) -> None:
    (tmp_path / "train.csv").write_text("review,stars\ngood cat,a\nbad,b\n", encoding="utf-8")
    lines = "stars\treview\nb\tGood cat\na\t\n"
    (tmp_path / "test.tsv").write_text(lines, encoding="utf-8")
    columns = Columns(text="review", label="stars")
    found = inspect_file(
        tmp_path / "train.csv", columns, others=[tmp_path / "test.tsv"], model=str(bert)
    ).to_json()
    (shared,) = found["in_several_files"]
    assert [(row["file"], row["line"]) for row in shared["rows"]] == [
        ("train.csv", 2),
        ("test.tsv", 2),
    ]
    assert "1 texts occur with different labels" in found["problems"]
    assert any("test.tsv:3:review: text is empty" in line for line in found["problems"])
