"""Rows that are made of a task's rows by exchanging words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onelayer.base.errors import Place
from onelayer.shrinking import made_texts
from onelayer.shrinking.made_texts import MadeTexts, WordStock
from onelayer.tasks import TASKS, Classify
from onelayer.tasks.texts import TextRow
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.words import split_words, with_other_words
from support.from_tokens import MakePredictor
from support.ranking import Rank, RankRow
from support.task_cases import CASES, Case

TASK = Classify(labels=("no", "yes"), max_length=64)
EMBEDDINGS = np.random.default_rng(3).normal(1, 1, (200, 8)).astype(np.float32)
LETTERS, IDEOGRAPHS = (True, True), (False, False)


def rows_of(*texts: str) -> list[TextRow]:
    return [TextRow(text, None, "yes", Place("x", i)) for i, text in enumerate(texts)]


def maker(tokenizer: Tokenizer, *texts: str, seed: int = 1) -> MadeTexts:
    return MadeTexts.of(TASK, rows_of(*texts), tokenizer, EMBEDDINGS, seed=seed)


def words_of(text: str) -> list[str]:
    return [text[start:end] for start, end in split_words(text)]


# Every task --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_made_rows_are_rows_of_the_task(
    case: Case, make_predictor: MakePredictor, tokenizer: Tokenizer
) -> None:
    """They have as many words as their rows, are other texts, and the model reads them."""
    predictor, rows = make_predictor(case)
    task = predictor.task
    assert {one.name for one in TASKS.values()} == {case.task for case in CASES}
    made = list(MadeTexts.of(task, rows, tokenizer, EMBEDDINGS, seed=1).rows(2))
    assert len(made) == 2 * len(rows)
    for row, one in zip([*rows, *rows], made, strict=True):
        assert type(one) is type(row)
        texts, others = task.texts(row), task.texts(one)
        assert len(others) == len(texts)
        assert list(map(len, task.word_spans(one))) == list(map(len, task.word_spans(row)))
        assert one.place == row.place
    pairs = zip([*rows, *rows], made, strict=True)
    assert sum(task.texts(row) != task.texts(one) for row, one in pairs) > len(rows)
    assert len(predictor.predict_rows(made)) == len(made)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_row_with_its_own_texts_only_loses_its_label(
    case: Case, make_predictor: MakePredictor
) -> None:
    predictor, rows = make_predictor(case)
    task = predictor.task
    for row in rows:
        copy = task.with_texts(row, task.texts(row), task.word_spans(row))
        lost = {"answers"} if case.task == "answer" else {"label", "tags", "spans", "answer"}
        gold = [name for name in lost if hasattr(row, name)]
        assert all(getattr(copy, name) is None for name in gold)
        assert gold
        given = {name: getattr(row, name) for name in gold}
        if hasattr(row, "repairs"):
            given["repairs"] = row.repairs
        assert replace(copy, **given) == row


def test_task_without_the_method_makes_no_row(tokenizer: Tokenizer) -> None:
    rows = [RankRow("where is it", "the good cat", None, Place("x"))]
    assert not list(MadeTexts.of(Rank(max_length=64), rows, tokenizer, EMBEDDINGS, seed=1).rows(3))


# What is exchanged -------------------------------------------------------------------------------

TEXTS = ["a good cat, isn't it?", "the bad  cat 🙂 sat", "x", "我们在北京 good", "b c d e f g h i"]


def test_made_rows_are_a_function_of_seed_copy_and_row(tokenizer: Tokenizer) -> None:
    one, same, other = (maker(tokenizer, *TEXTS, seed=seed) for seed in (1, 1, 2))
    made = list(one.rows(3))
    assert made == list(same.rows(3)) == list(one.rows(3))
    assert made != list(other.rows(3))
    assert made[: len(TEXTS)] != made[len(TEXTS) : 2 * len(TEXTS)]
    rows = rows_of(*TEXTS)
    alone = [one.made_of(rows[number], copy, number) for copy in range(3) for number in range(5)]
    assert alone == made


def test_space_punctuation_and_symbols_stay(tokenizer: Tokenizer) -> None:
    text = "  a good\t cat, isn't🙂it?\n"
    for row in maker(tokenizer, text, "the bad one").rows(20):
        if row.place.line:
            continue
        assert [c for c in row.text if not c.isalnum()] == [c for c in text if not c.isalnum()]
        assert len(words_of(row.text)) == len(words_of(text))


def test_each_ideograph_is_a_word(tokenizer: Tokenizer) -> None:
    """It is exchanged for another one, never for a word of letters."""
    text = "我们在北京的good大学"
    made = [row.text for row in maker(tokenizer, text, "很好, bad cat").rows(30)][::2]
    for one in made:
        assert [word.isascii() for word in words_of(one)] == [False] * 6 + [True] + [False] * 2
    assert len(set(made)) > 10


def test_row_without_a_word_has_no_copy(tokenizer: Tokenizer) -> None:
    texts = ["", " ", "🙂", "?!", "a word"]
    assert [row.place.line for row in maker(tokenizer, *texts).rows(2)] == [4, 4]
    assert not list(maker(tokenizer, "").rows(2))
    assert not list(maker(tokenizer).rows(2))


def test_only_word_is_exchanged(tokenizer: Tokenizer) -> None:
    made = [row.text for row in maker(tokenizer, "cat", *"bdefgh").rows(9) if row.place.line == 0]
    assert sum(text != "cat" for text in made) >= 7


def test_lone_word_of_its_kind_stays(tokenizer: Tokenizer) -> None:
    assert {row.text for row in maker(tokenizer, "cat").rows(5)} == {"cat"}


def test_share_of_words_is_exchanged(tokenizer: Tokenizer) -> None:
    text = " ".join("abcdefghijklmnopqrstuvwxyz" * 20)
    made = [row.text for row in maker(tokenizer, text).rows(10)]
    changed = [
        sum(a != b for a, b in zip(words_of(text), words_of(one), strict=True)) for one in made
    ]
    # A drawn word is the same one in 1 of 26 draws, and 30 % of the words are drawn.
    expected = made_texts.SHARE * (1 - (1 - made_texts.NEAR_SHARE) / 26)
    assert np.mean(changed) / len(words_of(text)) == pytest.approx(expected, rel=0.1)


def nearest_by_hand(words: tuple[str, ...], tokenizer: Tokenizer) -> Iterator[set[str]]:
    """The nearest words of each word, one cosine after the other."""
    encoded = tokenizer.encode(words)
    vectors = [np.mean([EMBEDDINGS[i] for i in one.ids], axis=0) for one in encoded]
    centred = [vector - np.mean(vectors, axis=0) for vector in vectors]

    def cosine(a: int, b: int) -> float:
        one, other = centred[a], centred[b]
        return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))

    for i in range(len(words)):
        others = sorted((j for j in range(len(words)) if j != i), key=lambda j: -cosine(i, j))
        yield {words[j] for j in others[: made_texts.NEIGHBOURS]}


def test_neighbours_are_the_nearest_words(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_texts, "_BLOCK", 7)
    texts = [
        "a good cat",
        "cats goods bads",
        "x y z ab cd efg 12 2019",
        "bad the 我们在北京的很好大学",
    ]
    stocks = maker(tokenizer, *texts).stocks
    assert set(stocks) == {LETTERS, IDEOGRAPHS}
    for stock in stocks.values():
        assert stock.neighbours.shape == (len(stock.words), min(10, len(stock.words) - 1))
        found = [{stock.words[j] for j in near.tolist()} for near in stock.neighbours]
        assert found == list(nearest_by_hand(stock.words, tokenizer))


def test_spellings_that_read_alike_are_one_word(tokenizer: Tokenizer) -> None:
    """The tokenizer lowercases: ``Cat`` is no neighbour of ``cat``."""
    stock = maker(tokenizer, "cat Cat cat CAT dog").stocks[LETTERS]
    assert stock.words == ("cat", "dog")
    np.testing.assert_allclose(stock.cumulative, [0.8, 1.0])


def test_words_are_drawn_by_their_frequency() -> None:
    stock = WordStock(("a", "b", "c"), np.empty((3, 0), np.int64), np.array([0.5, 0.9, 1.0]))
    rng = np.random.default_rng(1)
    drawn = Counter(stock.frequent(rng) for _ in range(4000))
    assert [drawn[word] / 4000 for word in "abc"] == pytest.approx([0.5, 0.4, 0.1], abs=0.03)
    assert stock.near(1, rng) == "b"


def test_rare_words_beyond_the_limits_are_exchanged_for_frequent_ones(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(made_texts, "MOST_WORDS", 4)
    monkeypatch.setattr(made_texts, "MOST_COUNTED", 12)
    texts = ["a b c d " * 9, *(f"rare{i}" for i in range(60))]
    made = maker(tokenizer, *texts)
    assert set(made.stocks[LETTERS].words) == {*"abcd"}
    assert {row.text for row in made.rows(3) if row.place.line} <= {*"abcd"}


@pytest.mark.parametrize("text", ["a b", "", "🙂a我们b!", " x  y\n"])
def test_same_words_give_the_same_text(text: str) -> None:
    spans = split_words(text)
    assert with_other_words(text, spans, words_of(text)) == (text, spans)


def test_other_words_stand_at_their_spans() -> None:
    text, spans = with_other_words(" the cat, 我们", [(1, 4), (5, 8)], ["a", "🙂 dogs"])
    assert text == " a 🙂 dogs, 我们"
    assert [text[start:end] for start, end in spans] == ["a", "🙂 dogs"]


@settings(max_examples=40)
@given(st.lists(st.text(), min_size=1, max_size=4), st.integers(0, 9))
def test_any_text_keeps_its_number_of_words(
    tokenizer: Tokenizer, texts: list[str], seed: int
) -> None:
    for row in maker(tokenizer, *texts, seed=seed).rows(1):
        before = texts[row.place.line]
        assert len(words_of(row.text)) == len(words_of(before)), (before, row.text)
