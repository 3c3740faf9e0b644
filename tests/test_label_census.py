"""Labels of a whole file that should make its owner look again, and numbers in other notations."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from onelayer.base.errors import DataError, UsageError
from onelayer.inspection.inspect import inspect_file
from onelayer.recipe import Columns, Recipe
from onelayer.tasks.labelled import read_labelled
from onelayer.training.finetune import finetune


def write(folder: Path, labels: Sequence[Any]) -> Path:
    path = folder / "a.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        rows = ([f"the cat {i}", label] for i, label in enumerate(labels))
        csv.writer(stream).writerows([["text", "label"], *rows])
    return path


def read(folder: Path, labels: Sequence[Any], task: str = "classify") -> tuple[list[Any], str]:
    """The labels, and all remarks."""
    remarks: list[str] = []
    _, _, rows = read_labelled(write(folder, labels), Recipe(task=task), remarks.append)
    return [row.label for row in rows], "\n".join(remarks)


# Classes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", ["nan", "NaN", "NULL", "N/A", "<NA>", "None", "?"])
def test_words_for_nothing_are_remarked_on(word: str, tmp_path: Path) -> None:
    found, said = read(tmp_path, [*["good", "bad"] * 15, word])
    assert found[-1] == word
    assert f"{word!r} (1) may stand for no label, and the model learns a class of 1 row " in said


def test_common_class_called_none_is_a_class(tmp_path: Path) -> None:
    assert "no label" not in read(tmp_path, ["none", "rude", "spam"] * 5)[1]


def test_labels_that_differ_in_case_or_spaces_are_remarked_on(tmp_path: Path) -> None:
    _, said = read(tmp_path, ["good", "Good", "very bad", "very  bad", "bad"] * 4)
    assert "'good' (4), 'Good' (4) differ only in case or spaces: each is a class" in said
    assert "'very bad' (4), 'very  bad' (4) differ only" in said
    assert "differ" not in read(tmp_path, ["good", " good", "bad"] * 4)[1]


def test_column_without_classes_is_not_trained_on(bert: Path, tmp_path: Path) -> None:
    path = write(tmp_path, [f"name {i}" for i in range(30)])
    with pytest.raises(DataError, match="30 different labels in 30 rows: nearly every") as error:
        finetune(path, out=tmp_path / "run", recipe=Recipe(model=str(bert)))
    assert "does --label name the right column?" in str(error.value.hint)
    remarks = inspect_file(path, Columns(), model=str(bert)).remarks
    assert any("nearly every label" in remark for remark in remarks)


# Numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "numbers", "remark"),
    [
        (["37%", "5 %", "100%"], [37, 5, 100], "'37%' in label is read as the number 37"),
        (["1,234.5", "12", "1,000,000"], [1234.5, 12, 1e6], ""),
        (["3,5", "0,25", "12,0"], [3.5, 0.25, 12], "the comma of '3,5' in label is read as"),
        (["1.234,5", "2,25"], [1234.5, 2.25], "decimal point"),
        (["1,234", "0,5", "2,25"], [1.234, 0.5, 2.25], "decimal point"),
        (["1,234", "999"], [1234, 999], ""),
        ([" 1e3 ", "-2"], [1000, -2], ""),
    ],
)
def test_numbers_in_other_notations_are_read(
    written: list[str], numbers: list[float], remark: str, tmp_path: Path
) -> None:
    found, said = read(tmp_path, written, "regress")
    assert found == numbers
    assert remark in said


@pytest.mark.parametrize(
    ("written", "says"),
    [
        (["1,234", "5,678"], "thousands, or a decimal comma"),
        (["37%", "0.4"], "1 of the first 2 numbers in 'label' have a percent sign"),
        (["4/5", "3.5"], "label '4/5' is not a number"),
        (["inf", "3.5"], "label 'inf' is not a number"),
    ],
)
def test_numbers_that_can_be_read_in_two_ways_are_refused(
    written: list[str], says: str, tmp_path: Path
) -> None:
    with pytest.raises((DataError, UsageError), match=says):
        read(tmp_path, written, "regress")


def test_number_far_from_the_others_is_remarked_on(tmp_path: Path) -> None:
    numbers = [i / 7 for i in range(50)]
    assert "far from" not in read(tmp_path, numbers, "regress")[1]
    _, said = read(tmp_path, [*numbers, 1e9], "regress")
    assert "1 number lies more than 10 times as far from the median as 98% of the others" in said
    assert "at line 52: 1e+09" in said
