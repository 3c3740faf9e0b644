"""The folds of cross-validation: which rows are held out together, and which never are."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onelayer.base.errors import Place
from onelayer.data.equal_texts import split_key
from onelayer.tasks import AnswerTask, AnyTask, Classify, Regress, Tag
from onelayer.tasks.answer.answer_rows import AnswerRow
from onelayer.tasks.tag.tag_rows import TagRow
from onelayer.tasks.texts import TextRow
from onelayer.training.folds import (
    FOLDS,
    MAX_ROWS_FOR_FOLDS,
    NO_FOLD,
    folds_for,
    remarks_on_folds,
    split_folds,
)
from onelayer.training.split import SplitKeys

HERE = Place("rows.jsonl")


def folds_of(
    kind: type[AnyTask], rows: list[Any], n: int = 4, seed: int = 1
) -> tuple[list[int], str]:
    """The fold of each row, and what is remarked on them."""
    keys = SplitKeys(kind)
    for row in rows:
        keys.add(row)
    usable = np.ones(len(rows), np.bool_)
    folds = split_folds(keys, usable, n, seed=seed)
    return folds.tolist(), "\n".join(remarks_on_folds(keys, usable, folds))


def texts(labels: Any, words: str = "text") -> list[TextRow]:
    return [TextRow(f"{words} {i}", None, label, HERE) for i, label in enumerate(labels)]


def question(passage: int, number: int) -> AnswerRow:
    return AnswerRow(f"q{number}", f"who {number}?", f"passage {passage}", (), HERE)


def test_few_rows_are_cross_validated_and_many_are_not() -> None:
    assert folds_for(MAX_ROWS_FOR_FOLDS - 1, None) == FOLDS
    assert folds_for(MAX_ROWS_FOR_FOLDS, None) == 0
    assert folds_for(10, 0) == 0
    assert folds_for(100_000, 3) == 3


def test_every_label_is_spread_evenly() -> None:
    labels = ["a"] * 41 + ["b"] * 22 + ["c"] * 4 + ["d"] * 2
    folds, said = folds_of(Classify, texts(labels))
    for label in "abcd":
        own = Counter(f for f, one in zip(folds, labels, strict=True) if one == label)
        counts = [own[i] for i in range(4)]
        assert max(counts) - min(counts) <= 1, label
    assert max(Counter(folds).values()) - min(Counter(folds).values()) <= 1
    assert said.startswith("69 rows, cross-validated in 4 folds: each is scored by a model of the")


@given(
    found=st.lists(st.tuples(st.integers(0, 9), st.sampled_from("abc")), min_size=2, max_size=40),
    n=st.integers(2, 6),
    seed=st.integers(0, 3),
)
def test_equal_texts_are_held_out_together_and_no_label_is_missed(
    found: list[tuple[int, str]], n: int, seed: int
) -> None:
    # A text has one label here, else its group has several classes, which may not all fit.
    labels = dict(found)
    rows = [TextRow(f"text {text}", None, labels[text], HERE) for text, _ in found]
    folds, _ = folds_of(Classify, rows, n, seed)
    groups = [split_key(Classify, row) for row in rows]
    together = len(set(zip(groups, folds, strict=True))) == len(set(groups))
    assert together or len(set(labels.values())) == len(labels)  # or each row is its own group
    for fold in set(folds) - {NO_FOLD}:
        learned = {row.label for row, its in zip(rows, folds, strict=True) if its != fold}
        assert learned == {row.label for row in rows}


def test_only_row_of_a_label_is_never_held_out() -> None:
    folds, said = folds_of(Classify, texts(["a"] * 5 + ["b"] * 5 + ["c"]))
    assert folds[-1] == NO_FOLD
    assert NO_FOLD not in folds[:-1]
    assert "1 row is held out by no fold, because no other texts have its class" in said


def test_one_row_of_each_label_can_not_be_scored() -> None:
    folds, said = folds_of(Classify, texts("abcdef"))
    assert set(folds) == {NO_FOLD}
    assert said.startswith("warning: 6 rows to train on, and none to hold out")


def test_fewer_rows_than_folds_make_a_fold_each() -> None:
    folds, said = folds_of(Regress, texts([1.0, 2.0, 3.0]), n=5)
    assert sorted(folds) == [0, 1, 2]
    assert "cross-validated in 3 folds" in said


def test_single_row_is_trained_on_without_a_score() -> None:
    folds, said = folds_of(Regress, texts([1.0]))
    assert folds == [NO_FOLD]
    assert said.startswith("warning: 1 row to train on, and none to hold out")


def test_questions_about_one_passage_are_held_out_together() -> None:
    rows = [question(passage, 10 * passage + i) for passage in range(6) for i in range(5)]
    folds, _ = folds_of(AnswerTask, rows, n=3)
    assert [len(set(folds[i : i + 5])) for i in range(0, 30, 5)] == [1] * 6
    assert Counter(folds) == {0: 10, 1: 10, 2: 10}


def test_questions_about_a_single_passage_can_not_be_scored() -> None:
    folds, said = folds_of(AnswerTask, [question(0, i) for i in range(20)])
    assert set(folds) == {NO_FOLD}
    assert "model of the other passages" in said


def test_rows_of_one_text_are_split_with_a_warning() -> None:
    rows = [TextRow("the same", None, float(i), HERE) for i in range(10)]
    folds, said = folds_of(Regress, rows)
    assert set(folds) == {0, 1, 2, 3}
    assert "10 rows have 1 distinct texts, too few to keep equal ones on one side" in said


@pytest.mark.parametrize("seed", range(5))
def test_tags_of_two_sentences_are_in_training_for_each_fold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = [f"B-{name}" for name in rng.choice(list("ABCDEFGH"), size=60, p=np.arange(1, 9) / 36)]
    tags = [(names[i], names[(7 * i) % 60]) for i in range(60)]
    rows = [TagRow(f"w{i:02} x", ((0, 3), (4, 5)), own, None, HERE) for i, own in enumerate(tags)]
    folds, _ = folds_of(Tag, rows, seed=seed)
    for fold in range(4):
        learned = [row for row, its in zip(rows, folds, strict=True) if its != fold]
        assert {x for row in learned for x in Tag.classes(row)} == set(names)


def test_same_seed_gives_the_same_folds() -> None:
    rows = texts("ab" * 30)
    assert folds_of(Classify, rows, seed=3) == folds_of(Classify, rows, seed=3)
    assert folds_of(Classify, rows, seed=3)[0] != folds_of(Classify, rows, seed=4)[0]
