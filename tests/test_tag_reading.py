"""Words with a tag each are read in the shapes and notations that files have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onelayer.base.errors import Place
from onelayer.data.label_form import LabelForm
from onelayer.data.layout import Layout
from onelayer.data.readers import read_table
from onelayer.data.rows import Rows, read_rows
from onelayer.tasks.infer_columns import infer_columns
from onelayer.tasks.tag.notation import notation_of
from onelayer.tasks.tag.tag import Tag

WORDS = [["Ann", "Lee", "ran"], ["to", "Ulm"], ["Bo", "met", "Ann", "Lee"]]
TAGS = [["B-PER", "I-PER", "O"], ["O", "B-LOC"], ["B-PER", "O", "B-PER", "I-PER"]]


def rows_and_remarks(path: Path) -> tuple[Rows, str]:
    table = read_table(path)
    found = infer_columns(table, task=None, asked={})
    assert found.kind is Tag
    rows = read_rows(found.kind, table, found.layout)
    return rows, "\n".join((*found.remarks, *rows.remarks))


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def numpy_text(items: list[str]) -> str:
    return "[" + " ".join(map(repr, items)) + "]"


@pytest.mark.parametrize(
    ("name", "mark", "written"),
    [
        ("python.csv", ";", lambda items: str(items)),
        ("json.csv", ";", lambda items: '"' + json.dumps(items).replace('"', '""') + '"'),
        ("numpy.csv", ";", numpy_text),
        ("spaces.csv", ",", " ".join),
        ("ernie.tsv", "\t", "\x02".join),
    ],
)
def test_text_of_as_many_words_as_tags_is_tagged(
    tmp_path: Path, name: str, mark: str, written: Any
) -> None:
    lines = [f"{written(w)}{mark}{written(t)}" for w, t in zip(WORDS, TAGS, strict=True)] * 4
    path = tmp_path / name
    path.write_text(f"text{mark}label\n" + "\n".join(lines) + "\n")
    rows, _ = rows_and_remarks(path)
    assert [row.tags for row in rows] == list(map(tuple, TAGS)) * 4
    assert [[row.text[a:b] for a, b in row.words] for row in rows] == WORDS * 4


def test_tags_may_be_parted_by_commas(tmp_path: Path) -> None:
    lines = [f"{' '.join(w)};{','.join(t)}" for w, t in zip(WORDS, TAGS, strict=True)] * 4
    path = tmp_path / "rows.csv"
    path.write_text("sentence;word_labels\n" + "\n".join(lines) + "\n")
    rows, _ = rows_and_remarks(path)
    assert [row.tags for row in rows] == list(map(tuple, TAGS)) * 4


def test_chinese_text_has_a_tag_for_each_character(tmp_path: Path) -> None:
    row = {"text": "李梅去广州", "labels": ["B-PER", "I-PER", "O", "B-LOC", "I-LOC"]}
    rows, _ = rows_and_remarks(jsonl(tmp_path / "a.jsonl", [row] * 3))
    (first, *_) = rows
    assert first.words == tuple((i, i + 1) for i in range(5))
    assert first.tags == tuple(row["labels"])


def test_list_as_text_is_words_for_predict_where_the_training_file_has_lists() -> None:
    layout = Layout({"text": "words"}, LabelForm(written=True))
    values = layout.values({"words": "['Ann', 'ran']"})
    assert Tag.row(values, Place("x.csv", 1), labelled=False).text == "Ann ran"


@pytest.mark.parametrize("text", ["['Ann', 'ran']", "Ann\x02ran"])
def test_running_text_that_looks_like_a_list_stays_a_text(text: str) -> None:
    row = Tag.row({"text": text}, Place("x.csv", 1), labelled=False)
    assert row.text == text


def test_several_labels_of_a_text_are_no_tags(tmp_path: Path) -> None:
    texts = ["one two", "a b c", "d e", "f g h i"]
    rows = [{"text": text, "labels": ["x", "y"]} for text in texts] * 3
    table = read_table(jsonl(tmp_path / "a.jsonl", rows))
    assert infer_columns(table, task=None, asked={}).kind is not Tag


@pytest.mark.parametrize(
    ("tags", "expected", "remark"),
    [
        (["b-per", "i-per", "o"], ["B-per", "I-per", "O"], "like b-per"),
        (["B-PER", "I-PER", "0"], ["B-PER", "I-PER", "O"], "the tag '0' is read as O"),
        (["B-PER", "I-PER", "OTHER"], ["B-PER", "I-PER", "O"], "the tag 'OTHER' is read as O"),
        (["B_PER", "I_PER", "O"], ["B-PER", "I-PER", "O"], "like B_PER"),
        (["PER-B", "PER-I", "O"], ["B-PER", "I-PER", "O"], "like PER-B"),
    ],
)
def test_other_notations_of_tags_are_recognised(
    tmp_path: Path, tags: list[str], expected: list[str], remark: str
) -> None:
    begin, inside, outside = tags
    lines = f"Ann {begin}\nLee {inside}\nran {outside}\nto {outside}\n.\t{outside}\n\n"
    path = tmp_path / "a.conll"
    path.write_text(lines.replace("\t", " ") * 4)
    rows, remarks = rows_and_remarks(path)
    assert {row.tags for row in rows} == {(*expected, "O", "O")}
    assert remark in remarks


def test_zero_among_tags_with_o_is_o_too(tmp_path: Path) -> None:
    rows = [{"tokens": ["Ann", "ran"], "tags": ["B-PER", tag]} for tag in ("O", "0", "o", "O")]
    read, remarks = rows_and_remarks(jsonl(tmp_path / "a.jsonl", rows * 3))
    assert {row.tags for row in read} == {("B-PER", "O")}
    assert "the tag '0' is read as O" in remarks


def test_tags_with_and_without_prefixes_are_told(tmp_path: Path) -> None:
    rows = [{"tokens": ["Ann", "Lee", "ran"], "tags": ["B-PER", "I-PER", "X"]}] * 3
    rows += [{"tokens": ["Ulm", "is", "old"], "tags": ["LOC", "O", "O"]}] * 3
    _, remarks = rows_and_remarks(jsonl(tmp_path / "a.jsonl", rows))
    assert "LOC, X without a prefix such as B-: each word is scored by itself" in remarks


@pytest.mark.parametrize(
    "tags", [["NOUN", "VERB", "ADV"], ["B-PER", "O"], ["PER", "O"], ["B-PER", "X", "Y"], []]
)
def test_usual_tags_and_parts_of_speech_stay_as_they_are(tags: list[str]) -> None:
    notation = notation_of(tags * 3)
    assert notation is None or notation.remark is None


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tokens": ["Ann", None], "tags": ["O", "O"]}, "word 2 is null, not a text"),
        ({"tokens": ["Ann", ["x"]], "tags": ["O", "O"]}, 'word 2 is ["x"], not a text'),
        ({"tokens": ["Ann", True], "tags": ["O", "O"]}, "word 2 is true"),
        ({"tokens": ["Ann", "ran"], "tags": ["O", None]}, "the tag of word 2 is null"),
        ({"tokens": ["Ann", "ran"], "tags": [["O"], "O"]}, 'the tag of word 1 is ["O"]'),
        ({"tokens": ["Ann", "ran"], "tags": ["O", ""]}, "the tag of word 2 is empty"),
        ({"tokens": ["Ann", "ran"], "tags": ["O", 0.5]}, "the tag of word 2 is 0.5"),
        ({"tokens": ["Ann", "ran"], "tags": ["O"]}, "1 tags for 2 words"),
        ({"tokens": ["Ann"], "tags": [{"start": 0, "end": 1}]}, "entities of a list of words"),
        ({"tokens": ["Ann", "ran"], "tags": None}, "no tags"),
        ({"tokens": [], "tags": []}, "a sentence without words"),
    ],
)
def test_what_is_no_word_or_tag_is_a_bad_row(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    good = {"tokens": ["Ann", "ran"], "tags": ["B-PER", "O"]}
    rows, _ = rows_and_remarks(jsonl(tmp_path / "a.jsonl", [good] * 5 + [row]))
    assert len(rows) == 5
    assert message in str(rows.bad[0])


def test_ignored_tokens_are_left_out_and_parts_of_words_joined(tmp_path: Path) -> None:
    row = {"tokens": ["[CLS]", "Ann", "##e", "ran", "[SEP]"], "tags": [-100, 1, -100, 0, -100]}
    rows, remarks = rows_and_remarks(jsonl(tmp_path / "a.jsonl", [row, row]))
    assert [(row.text, row.tags) for row in rows] == [("Anne ran", ("1", "0"))] * 2
    assert "2 rows: tokens tagged -100 are no words, and are left out" in remarks


def test_empty_list_of_words_can_be_predicted() -> None:
    from onelayer.base.errors import Place

    row = Tag.row({"text": []}, Place("x.jsonl", 1), labelled=False)
    assert (row.text, row.words) == ("", ())
