"""How files write labels: whatever the form, each row gets its own labels, or is a bad row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onelayer.base.errors import DataError, UsageError
from onelayer.data.label_form import LabelForm, list_in
from onelayer.data.layout import Layout
from onelayer.data.readers import read_table
from onelayer.evaluation.evaluate import labelled_rows
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns, Recipe
from onelayer.tasks.classify.classify import Classify
from onelayer.tasks.classify.gold_labels import gold_ids, gold_sets
from onelayer.tasks.labelled import open_labelled, read_labelled, usable_rows
from onelayer.tasks.tag.tag import Tag
from onelayer.tokens.tokenizer import Tokenizer
from support.from_tokens import FromTokens

NO_ONE = "where each row has one"


def write(path: Path, labels: Sequence[Any]) -> Path:
    rows = (json.dumps({"text": f"the cat {i}", "label": it}) for i, it in enumerate(labels))
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


def read(folder: Path, labels: Sequence[Any], **choices: Any) -> tuple[list[Any], list[str]]:
    """The labels of all rows as they are learned, and the remarks."""
    remarks: list[str] = []
    path = write(folder / "a.jsonl", labels)
    _, _, rows = read_labelled(path, Recipe(task="classify", **choices), remarks.append)
    return [row.label for row in rows], remarks


def refusal(folder: Path, labels: Sequence[Any], **choices: Any) -> str:
    with pytest.raises((DataError, UsageError)) as error:
        read(folder, labels, **choices)
    return str(error.value)


def one_label_model(folder: Path, tokenizer: Tokenizer) -> Predictor:
    """A random model of the classes bad and good, from a file with a label a row."""
    path = write(folder / "train.jsonl", ["bad", "good"])
    kind, layout, rows = read_labelled(path, Recipe(), lambda _: None)
    task = kind.fit(rows, tokenizer, Recipe(), 64)
    return Predictor(task, tokenizer, FromTokens(2), layout)


# One label a row -------------------------------------------------------------------------------


def test_lists_of_one_label_score_as_plain_labels_do(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = one_label_model(tmp_path, tokenizer)
    labels = ["bad", "good", "good", "bad", "good"] * 4

    def scores(written: Sequence[Any]) -> dict[str, float]:
        file = write(tmp_path / "eval.jsonl", written)
        return model.evaluate(labelled_rows(model, file, Columns(), lambda _: None))()

    assert scores([[label] for label in labels]) == scores(labels)
    assert scores([f"['{label}']" for label in labels]) == scores(labels)


@pytest.mark.parametrize("wrong", [[], ["bad", "good"]])
def test_row_with_no_or_two_labels_is_never_scored_by_a_one_label_model(
    wrong: list[str], tmp_path: Path, tokenizer: Tokenizer
) -> None:
    model = one_label_model(tmp_path, tokenizer)
    labels = [["bad"], wrong, ["good"], ["bad"]]
    file = write(tmp_path / "eval.jsonl", labels)
    with pytest.raises(DataError, match=rf"eval.jsonl:2:label: (no|2) labels {NO_ONE}"):
        labelled_rows(model, file, Columns(), lambda _: None)
    rows = labelled_rows(model, file, Columns(skip_bad=True), lambda _: None)
    assert isinstance(model.task, Classify)
    assert gold_ids(rows, model.task.labels).tolist() == [0, 1, 0]


def test_gold_labels_have_a_line_for_each_row(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [[], ["b", "a"], ["b"]])
    _, _, rows = read_labelled(path, Recipe(), lambda _: None)
    expected = np.array([[0, 0], [1, 1], [0, 1]], np.bool_)
    assert np.array_equal(gold_sets(rows, ("a", "b")), expected)
    with pytest.raises(DataError, match=r"a\.jsonl:1: no label, and the model gives one a row"):
        gold_ids(rows, ("a", "b"))


def test_training_on_one_label_a_row_refuses_lists_of_none_or_several(tmp_path: Path) -> None:
    labels = [["a"], ["b"], [], ["a", "b"]]
    assert read(tmp_path, labels)[0] == [("a",), ("b",), (), ("a", "b")]
    said = refusal(tmp_path, labels, multi_label=False)
    assert f":3:label: no labels {NO_ONE}; 1 more bad rows: 4" in said
    kept, _ = read(tmp_path, labels, multi_label=False, skip_bad=True)
    assert kept == ["a", "b"]


def test_lists_of_one_label_each_are_one_label_a_row(tmp_path: Path) -> None:
    labels, remarks = read(tmp_path, [["a"], ["b"]])
    assert labels == ["a", "b"]
    assert any("each list in label has one label" in remark for remark in remarks)
    assert read(tmp_path, [["a"], ["b"]], multi_label=True)[0] == [("a",), ("b",)]
    assert read(tmp_path, ["a", "b"], multi_label=True)[0] == [("a",), ("b",)]


# What is no name -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "says"),
    [
        (["a", None], "a list with a null"),
        (["a", ["b"]], "a list of lists"),
        ([{"name": "a"}], "a list of objects"),
        ([1, 2.5], "a list of fractions"),
        (["a", " "], "a list with an empty name"),
        ({"name": "a"}, "an object"),
        ({"a": 0.3, "b": 0.7}, "soft labels"),
        (None, "no label"),
        (float("nan"), "no label"),
    ],
)
def test_value_that_is_no_name_makes_a_bad_row(label: Any, says: str, tmp_path: Path) -> None:
    before: list[Any] = [["a", "b"], ["b"], ["a"]] if isinstance(label, list) else ["a", "b", "a"]
    labels = [*before, label]
    said = refusal(tmp_path, labels)
    assert ":4:label: " in said
    assert says in said
    assert len(read(tmp_path, labels, skip_bad=True)[0]) == 3


def test_soft_labels_are_refused_by_their_name(tmp_path: Path) -> None:
    said = refusal(tmp_path, [[0.2, 0.8], [0.9, 0.1]])
    assert "'label' holds soft labels, a share for each class: [0.2, 0.8]" in said
    assert "soft labels" in refusal(tmp_path, ["[0.2, 0.8]", "[0.9 0.1]"])


# Multi-hot -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        [[1, 0, 1], [0, 0, 0], [0, 1, 0]],
        [[1.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]],
        [[True, False, True], [False, False, False], [False, True, False]],
        ["[1, 0, 1]", "[0, 0, 0]", "[0, 1, 0]"],
        ["[1 0 1]", "[0 0 0]", "[0 1 0]"],
    ],
)
def test_multi_hot_lists_are_labels_called_by_their_position(
    labels: list[Any], tmp_path: Path
) -> None:
    found, remarks = read(tmp_path, labels)
    assert found == [("0", "2"), (), ("1",)]
    assert any("which of 3 labels a row has" in remark for remark in remarks)


def test_multi_hot_list_of_another_length_is_a_bad_row(tmp_path: Path) -> None:
    file = write(tmp_path / "a.jsonl", [[1, 0, 1], [0, 1, 0]])
    kind, layout, _ = open_labelled(file, Recipe(), lambda _: None)
    other = write(tmp_path / "b.jsonl", [[1, 0, 1], [0, 1], [0, 1, 7]])
    kind, layout, table = open_labelled(other, Recipe(), lambda _: None, kind=kind, layout=layout)
    with pytest.raises(DataError, match=r"b.jsonl:2:label: 3 numbers 0 or 1 .* \[0, 1\]; 1 more"):
        usable_rows(kind, table, layout, Recipe(), lambda _: None)


def test_object_of_flags_gives_the_names_of_its_ones(tmp_path: Path) -> None:
    labels = [{"good": 1.0, "bad": 0.0}, {"good": 0, "bad": 1}]
    assert read(tmp_path, labels)[0] == ["good", "bad"]
    assert read(tmp_path, [*labels, {"good": 1, "bad": 1}])[0][2] == ("good", "bad")


# Lists as text, and separators -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("['a', 'b']", ["a", "b"]),
        ('["a"]', ["a"]),
        ("[a, b c]", ["a", "b c"]),
        ("['a' 'b']", ["a", "b"]),
        ("[]", []),
        ("[1 0]", [1, 0]),
        ("a, b", None),
        ("[a] b", None),
        ("[[a], [b]]", None),
    ],
)
def test_lists_written_as_text_are_read(text: str, expected: list[Any] | None) -> None:
    assert list_in(text) == expected


def test_words_separated_by_spaces_are_labels_if_each_occurs_alone(tmp_path: Path) -> None:
    several = ["rude", "spam", "rude spam", "threat", "rude threat", "rude spam threat"]
    assert read(tmp_path, several)[0][2] == ("rude", "spam")
    names = ["credit card", "card fee", "card", "credit card", "card fee"]
    assert read(tmp_path, names)[0] == names


# A column for each label -----------------------------------------------------------------------


def test_columns_of_flags_give_each_row_its_own_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,joy,awe\nthe cat,1,0\na cat,0,0\nbad,1,1\ngood,2,0\nbad,0,\n")
    recipe = Recipe(label="joy,awe", skip_bad=True)
    said: list[str] = []
    _, _, rows = read_labelled(path, recipe, said.append)
    assert [row.label for row in rows] == [("joy",), (), ("joy", "awe")]
    with pytest.raises(DataError, match=r"a\.csv:5:label: joy is '2', not 0 or 1; 1 more"):
        read_labelled(path, Recipe(label="joy,awe"), said.append)


def test_columns_with_one_flag_a_row_are_one_label_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = [{"text": f"a cat {i}", "joy": i % 2 == 0, "awe": i % 2 == 1} for i in range(4)]
    path.write_text("\n".join(map(json.dumps, lines)))
    _, _, rows = read_labelled(path, Recipe(label="joy,awe"), lambda _: None)
    assert [row.label for row in rows] == ["joy", "awe"] * 2


# fastText --------------------------------------------------------------------------------------


def test_fasttext_lines_give_text_and_labels(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text(
        "__label__good  a  good cat\n\n__label__good __label__loud the __cat\n"
        "__label__bad\tbad __label__loud\n"
    )
    found = [(row.line, row.values) for row in read_table(path)]
    assert found == [
        (1, {"text": "a  good cat", "label": "good"}),
        (3, {"text": "the __cat", "label": ["good", "loud"]}),
        (4, {"text": "bad", "label": ["bad", "loud"]}),
    ]
    _, _, rows = read_labelled(path, Recipe(), lambda _: None)
    assert [row.label for row in rows] == [("good",), ("good", "loud"), ("bad", "loud")]


# Numbers with names ----------------------------------------------------------------------------


def test_numbers_stand_for_names() -> None:
    form = LabelForm(names=("bad", "good"), several=False)
    assert [form.read(value) for value in (0, "1", 1.0, "bad", -1, 7)] == [
        *("bad", "good", "good", "bad", None, 7)
    ]
    tags = LabelForm(names=("O", "B-X"))
    assert tags.read([0, 1, -100]) == ["O", "B-X", -100]


def test_file_without_names_is_read_by_those_of_the_training_file() -> None:
    theirs = LabelForm(names=("bad", "good"), several=False)
    assert LabelForm(several=True).or_else(theirs) == theirs


def test_separated_flags_are_labels_called_by_their_position(tmp_path: Path) -> None:
    assert read(tmp_path, ["1,0,1", "0,0,0", "0,1,0"])[0] == [("0", "2"), (), ("1",)]
    assert read(tmp_path, ["1 0", "0 1", "1 1"])[0] == [("0",), ("1",), ("0", "1")]


def test_empty_parts_of_a_field_are_no_labels(tmp_path: Path) -> None:
    assert read(tmp_path, ["joy;", "awe;joy", "awe"])[0] == [("joy",), ("awe", "joy"), ("awe",)]


def test_names_that_look_like_several_labels_are_remarked_on(tmp_path: Path) -> None:
    labels, remarks = read(tmp_path, ["a;b", "c;d", "e"])
    assert labels == ["a;b", "c;d", "e"]
    said = "'a;b' in label is one label; --multi-label separates it at ';'"
    assert any(said in remark for remark in remarks)


def test_nested_list_of_one_is_no_label(tmp_path: Path) -> None:
    assert "a list of lists" in refusal(tmp_path, [[["a", "b"]], ["a"], ["b"]])
    assert "a list of objects" in refusal(tmp_path, [[{"name": "a"}], ["a"], ["b"]])


# Spans and tags --------------------------------------------------------------------------------


def test_tags_of_another_scheme_are_refused_in_place_of_a_score_of_zero(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    rows = []
    for name, tags in (("train", ["O", "B-X"]), ("eval", [0, 1])):
        path = tmp_path / f"{name}.jsonl"
        path.write_text(json.dumps({"tokens": ["the", "cat"], "tags": tags}), encoding="utf-8")
        rows.append(read_labelled(path, Recipe(task="tag"), lambda _: None)[2])
    model = Tag.fit(rows[0], tokenizer, Recipe(), 64)
    predictor = Predictor(model, tokenizer, FromTokens(2), Layout({"text": "tokens"}))
    with pytest.raises(DataError, match="'0' is no IOB2 tag, as the model's are"):
        model.score(rows[1], predictor.predict_rows(rows[1]))


def test_spans_are_scored_against_tags_without_prefixes(
    tmp_path: Path, tokenizer: Tokenizer
) -> None:
    lines = [{"tokens": ["the", "cat"], "tags": ["DET", "NOUN"]}] * 3
    path = tmp_path / "train.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    _, _, rows = read_labelled(path, Recipe(), lambda _: None)
    model = Tag.fit(rows, tokenizer, Recipe(), 64)
    path = tmp_path / "eval.jsonl"
    spans = {"text": "the cat", "entities": [[0, 3, "DET"], [4, 7, "NOUN"]]}
    path.write_text(json.dumps(spans), encoding="utf-8")
    _, _, gold = read_labelled(path, Recipe(), lambda _: None)
    predictor = Predictor(model, tokenizer, FromTokens(2), Layout({"text": "text"}))
    said = predictor.predict_rows(gold)[0]
    right = sum(a == b for a, b in zip(said.tags, ("DET", "NOUN"), strict=True))
    assert model.score(gold, [said])()["accuracy"] == right / 2
