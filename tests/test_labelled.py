"""Bad rows of a labelled file: one line names the place, the problem and the fix; with ``skip_bad``
the other rows are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from onelayer.base.errors import DataError, Place
from onelayer.data.layout import Layout
from onelayer.data.readers import read_table
from onelayer.data.row_kind import LeftOutError
from onelayer.data.rows import read_rows
from onelayer.recipe import Recipe
from onelayer.tasks.classify.classify import Classify
from onelayer.tasks.classify.gold_labels import gold_ids
from onelayer.tasks.labelled import read_labelled, usable_rows
from onelayer.tasks.regress.regress import Regress
from onelayer.tasks.texts import TextRow
from onelayer.tokens.tokenizer import Tokenizer

Write = Callable[[str, Sequence[Any] | str], Path]

PASSAGE = "The parcel came two days late."
CONLL = "In O\nRome B-LOC\nItaly I-LOC\n\n"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, rows: Sequence[Any] | str) -> Path:
        path = tmp_path / name
        lines = rows if isinstance(rows, str) else "".join(f"{json.dumps(row)}\n" for row in rows)
        path.write_text(lines, encoding="utf-8")
        return path

    return write


def line_of(path: Path, **choices: Any) -> str:
    """The error line, with the file's name in place of its path."""
    with pytest.raises(DataError) as error:
        read_labelled(path, Recipe(**choices), lambda _: None)
    line = str(error.value)
    assert "\n" not in line
    return line.replace(str(path), path.name)


def answers(*given: Any) -> list[dict[str, Any]]:
    return [{"question": "How late?", "context": PASSAGE, "answers": answer} for answer in given]


def at(text: str, start: int) -> dict[str, Any]:
    return {"text": text, "answer_start": start}


def options(*answers: Any) -> list[dict[str, Any]]:
    return [{"context": "c", "question": "q", "options": ["x", "y"], "answer": a} for a in answers]


@pytest.mark.parametrize(
    ("name", "rows", "line"),
    [
        (
            "empty.csv",
            "review,stars\ngood,5\n  ,1\nbad,1\n",
            "empty.csv:3:review: text is empty (correct it, or leave it out with --skip-bad)",
        ),
        (
            "three.csv",
            "review,stars\ngood,5\n,1\nbad,\n,5\n",
            "three.csv:3:review: text is empty; 2 more bad rows: 4, 5 "
            "(correct them, or leave them out with --skip-bad)",
        ),
        (
            "many.csv",
            "text,label\ngood,5\nbad,1\n" + "so so,\n" * 9,
            "many.csv:4:label: no label; 8 more bad rows: 5, 6, 7, 8, … "
            "(leave such rows out with --skip-bad)",
        ),
        (
            "null.jsonl",
            [{"text": "a b", "label": 1}, {"text": None, "label": 0}, {"text": "c", "label": 0}],
            "null.jsonl:2:text: no text (correct it, or leave it out with --skip-bad)",
        ),
        (
            "pair.csv",
            "premise,hypothesis,label\na b,,0\nc,d,1\n",
            "pair.csv:2:hypothesis: pair is empty (correct it, or leave it out with --skip-bad)",
        ),
        (
            "number.csv",
            "text,score\n" + "a b,0.5\nc d,1.25\n" * 9 + "e f,n/a\n",
            "number.csv:20:score: label 'n/a' is not a number "
            "(correct it, or leave such rows out with --skip-bad)",
        ),
        (
            "nli.jsonl",
            [{"premise": "a", "hypothesis": "b", "label": x} for x in ("no", "yes", "-", "yes")],
            "nli.jsonl:3: label '-' stands for no label (leave such rows out with "
            "--skip-bad, or rename the label if it is one)",
        ),
        (
            "iob.conll",
            CONLL + "in O\nthe O\nCity I-LOC\n\n" + CONLL + "To I-LOC\n\n",
            "iob.conll:5: illegal IOB2 sequence: I-LOC after O at 'City', word 3; 1 more bad "
            "rows: 13 (correct the tags, or leave such sentences out with --skip-bad)",
        ),
        (
            "bioes.conll",
            "In O\nRome S-LOC\n\nNew B-LOC\nYork I-LOC\n. O\nUp E-LOC\n\nA B-X\nB E-X\n\n",
            "bioes.conll:4: illegal BIOES sequence: O after I-LOC at '.', word 3, and 1 more in "
            "this sentence (correct the tags, or leave such sentences out with --skip-bad)",
        ),
        (
            "tags.jsonl",
            [{"tokens": ["a", "b"], "tags": ["O"]}, {"tokens": ["a"], "tags": ["B-X"]}],
            "tags.jsonl:1:tags: 1 tags for 2 words (each word needs one tag)",
        ),
        (
            "spans.jsonl",
            [
                {"text": "in New York", "entities": [[3, 11, "LOC"], [7, 11, "ORG"]]},
                {"text": "in Rome", "entities": [[3, 17, "LOC"]]},
                {"text": "Rome", "entities": [[0, 4, "LOC"]]},
            ],
            "spans.jsonl:1:entities: overlapping spans: 'New York' LOC and 'York' ORG; 1 more "
            "bad rows: 2 (a word gets one tag: keep one of them, or leave such rows out with "
            "--skip-bad)",
        ),
        (
            "cluener.jsonl",
            [{"text": "in Rome", "label": {"city": {"Rome": [[n, n + 3]]}}} for n in (2, 3)],
            "cluener.jsonl:1:label: span 2:5 'city' is ' Rom' in the text, and 'Rome' by its own "
            "text (correct its place, or leave such rows out with --skip-bad)",
        ),
        (
            "shifted.jsonl",
            answers([at("two days", 7)], [at("late", 25)], []),
            "shifted.jsonl:1:answers: answer 'two days' is not at character 7 of the passage, it "
            "is at 16 (correct answer_start, or leave such questions out with --skip-bad)",
        ),
        (
            "nowhere.jsonl",
            answers([at("late", 25)], ["three days"]),
            "nowhere.jsonl:2:answers: answer 'three days' is nowhere in the passage "
            "(an answer is a part of the passage, to the letter; --skip-bad leaves others out)",
        ),
        (
            "right.jsonl",
            options(0, "z", 2, "B"),
            "right.jsonl:2:answer: answer 'z' is none of the 2 options; 1 more bad rows: 3 "
            "(an answer is an option's text, its position counted from 0, or its letter)",
        ),
    ],
    ids=lambda value: (
        value if isinstance(value, str) and "." in value[:15] and len(value) < 20 else ""
    ),
)
def test_error_shows_the_first_bad_row_and_counts_the_others(
    name: str, rows: Sequence[Any] | str, line: str, write: Write
) -> None:
    path = write(name, rows)
    assert line_of(path) == line
    remarks: list[str] = []
    _, _, kept = read_labelled(path, Recipe(skip_bad=True), remarks.append)
    assert kept
    assert "left out" in remarks[-1]


