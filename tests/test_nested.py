"""Files of questions nested in passages: each question is a record."""

import json
from pathlib import Path
from typing import Any

import pytest

from onelayer.base.errors import DataError
from onelayer.data.readers import read_table

ANSWER = {"text": "Paris", "answer_start": 9}
QUESTION = {"id": "q1", "question": "Where?", "answers": [ANSWER]}
CONTEXT = "It is in Paris."


def write(path: Path, document: Any, **options: Any) -> Path:
    path.write_text(json.dumps(document, **options))
    return path


def squad(*questions: Any, **article: Any) -> dict[str, Any]:
    paragraph = {"id": "P_1", "context": CONTEXT, "qas": list(questions)}
    return {"version": "1.1", "data": [{"paragraphs": [paragraph], **article}]}


@pytest.mark.parametrize("indent", [None, 2])
def test_squad_gives_one_record_per_question(tmp_path: Path, indent: int | None) -> None:
    impossible = {"id": 2, "question": "When?", "answers": [], "is_impossible": True}
    document = squad(QUESTION, impossible, title="France")
    table = read_table(write(tmp_path / "dev.json", document, indent=indent))
    assert table.format == "squad"
    assert table.columns == ("id", "question", "context", "answers", "title", "is_impossible")
    assert [record.values for record in table] == [
        {
            "id": "q1",
            "question": "Where?",
            "context": CONTEXT,
            "answers": [ANSWER],
            "title": "France",
        },
        {
            "id": "2",
            "question": "When?",
            "context": CONTEXT,
            "answers": [],
            "title": "France",
            "is_impossible": True,
        },
    ]


PARAGRAPH = {"context": CONTEXT, "qas": [QUESTION]}


@pytest.mark.parametrize(
    "document",
    [
        {"data": [PARAGRAPH]},
        {"title": "France", "paragraphs": [PARAGRAPH]},
        [{"title": "France", "paragraphs": [PARAGRAPH]}],
        [PARAGRAPH],
        PARAGRAPH,
        {"data": [{"paragraphs": [PARAGRAPH | {"qas": [{**QUESTION, "id": "q1"}]}]}]},
    ],
)
def test_parts_of_a_squad_document_are_read_as_well(tmp_path: Path, document: Any) -> None:
    for name, text in (("a.json", json.dumps(document)), ("b.jsonl", json.dumps(document))):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        table = read_table(path)
        assert table.format == "squad"
        (record,) = table
        assert [record.values[key] for key in ("id", "question", "context", "answers")] == [
            *("q1", "Where?", CONTEXT, [ANSWER]),
        ]


def test_unlabelled_squad_has_no_answers_and_a_paragraph_title(tmp_path: Path) -> None:
    table = read_table(write(tmp_path / "test.json", squad({"id": "q", "question": "Who?"})))
    assert "answers" not in table.columns
    (record,) = table
    assert "answers" not in record.values
    assert record.values["title"] == "P_1"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (squad({"id": "q"}), "data[0].paragraphs[0].qas[0] has no text 'question'"),
        (squad("q"), "data[0].paragraphs[0].qas[0] has no text 'question'"),
        ({"data": [{"paragraphs": [{"context": "x"}]}]}, "paragraphs[0] has no list 'qas'"),
        ({"data": [{"paragraphs": []}]}, "no rows"),
    ],
)
def test_malformed_squad_is_refused_with_its_place(
    tmp_path: Path, document: Any, message: str
) -> None:
    path = write(tmp_path / "dev.json", document)
    with pytest.raises(DataError) as caught:
        list(read_table(path))
    assert str(caught.value).startswith(str(path))
    assert message in str(caught.value)


def passage(**question: Any) -> list[Any]:
    return [["M: Coffee?", "W: Tea."], [{"question": "What?", **question}], "5-510"]


def test_dream_gives_one_record_per_question(tmp_path: Path) -> None:
    options = ["Tea", "Coffee", "Milk"]
    document = [passage(choice=options, answer="Tea"), passage(choice=options)]
    table = read_table(write(tmp_path / "dev.json", document, indent=1))
    assert table.format == "multiple-choice"
    assert table.columns == ("id", "context", "question", "options", "answer")
    labelled, unlabelled = table
    assert labelled.line == 2
    assert labelled.values == {
        "id": "5-510-1",
        "context": "M: Coffee?\nW: Tea.",
        "question": "What?",
        "options": options,
        "answer": "Tea",
    }
    assert "answer" not in unlabelled.values


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (passage(), "5-510: question 1 has no choices"),
        (passage(choice="Tea"), "5-510: question 1 has no choices"),
        ([[1], [], "5-510"], "5-510: a sentence is no text"),
        ({"text": "x"}, "item 2 is no passage"),
    ],
)
def test_malformed_passage_is_refused_with_its_place(
    tmp_path: Path, item: Any, message: str
) -> None:
    document = [passage(choice=["Tea"]), item]
    with pytest.raises(DataError, match=message):
        list(read_table(write(tmp_path / "dev.json", document)))
