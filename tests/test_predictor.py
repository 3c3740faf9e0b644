"""Inputs of a predictor in Python: texts, tuples, dicts by column or by role."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

import onelayer
from onelayer import DataError, Predictor, UsageError
from support.predictions import assert_same_predictions
from support.tiny_bert import MakeBert

CHOICES = "scene,asked,A,B,answer\n" + "".join(
    f"the cat {i} is here,what is it?,good,bad,{'AB'[i % 2]}\n" for i in range(12)
)


@pytest.fixture
def chooser(make_bert: MakeBert, tmp_path: Path) -> Predictor:
    (tmp_path / "rows.csv").write_text(CHOICES)
    return onelayer.finetune(
        tmp_path / "rows.csv",
        out=tmp_path / "run",
        model=str(make_bert()),
        task="choose",
        context="scene",
        question="asked",
        epochs=1,
        folds=0,
    )


def test_rows_by_column_by_role_and_as_tuples_give_the_same_predictions(chooser: Predictor) -> None:
    by_column = {"scene": "a cat", "asked": "what?", "A": "good", "B": "bad"}
    by_role = {"context": "a cat", "question": "what?", "options": ["good", "bad"]}

    as_tuple = ("a cat", "what?", ["good", "bad"])

    first, *others = chooser.predict([by_column, by_role, as_tuple])

    assert_same_predictions([first, first], others)
    assert first.option in ("good", "bad")


def test_text_instead_of_a_list_is_refused(chooser: Predictor) -> None:
    with pytest.raises(UsageError, match="takes a list"):
        chooser.predict("a cat")


def test_table_instead_of_a_list_is_read_by_its_columns(chooser: Predictor) -> None:
    columns = {"scene": ["a cat"], "asked": ["what?"], "A": ["good"], "B": ["bad"]}
    expected = chooser.predict([("a cat", "what?", ["good", "bad"])])

    assert_same_predictions(chooser.predict(columns), expected)
    assert_same_predictions(chooser.predict(pa.table(columns)), expected)
    with pytest.raises(UsageError, match="can't tell which column is the options"):
        chooser.predict(pa.table({"question": ["a", "b"]}))


def test_missing_role_is_named(chooser: Predictor) -> None:
    with pytest.raises(DataError, match="input:2:context: no context"):
        chooser.predict([("a cat", "what?", ["x", "y"]), {"options": ["x", "y"]}])


def test_layout_is_saved_with_the_run(chooser: Predictor) -> None:
    assert chooser.path is not None
    record = json.loads((chooser.path / "onelayer.json").read_text(encoding="utf-8"))

    assert record["layout"]["columns"]["options"] == ["A", "B"]
    assert onelayer.load(chooser.path).layout == chooser.layout
