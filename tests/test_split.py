"""The dev rows that training splits off: how many, their classes, and texts that stay together."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import compress
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onelayer.base.errors import Place
from onelayer.tasks import AnswerTask, AnyTask, Classify, Regress, Tag
from onelayer.tasks.answer.answer_rows import AnswerRow
from onelayer.tasks.tag.tag_rows import TagRow
from onelayer.tasks.texts import TextRow
from onelayer.training.split import SplitKeys, split_dev

HERE = Place("rows.jsonl")


def split(kind: type[AnyTask], found: list[Any], seed: int) -> tuple[list[Any], list[Any]]:
    """(training rows, dev rows)."""
    keys = SplitKeys(kind)
    for row in found:
        keys.add(row)
    dev = split_dev(keys, np.ones(len(found), np.bool_), seed=seed)
    sides = zip(found, dev, strict=True)
    return [row for row, is_dev in sides if not is_dev], list(compress(found, dev))


def test_dev_has_a_tenth_of_every_label() -> None:
    labels = ["a"] * 500 + ["b"] * 300 + ["c"] * 100 + ["d"] * 10 + ["e"]
    found = [TextRow(f"text {i}", None, label, HERE) for i, label in enumerate(labels)]
    train_rows, dev_rows = split(Classify, found, seed=1)
    assert Counter(row.label for row in dev_rows) == {"a": 50, "b": 30, "c": 10, "d": 1}
    assert "e" in {row.label for row in train_rows}  # an unseen label can't be learned
    assert sorted(map(id, train_rows + dev_rows)) == sorted(map(id, found))


def test_every_label_of_two_rows_is_in_dev() -> None:
    found = [TextRow(f"text {i}", None, f"label {i // 4}", HERE) for i in range(200)]
    train_rows, dev_rows = split(Classify, found, seed=1)
    assert Counter(row.label for row in dev_rows) == {f"label {i}": 1 for i in range(50)}
    assert len({row.label for row in train_rows}) == 50


def test_rare_label_is_in_dev() -> None:
    labels = ["fraud" if i % 200 == 100 else "ok" for i in range(600)]
    found = [TextRow(f"text {i}", None, label, HERE) for i, label in enumerate(labels)]
    for seed in range(5):
        train_rows, dev_rows = split(Classify, found, seed)
        assert Counter(row.label for row in dev_rows)["fraud"] == 1
        assert Counter(row.label for row in train_rows)["fraud"] == 2


def test_dev_rows_of_each_label_leave_enough_to_learn_from() -> None:
    found = [TextRow(f"text {i}", None, f"label {i // 2}", HERE) for i in range(100)]
    train_rows, dev_rows = split(Classify, found, seed=1)
    assert 30 <= len(dev_rows) <= 34
    assert len({row.label for row in train_rows}) == 50


def test_only_row_of_a_label_is_a_training_row() -> None:
    labels = [f"rare {i}" for i in range(20)] + ["common"] * 80
    found = [TextRow(f"text {i}", None, label, HERE) for i, label in enumerate(labels)]
    _, dev_rows = split(Classify, found, seed=1)
    assert [row.label for row in dev_rows] == ["common"] * 10


def test_questions_about_one_passage_are_on_one_side_of_the_split() -> None:
    found = [AnswerRow(str(i), "?", f"passage {i // 5}", (), HERE) for i in range(200)]
    train_rows, dev_rows = split(AnswerTask, found, seed=1)
    assert not {row.passage for row in train_rows} & {row.passage for row in dev_rows}
    assert len(dev_rows) == 20


def test_split_follows_from_the_seed() -> None:
    found = [TextRow(f"text {i}", None, "abc"[i % 3], HERE) for i in range(90)]
    assert split(Classify, found, seed=1) == split(Classify, found, seed=1)
    assert split(Classify, found, seed=1) != split(Classify, found, seed=2)


LABEL_SETS = st.lists(st.sets(st.sampled_from("abcdef"), max_size=3), min_size=2, max_size=60)


@given(LABEL_SETS, st.integers(1, 9), st.integers(0, 3))
def test_classes_and_equal_texts_are_split_as_promised(
    labels: list[set[str]], n_texts: int, seed: int
) -> None:
    found = [
        TextRow(f"Text {i % n_texts}{'.,! '[i % 4]}", None, tuple(sorted(own)), HERE)
        for i, own in enumerate(labels)
    ]
    train_rows, dev_rows = split(Classify, found, seed)
    assert train_rows
    by_class: dict[str, set[str]] = defaultdict(set)
    for row in found:
        for name in row.label or ():
            by_class[name].add(row.text.rstrip(".,! "))
    learned = {name for row in train_rows for name in row.label}
    assert learned == set(by_class)  # a label that only dev has can't be scored
    shared = {row.text.rstrip(".,! ") for row in train_rows} & {
        row.text.rstrip(".,! ") for row in dev_rows
    }
    if shared:  # only where no text can be spared
        for text in {row.text.rstrip(".,! ") for row in found}:
            assert n_texts == 1 or any(texts == {text} for texts in by_class.values())


def test_equal_texts_are_on_one_side_of_the_split() -> None:
    texts = [f"Text number {i % 12}" for i in range(240)]
    found = [
        TextRow(f" {text.upper()}!" if i % 3 else text, None, "ab"[i % 2], HERE)
        for i, text in enumerate(texts)
    ]
    train_rows, dev_rows = split(Classify, found, seed=1)
    one, other = ({row.text.strip(" !").lower() for row in side} for side in (train_rows, dev_rows))
    assert not one & other
    assert len(other) == 2
    assert {row.label for row in dev_rows} == {"a", "b"}


def test_equal_pairs_are_on_one_side_whatever_their_order() -> None:
    found = [
        TextRow(*(f"left {i}", f"right {i}")[:: -1 if copy else 1], float(i), HERE)
        for i in range(50)
        for copy in range(2)
    ]
    train_rows, dev_rows = split(Regress, found, seed=1)
    one, other = ({row.label for row in side} for side in (train_rows, dev_rows))
    assert not one & other
    assert len(dev_rows) == 10


def test_frequent_text_stays_in_training() -> None:
    found = [TextRow("thanks" if i % 2 else f"text {i}", None, 1.0, HERE) for i in range(400)]
    _, dev_rows = split(Regress, found, seed=1)
    assert len(dev_rows) == 40
    assert "thanks" not in {row.text for row in dev_rows}


def test_tag_that_two_sentences_have_is_on_both_sides() -> None:
    def sentence(i: int) -> TagRow:
        tag = "B-RARE" if i in (3, 77) else "B-ONCE" if i == 50 else "O"
        return TagRow(f"word{i}", ((0, 5),), (tag,), None, HERE)

    for seed in range(20):
        sides = split(Tag, [sentence(i) for i in range(100)], seed)
        learned, scored = ({tag for row in side for tag in row.tags} for side in sides)
        assert learned == {"O", "B-RARE", "B-ONCE"}
        assert scored == {"O", "B-RARE"}


def test_split_of_few_distinct_texts_is_remarked_on() -> None:
    def remarks(texts: list[str], labels: str) -> list[str]:
        keys = SplitKeys(Classify)
        for i, text in enumerate(texts):
            keys.add(TextRow(text, None, labels[i % len(labels)], HERE))
        usable = np.ones(len(texts), np.bool_)
        return list(keys.remarks_on(usable, split_dev(keys, usable, seed=1)))

    assert remarks([f"text {i}" for i in range(240)], "ab") == []
    repeats, few = remarks([f"text {i % 12}" for i in range(240)], "ab")
    assert "240 rows have 12 distinct texts" in repeats
    assert "40 dev rows have 2 distinct texts" in few
    (both,) = remarks([f"text {i % 2}" for i in range(240)], "ab")
    assert "2 distinct texts, too few" in both


def test_bad_rows_do_not_change_the_split() -> None:
    found = [TextRow(str(i), None, "abc-"[i % 4], HERE) for i in range(120)]
    keys = SplitKeys(Classify)
    for row in found:
        keys.add(row)
    good = np.asarray([row.label != "-" for row in found])
    kept = list(compress(found, good))
    dev = split_dev(keys, good, seed=1)
    assert list(compress(found, dev)) == split(Classify, kept, 1)[1]


@pytest.mark.slow
def test_dev_set_of_a_huge_file_is_capped() -> None:
    found = [TextRow("", None, "aab"[i % 3], HERE) for i in range(120_000)]
    _, dev_rows = split(Classify, found, seed=1)
    assert len(dev_rows) == 10_000
    assert Counter(row.label for row in dev_rows)["b"] == 3_333
