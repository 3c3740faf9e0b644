"""Files of texts without labels, from which a smaller model learns."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import onelayer
from onelayer.base.errors import DataError, UsageError
from onelayer.data.equal_texts import texts_key
from onelayer.data.in_memory import source_of
from onelayer.data.layout import Layout
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns
from onelayer.shrinking.unlabelled import UnlabelledRows
from support.from_tokens import MakePredictor
from support.task_cases import CASES, Case
from support.tiny_bert import MakeBert

Read = Callable[..., UnlabelledRows]


@pytest.fixture(scope="module")
def sorter(make_bert: MakeBert) -> Predictor:
    found = onelayer.load(make_bert("BertForSequenceClassification", labels=("no", "yes")))
    return replace(found, layout=Layout({"text": "review", "label": "stars"}))


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def read(
    run: Predictor, source: Any, *known: str, say: Callable[[str], None] = print, **columns: Any
) -> UnlabelledRows:
    keys = {texts_key((text,)) for text in known}
    return UnlabelledRows.read(run, source_of(source), Columns(**columns), keys, say)


def texts_of(rows: UnlabelledRows) -> list[str]:
    return [row.text for row in rows]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_training_file_is_read_without_its_labels(
    case: Case, make_predictor: MakePredictor, tmp_path: Path
) -> None:
    """Every task reads its own files, and gives rows that it can predict."""
    predictor, rows = make_predictor(case)
    found = read(predictor, case.write(tmp_path))
    task = predictor.task
    own = {texts_key(task.texts(row)) for row in rows}
    assert {texts_key(task.texts(row)) for row in found} == own
    assert len(found) == len(own) == len(list(found)) == len(predictor.predict_rows(list(found)))
    for row in found:
        labels = ("label", "tags", "spans", "answers", "answer")
        assert all(getattr(row, name, None) is None for name in labels)


def test_only_rows_with_a_new_text_are_used(sorter: Predictor, tmp_path: Path) -> None:
    texts = ["one", "Dev row.", "two", "ONE!", " ", "", "three 🙂", "two", "我们"]
    remarks: list[str] = []
    path = written(tmp_path / "more.jsonl", [{"review": text, "stars": 7} for text in texts])
    found = read(sorter, path, "dev row", "another", say=remarks.append)
    assert texts_of(found) == texts_of(found) == ["one", "two", "three 🙂", "我们"]
    assert len(found) == 4
    assert remarks == [
        "more.jsonl: text = review",
        "more.jsonl: 9 rows, 4 to learn from (2 repeat another row, 1 are rows that the run has "
        "already, 2 have no text)",
    ]


def test_rows_that_cannot_be_read_are_counted(sorter: Predictor, tmp_path: Path) -> None:
    remarks: list[str] = []
    rows: list[dict[str, Any]] = [{"review": "one"}, {"review": ["b"]}, {"review": "two"}]
    found = read(sorter, written(tmp_path / "m.jsonl", rows), say=remarks.append)
    assert texts_of(found) == ["one", "two"]
    assert "m.jsonl: left out 1 bad rows, the first: " in remarks[1]
    assert "m.jsonl:2:review" in remarks[1]
    assert remarks[2] == "m.jsonl: 2 rows, 2 to learn from"


def test_plain_lines_and_tables_in_memory_are_read(sorter: Predictor, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("one\ntwo, or three\n", encoding="utf-8")
    assert texts_of(read(sorter, lines)) == ["one", "two, or three"]
    assert texts_of(read(sorter, [{"review": "a"}, {"review": "b"}])) == ["a", "b"]


@pytest.mark.parametrize("rows", [[], [{"review": ""}], [{"review": "known"}], [{"review": [1]}]])
def test_file_without_a_new_text_is_refused(
    sorter: Predictor, tmp_path: Path, rows: list[dict[str, Any]]
) -> None:
    with pytest.raises(DataError, match=r"u\.jsonl"):
        read(sorter, written(tmp_path / "u.jsonl", rows), "known")


def test_other_columns_are_refused_or_named(sorter: Predictor, tmp_path: Path) -> None:
    path = written(tmp_path / "u.jsonl", [{"a": f"{i} x", "b": f"{i} y"} for i in range(9)])
    with pytest.raises(UsageError, match="--text"):
        read(sorter, path)
    assert texts_of(read(sorter, path, text="b"))[0] == "0 y"
    pairs = replace(sorter, layout=Layout({"text": "a", "pair": "z", "label": "stars"}))
    with pytest.raises(UsageError, match="--pair"):
        read(pairs, written(tmp_path / "one.jsonl", [{"text": "x"}]))


def test_file_that_changes_meanwhile_is_refused(sorter: Predictor, tmp_path: Path) -> None:
    path = written(tmp_path / "u.jsonl", [{"review": "one"}, {"review": "two"}])
    found = read(sorter, path)
    written(path, [{"review": "one"}])
    with pytest.raises(DataError, match="changed"):
        list(found)
