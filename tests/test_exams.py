"""Exams in JSON whose questions are nested: a record for each question."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onelayer.base.errors import DataError
from onelayer.data.readers import read_table
from onelayer.data.rows import read_rows
from onelayer.tasks.choose.choose import Choose, ChooseRow
from onelayer.tasks.infer_columns import infer_columns

RACE = {
    "article": "The mill was built in 1712.",
    "questions": ["When?", "What?"],
    "options": [["1712", "1500"], ["a well", "a mill"]],
    "answers": ["A", "B"],
    "id": "high1.txt",
}
QUALITY = {
    "article": "The mill was built in 1712.",
    "questions": [
        {"question": "When?", "options": ["1712", "1500"], "gold_label": 1},
        {"question": "What?", "options": ["a well", "a mill"], "gold_label": 2},
    ],
}
STEM = {
    "id": "x1",
    "question": {
        "stem": "Where is a mill?",
        "choices": [{"label": "A", "text": "at a river"}, {"label": "B", "text": "in a well"}],
    },
    "answerKey": "B",
}


def questions(path: Path, text: str) -> list[ChooseRow]:
    path.write_text(text, encoding="utf-8")
    table = read_table(path)
    seen = infer_columns(table, task=None, asked={})
    assert seen.kind is Choose
    return list(read_rows(Choose, table, seen.layout))


@pytest.mark.parametrize("passage", [RACE, QUALITY], ids=["RACE", "QuALITY"])
@pytest.mark.parametrize(
    ("name", "times", "layout"),
    [
        ("a.jsonl", 3, "lines"),
        ("a.json", 3, "array"),
        ("1.txt", 1, "lines"),
        ("a.json", 1, "indent"),
    ],
)
def test_each_question_of_a_passage_is_a_row(
    passage: dict[str, Any], name: str, times: int, layout: str, tmp_path: Path
) -> None:
    passages = [passage] * times
    text = {
        "lines": "\n".join(map(json.dumps, passages)),
        "array": json.dumps(passages),
        "indent": json.dumps(passage, indent=2),
    }[layout]
    rows = questions(tmp_path / name, text)
    assert len(rows) == 2 * times
    assert {row.context for row in rows} == {"The mill was built in 1712."}
    assert [(row.question, row.options[row.answer or 0]) for row in rows][:2] == [
        ("When?", "1712"),
        ("What?", "a mill"),
    ]


def test_question_with_a_stem_is_read(tmp_path: Path) -> None:
    (row, _) = questions(tmp_path / "a.jsonl", f"{json.dumps(STEM)}\n{json.dumps(STEM)}\n")
    assert row.context == "Where is a mill?"
    assert (row.options, row.answer) == (("at a river", "in a well"), 1)


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (RACE | {"options": RACE["options"][:1]}, "2 questions, but options has 1 items"),
        (RACE | {"answers": ["A"]}, "2 questions, but answer has 1 items"),
        ({"article": "The mill."}, "no passage with questions"),
        (QUALITY | {"questions": [*QUALITY["questions"], "?"]}, "a question is no object"),
    ],
)
def test_malformed_passage_is_refused_with_its_line(
    second: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(f"{json.dumps(RACE)}\n{json.dumps(second)}\n", encoding="utf-8")
    with pytest.raises(DataError, match=message) as caught:
        list(read_table(path))
    assert str(caught.value).startswith(f"{path}:2: ")


def test_passages_without_answers_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    unlabelled = {name: it for name, it in RACE.items() if name != "answers"}
    path.write_text(f"{json.dumps(unlabelled)}\n", encoding="utf-8")
    assert [record.values["question"] for record in read_table(path)] == ["When?", "What?"]
    assert "answer" not in read_table(path).columns