def test_error_in_a_nested_file_names_the_question_id(write: Write) -> None:
    questions = [
        {"id": "q1", "question": "How late?", "answers": [at("late", 4)]},
        {"id": "q2", "question": "", "answers": []},
        {"id": "q3", "question": "What?", "answers": [at("parcel", 4)]},
    ]
    paragraphs = [{"context": PASSAGE, "qas": questions}]
    path = write("squad.json", json.dumps({"data": [{"paragraphs": paragraphs}]}))
    assert line_of(path) == (
        "squad.json:q1: answer 'late' is not at character 4 of the passage, it is at 25; 1 more "
        "bad rows: q2 (correct answer_start, or leave such questions out with --skip-bad)"
    )


def test_answer_text_absent_from_the_passage_is_kept_for_scoring(write: Write) -> None:
    given = [at("2 days", -1), at("two days", 16)]
    _, _, rows = read_labelled(write("a.jsonl", answers(given)), Recipe(), lambda _: None)
    assert [(gold.text, gold.start) for gold in rows[0].answers] == [
        ("2 days", None),
        ("two days", 16),
    ]


def test_minus_is_a_class_if_plus_is_one(write: Write) -> None:
    rows = [{"text": "a b", "label": label} for label in ("+", "-", "0")]
    _, _, kept = read_labelled(write("a.jsonl", rows), Recipe(), lambda _: None)
    assert [row.label for row in kept] == ["+", "-", "0"]


@pytest.mark.parametrize(("dashes", "n_bad"), [(3, 0), (4, 4)])
def test_few_rows_with_a_dash_are_left_out_and_many_refused(
    write: Write, dashes: int, n_bad: int
) -> None:
    """A tenth of the rows is the limit; either way they are counted."""
    labels = ["no", "yes", "maybe"] * 9 + ["-"] * dashes
    rows = [{"text": f"row {i}", "label": label} for i, label in enumerate(labels)]
    table = read_table(write("rows.jsonl", rows))
    found = read_rows(Classify, table, Layout({"text": "text", "label": "label"}))
    assert (len(found), found.n_bad) == (27, n_bad)
    why = "label '-' stands for no label; rename it if it is one"
    assert found.remarks == ([] if n_bad else [f"3 rows: left out, {why}, the first at line 28"])


@pytest.mark.parametrize(
    ("labels", "n_bad"), [([-1, 0, 1], 0), ([-1, 0, 1, 2], 1), ([-2, -1, 0, 1, 2], 0)]
)
def test_minus_one_means_unlabelled_before_three_or_more_classes(
    labels: list[int], n_bad: int, write: Write
) -> None:
    rows = [{"text": "a b", "label": label} for label in labels]
    path = write("a.jsonl", rows)
    _, _, kept = read_labelled(path, Recipe(skip_bad=True), lambda _: None)
    assert len(rows) - len(kept) == n_bad


def test_data_with_a_single_class_or_number_is_refused(write: Write, tokenizer: Tokenizer) -> None:
    path = write("a.csv", "text,label\na b,yes\nc d,yes\n")
    _, _, rows = read_labelled(path, Recipe(), lambda _: None)
    with pytest.raises(DataError) as error:
        Classify.fit(rows, tokenizer, Recipe(), 64)
    assert str(error.value) == (
        f"{path}: one class only: every row has 'yes' "
        "(two or more are needed; does --label name the right column?)"
    )
    path = write("b.csv", "text,label\na b,0.5\nc d,0.5\n")
    _, _, rows = read_labelled(path, Recipe(), lambda _: None)
    with pytest.raises(DataError, match=r"one number only: every row has 0\.5"):
        Regress.fit(rows, tokenizer, Recipe(), 64)


def test_dev_labels_missing_from_training_are_refused(write: Write, tokenizer: Tokenizer) -> None:
    train = write("train.csv", "text,label\na b,good\nc d,bad\n")
    dev = write("dev.csv", "text,label\na b,good\nc d,Good\ne f,awful\ng h,Good\n")
    _, layout, rows = read_labelled(train, Recipe(), lambda _: None)
    task = Classify.fit(rows, tokenizer, Recipe(), 64)
    _, _, dev_rows = read_labelled(dev, Recipe(), lambda _: None, kind=Classify, layout=layout)
    with pytest.raises(DataError) as error:
        task.encode(dev_rows, tokenizer, labelled=True)
    assert str(error.value) == (
        f"{dev}:3: label 'Good' does not occur in the training rows, nor do 'awful' "
        "(did you mean 'good'? training has bad, good)"
    )
    assert gold_ids(rows, task.labels).tolist() == [1, 0]


class Tidied(Classify):
    """Leaves out rows that somebody crossed out, and removes the stars of others."""

    @classmethod
    def row(cls, values: Mapping[str, Any], place: Place, labelled: bool) -> TextRow:
        if values["label"] == "x":
            raise LeftOutError("crossed out", place=place)
        return Classify.row(values, place, labelled)

    @classmethod
    def repairs(cls, row: TextRow) -> Iterable[str]:
        return ["its star removed"] if row.text.startswith("*") else []


def test_repaired_rows_and_rows_left_out_are_told_with_their_number(write: Write) -> None:
    layout = Layout({"text": "text", "label": "label"})
    rows = [("*a", "1"), ("b", "x"), ("*c", "2"), ("d", "x"), ("e", "1")]
    path = write("rows.jsonl", [{"text": text, "label": label} for text, label in rows])
    said: list[str] = []
    found = usable_rows(Tidied, read_table(path), layout, Recipe(), said.append)
    assert [row.text for row in found] == ["*a", "*c", "e"]
    assert said == [
        "rows.jsonl: 2 rows: its star removed, the first at line 1",
        "rows.jsonl: 2 rows: left out, crossed out, the first at line 2",
    ]
    assert list(found) == list(found), "each iteration leaves out the same rows"
    assert found.remarks[0].startswith("2 rows"), "counted once, not in every iteration"


def test_file_of_rows_left_out_is_refused_with_the_reason(write: Write) -> None:
    path = write("rows.jsonl", [{"text": "a", "label": "x"}])
    layout = Layout({"text": "text", "label": "label"})
    with pytest.raises(DataError, match=r"no rows that can be used \(1 row: left out, crossed out"):
        usable_rows(Tidied, read_table(path), layout, Recipe(), lambda _: None)


def test_remark_names_the_first_question_by_its_id(tmp_path: Path) -> None:
    first = {"id": "plain", "question": "who?", "answers": [{"text": "Ada", "answer_start": 0}]}
    spaced = {"id": "spaced", "question": "who?", "answers": [{"text": " Ada", "answer_start": 0}]}
    paragraph = {"context": "Ada wrote it.", "qas": [first, spaced]}
    path = tmp_path / "squad.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [paragraph]}]}), encoding="utf-8")
    told: list[str] = []
    read_labelled(path, Recipe(), told.append)
    assert any(remark.endswith("the first at spaced") for remark in told)
