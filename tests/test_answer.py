"""Answering: windows over long passages, the best spans over all windows, and "no answer"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onelayer import metrics
from onelayer.base.errors import DataError, Place
from onelayer.recipe import Recipe
from onelayer.tasks.answer.answer import AnswerTask
from onelayer.tasks.answer.answer_rows import AnswerRow
from onelayer.tasks.answer.best_spans import best_spans, span_sums
from onelayer.tasks.answer.gold_answers import GoldAnswer
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer

HERE = Place("rows.jsonl", 1)
SpanHead = Literal["span", "three-way"]
BOTH: list[SpanHead] = ["span", "three-way"]
heads = pytest.mark.parametrize("span_head", BOTH)


def task_with(span_head: SpanHead = "span", **changes: Any) -> AnswerTask:
    values = {"max_length": 32, "stride": 8, "max_answer_tokens": 30} | changes
    return AnswerTask(span_head=span_head, **values)


def row(passage: str, *golds: tuple[str, int], question: str = "who?") -> AnswerRow:
    answers = tuple(GoldAnswer(text, start) for text, start in golds)
    return AnswerRow("q", question, passage, answers, HERE)


def row_of(passage: str, answer: str) -> AnswerRow:
    return row(passage, (answer, passage.index(answer)))


def sure_of_targets(encodings: Encodings) -> np.ndarray:
    """Logits of a model that is certain of the targets."""
    assert encodings.targets is not None
    return np.log(np.maximum(encodings.targets, 1e-4))


# Targets and decoding are each other's inverse ---------------------------------------------------

LONG = " ".join(f"the cat{i} sat" for i in range(40))
PASSAGES = {
    "first token": ("cat the sat", "cat"),
    "last token": ("the cat sat", "sat"),
    "all of it": ("the cat sat", "the cat sat"),
    "in the first window": (LONG, "cat0 sat"),
    "in the middle": (LONG, "cat17 sat"),
    "in the last window": (LONG, "cat39 sat"),
    "chinese": ("我们在北京的大学很好。", "北京的大学"),
    "emoji": ("🙂🙂 the 🙂 cat 👨‍👩‍👧.", "👨‍👩‍👧"),
    "after emoji and combining marks": ("e\u0301\u0301 🙂 👨‍👩‍👧 \u200b cat, 好", "cat, 好"),
    "right to left": ("שלום cat שלום", "cat שלום"),
}


@heads
@pytest.mark.parametrize("name", PASSAGES)
def test_target_answer_is_decoded(name: str, span_head: SpanHead, tokenizer: Tokenizer) -> None:
    passage, answer = PASSAGES[name]
    task = task_with(span_head)
    rows = [row_of(passage, answer)]
    encodings = task.encode(rows, tokenizer, labelled=True)
    (found,) = task.decode(rows, encodings, sure_of_targets(encodings))
    start = passage.index(answer)
    assert (found.text, found.start, found.end) == (answer, start, start + len(answer))
    assert found.score > 0.9
    scores = task.score(rows, [found])()
    assert (scores["em"], scores["f1"]) == (100.0, 100.0)


@settings(max_examples=80)
@given(
    words=st.lists(
        st.sampled_from(
            ["the", "cat7", "京", "🙂", "e\u0301x", "x,y", "ab\u200bc", "שלום", "👍🏽"]
        ),
        min_size=1,
        max_size=40,
    ),
    data=st.data(),
    span_head=st.sampled_from(BOTH),
    unanswerable=st.booleans(),
)
def test_any_whole_word_answer_survives_encode_and_decode(
    tokenizer: Tokenizer,
    words: list[str],
    data: st.DataObject,
    span_head: SpanHead,
    unanswerable: bool,
) -> None:
    first = data.draw(st.integers(0, len(words) - 1))
    last = data.draw(st.integers(first, min(first + 1, len(words) - 1)))
    passage, answer = " ".join(words), " ".join(words[first : last + 1])
    start = len(" ".join([*words[:first], ""]))
    rows = [row(passage, (answer, start))]
    task = task_with(span_head, stride=16, no_answer_threshold=0.0 if unanswerable else None)
    encodings = task.encode(rows, tokenizer, labelled=True)
    (found,) = task.decode(rows, encodings, sure_of_targets(encodings))
    assert (found.start, found.end, found.text) == (start, start + len(answer), answer)


@heads
def test_unanswerable_question_is_decoded_as_no_answer(
    span_head: SpanHead, tokenizer: Tokenizer
) -> None:
    rows = [row(LONG), row("x"), row("\u200b")]
    for threshold, answers in ((0.0, ["", "", ""]), (None, [True, True, False])):
        task = task_with(span_head, no_answer_threshold=threshold)
        encodings = task.encode(rows, tokenizer, labelled=True)
        found = task.decode(rows, encodings, sure_of_targets(encodings))
        if threshold is None:  # a span is always given if the passage has a token
            assert [bool(one.text) for one in found] == answers
        else:
            assert [one.text for one in found] == answers
            assert found[0].no_answer_score > 0.5
            assert found[0].start is None


@pytest.mark.parametrize(
    ("golds", "starts"),
    [
        ([("cat", 4)], {1: 1.0}),
        ([("cat", 4), ("the cat", 0), ("cat", 4)], {1: 2 / 3, 0: 1 / 3}),
    ],
)
def test_annotators_share_the_target_probability(
    golds: list[tuple[str, int]], starts: dict[int, float], tokenizer: Tokenizer
) -> None:
    encodings = task_with().encode([row("the cat sat", *golds)], tokenizer, labelled=True)
    assert encodings.targets is not None
    null, *tokens = encodings.targets
    assert null.tolist() == [0.0, 0.0]
    for i, token in enumerate(tokens):
        assert token[0] == pytest.approx(starts.get(i, 0.0))
        assert token[1] == (1.0 if i == 1 else 0.0)


def test_token_that_is_start_and_end_has_half_of_each_class(tokenizer: Tokenizer) -> None:
    encodings = task_with("three-way").encode([row_of("the cat a", "cat")], tokenizer, True)
    assert encodings.targets is not None
    assert encodings.targets.tolist() == [[1, 0, 0], [0, 0.5, 0.5], [1, 0, 0]]


@heads
def test_targets_sum_to_one(span_head: SpanHead, tokenizer: Tokenizer) -> None:
    """Over each window's tokens for a span head, over each token's classes for three-way."""
    rows = [row_of(LONG, "cat17 sat"), row("x y"), row("a cat", ("a", 0), ("a cat", 0))]
    encodings = task_with(span_head).encode(rows, tokenizer, labelled=True)
    assert encodings.targets is not None
    if span_head == "three-way":
        np.testing.assert_allclose(encodings.targets.sum(axis=1), 1.0, rtol=1e-6)
        return
    sums = np.add.reduceat(encodings.targets, encodings.cu_reads[:-1])
    np.testing.assert_allclose(sums, 1.0, rtol=1e-6)


# Windows -----------------------------------------------------------------------------------------


@heads
def test_window_holds_the_question_and_reads_only_the_passage(
    span_head: SpanHead, tokenizer: Tokenizer
) -> None:
    task = task_with(span_head)
    encodings = task.encode([row(LONG, question="who sat?")], tokenizer, labelled=False)
    question = tokenizer.encode(["who sat?"])[0].ids
    passage = tokenizer.encode([LONG])[0]
    assert len(encodings.lengths) > 5
    assert encodings.cut.tokens == 0
    read: set[tuple[int, int]] = set()
    for i, (start, end) in enumerate(pairwise(encodings.cu_seqlens)):
        ids = encodings.ids[start:end].tolist()
        before = [tokenizer.cls_id, *question, tokenizer.sep_id]
        assert len(ids) <= task.max_length
        assert ids[: len(before)] == before
        assert ids[-1] == tokenizer.sep_id
        segments = encodings.segment_ids[start:end].tolist()
        assert segments == [0] * len(before) + [1] * (len(ids) - len(before))
        positions = encodings.reads[encodings.cu_reads[i] : encodings.cu_reads[i + 1]].tolist()
        null = [0] if span_head == "span" else []
        assert positions == [*null, *range(len(before), len(ids) - 1)]
        assert encodings.offsets is not None
        offsets = encodings.offsets[encodings.cu_reads[i] : encodings.cu_reads[i + 1]]
        read |= {(int(a), int(b)) for a, b in offsets[len(null) :]}
    assert read == set(passage.offsets)


def test_question_longer_than_half_a_window_is_cut_and_counted(tokenizer: Tokenizer) -> None:
    encodings = task_with(max_length=16).encode(
        [row(LONG, question="x " * 100), row(LONG)], tokenizer, labelled=False
    )
    assert (encodings.cut.tokens, encodings.cut.rows) == (100 - 8, 1)
    assert max(encodings.lengths) <= 16


@heads
def test_span_with_the_largest_logits_is_chosen_from_any_window(
    span_head: SpanHead, tokenizer: Tokenizer
) -> None:
    """Two windows offer a span: the one with the larger logits wins, wherever it is."""
    task = task_with(span_head)
    rows = [row(LONG)]
    encodings = task.encode(rows, tokenizer, labelled=False)
    passage = tokenizer.encode([LONG])[0]
    column = len(task.outputs) - 2
    for better, worse in ((3, 100), (100, 3)):
        logits = np.zeros((len(encodings.reads), len(task.outputs)), dtype=np.float32)
        assert encodings.offsets is not None
        for token, score in ((better, 6.0), (worse, 5.0)):
            at = np.flatnonzero((encodings.offsets == passage.offsets[token]).all(axis=1))
            logits[at, column] = logits[at, column + 1] = score
        (found,) = task.decode(rows, encodings, logits)
        assert (found.start, found.end) == passage.offsets[better]
        assert found.candidates[0].score > found.candidates[1].score
        spans = [(c.start, c.end) for c in found.candidates]
        assert len(set(spans)) == len(spans)  # windows overlap, but each span is listed once


@heads
@settings(max_examples=60)
@given(data=st.data())
def test_span_is_scored_in_the_window_with_most_context(
    span_head: SpanHead, tokenizer: Tokenizer, data: st.DataObject
) -> None:
    """Logits of all other windows have no influence on the span's score."""
    n = data.draw(st.integers(1, 70))
    task = task_with(
        span_head,
        max_length=data.draw(st.integers(12, 24)),
        stride=data.draw(st.integers(0, 10)),
        max_answer_tokens=5,
    )
    rows = [row("x " * n)]  # all tokens are equally long
    encodings = task.encode(rows, tokenizer, labelled=False)
    assert encodings.offsets is not None
    null = int(span_head == "span")
    spans = []
    for a, b in pairwise(encodings.cu_reads.tolist()):
        tokens = encodings.offsets[a + null : b, 0] // 2
        spans.append((a + null, int(tokens[0]), int(tokens[-1]) + 1))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    logits = rng.normal(size=(len(encodings.reads), len(task.outputs))).astype(np.float32)
    scores = logits[:, -2:] - (logits[:, :1] if span_head == "three-way" else 0)
    expected: dict[tuple[int, int], tuple[int, int, float]] = {}
    for number, (at, start, end) in enumerate(spans):
        for a, b in product(range(start, end), repeat=2):
            if a <= b < a + 5:
                score = float(scores[at + a - start, 0] + scores[at + b - start, 1])
                seen = (min(a - start, end - 1 - b), number, score)
                expected[a, b] = max(expected.get((a, b), seen), seen)
    ranked = sorted(expected, key=lambda span: -expected[span][-1])[:20]
    (found,) = task.decode(rows, encodings, logits)
    assert [(c.start, c.end) for c in found.candidates] == [(2 * a, 2 * b + 1) for a, b in ranked]


def test_no_answer_must_win_in_every_window(tokenizer: Tokenizer) -> None:
    """The margin of "no answer" is that of the least certain window."""
    task = task_with(no_answer_threshold=0.0)
    rows = [row(LONG)]
    encodings = task.encode(rows, tokenizer, labelled=False)
    nulls = encodings.cu_reads[:-1]
    logits = np.zeros((len(encodings.reads), 2), dtype=np.float32)
    logits[nulls] = 5.0
    assert task.decode(rows, encodings, logits)[0].margin == 10.0
    logits[nulls[2]] = -1.0
    (found,) = task.decode(rows, encodings, logits)
    assert found.margin == -2.0
    assert found.text


# The best spans ----------------------------------------------------------------------------------


@settings(max_examples=150)
@given(st.integers(1, 9), st.integers(1, 12), st.integers(1, 25), st.data())
def test_best_spans_equal_brute_force(
    tokens: int, longest: int, n: int, data: st.DataObject
) -> None:
    column = st.lists(st.integers(-50, 50), min_size=tokens, max_size=tokens)
    starts, ends = np.asarray(data.draw(column), float), np.asarray(data.draw(column), float)
    found = best_spans(span_sums(starts, ends, longest), n)
    legal = {
        (a, b): starts[a] + ends[b]
        for a in range(tokens)
        for b in range(a, min(a + longest, tokens))
    }
    assert [score for *_, score in found] == sorted(legal.values(), reverse=True)[:n]
    assert len({(a, b) for a, b, _ in found}) == len(found)
    assert all(legal[a, b] == score for a, b, score in found)


@heads
def test_answer_is_at_most_max_answer_tokens_long(
    span_head: SpanHead, tokenizer: Tokenizer
) -> None:
    task = task_with(span_head, max_answer_tokens=2)
    rows = [row("a b c d e")]
    encodings = task.encode(rows, tokenizer, labelled=False)
    logits = np.zeros((len(encodings.reads), len(task.outputs)), dtype=np.float32)
    logits[-5, -2] = logits[-1, -1] = 9.0  # starts at a, ends at e
    logits[-4, -1] = 1.0  # or at b, which is within the limit
    (found,) = task.decode(rows, encodings, logits)
    assert found.text == "a b"
    assert all(len(c.text.split()) <= 2 for c in found.candidates)


def test_scores_are_a_softmax_over_candidates_and_no_answer(tokenizer: Tokenizer) -> None:
    task = task_with(no_answer_threshold=0.0)
    rows = [row("a b")]
    encodings = task.encode(rows, tokenizer, labelled=False)
    logits = np.asarray([[1.0, 1.0], [2.0, 0.0], [0.0, 1.5]], dtype=np.float32)
    (found,) = task.decode(rows, encodings, logits)
    e = np.exp([2.0, 2 + 1.5, 2 + 0.0, 0 + 1.5])  # none, "a b", "a", "b"
    assert found.text == "a b"
    assert found.margin == pytest.approx(2.0 - 3.5)
    assert found.no_answer_score == pytest.approx(e[0] / e.sum())
    assert [c.text for c in found.candidates] == ["a b", "a", "b"]
    assert [c.score for c in found.candidates] == pytest.approx(e[1:] / e.sum())


def test_three_way_span_score_is_its_log_odds_against_neither(tokenizer: Tokenizer) -> None:
    task = task_with("three-way", no_answer_threshold=0.0)
    rows = [row("a b")]
    encodings = task.encode(rows, tokenizer, labelled=False)
    logits = np.asarray([[1.0, 4.0, 0.0], [2.0, 0.0, 1.5]], dtype=np.float32)
    (found,) = task.decode(rows, encodings, logits)
    assert found.text == "a b"
    assert found.margin == pytest.approx(-((4.0 - 1.0) + (1.5 - 2.0)))


# No answer ---------------------------------------------------------------------------------------


def margins(values: Sequence[float], encodings: Encodings) -> np.ndarray:
    """Logits where "no answer" beats the only token of each one-token passage by a margin."""
    logits = np.zeros((len(encodings.reads), 2), dtype=np.float32)
    logits[::2, 0] = values
    return logits


def test_no_answer_threshold_is_tuned(tokenizer: Tokenizer) -> None:
    """Questions with margins up to 1.5 have an answer; those from 2 have none."""
    questions = [(-3.0, True), (0.5, True), (1.5, True), (2.0, False), (4.0, False)]
    rows = [row("cat", ("cat", 0)) if has else row("cat") for _, has in questions]
    task = task_with(no_answer_threshold=0.0)
    encodings = task.encode(rows, tokenizer, labelled=True)
    logits = margins([margin for margin, _ in questions], encodings)
    before = task.score(rows, task.decode(rows, encodings, logits))()["f1"]
    tuned, scorer = task.tune(rows, [(rows, encodings, logits)])
    assert tuned.no_answer_threshold is not None
    assert 1.5 <= tuned.no_answer_threshold < 2.0
    found = tuned.decode(rows, encodings, logits)
    assert [bool(one.text) for one in found] == [has for _, has in questions]
    assert before < tuned.score(rows, found)()["f1"] == 100.0
    assert scorer() == tuned.score(rows, found)()


@pytest.mark.slow
@settings(max_examples=50)
@given(
    st.lists(
        st.tuples(st.integers(-20, 20).map(lambda n: n / 4), st.booleans()), min_size=2, max_size=12
    ).filter(lambda questions: any(has for _, has in questions))
)
def test_tuned_threshold_scores_best(
    tokenizer: Tokenizer, questions: list[tuple[float, bool]]
) -> None:
    rows = [row("cat", ("cat", 0)) if has else row("cat") for _, has in questions]
    task = task_with(no_answer_threshold=0.0)
    encodings = task.encode(rows, tokenizer, labelled=True)
    logits = margins([margin for margin, _ in questions], encodings)

    def f1(threshold: float | None) -> float:
        at = replace(task, no_answer_threshold=threshold)
        return at.score(rows, at.decode(rows, encodings, logits))()["f1"]

    tuned, scorer = task.tune(rows, [(rows, encodings, logits)])
    others = {margin + side for margin, _ in questions for side in (-0.1, 0.1)}
    assert f1(tuned.no_answer_threshold) == scorer()["f1"] == max(map(f1, others))


def test_threshold_is_none_when_every_question_has_an_answer(tokenizer: Tokenizer) -> None:
    recipe = Recipe()
    answered = AnswerTask.fit([row("a cat", ("cat", 2))], tokenizer, recipe, 64)
    assert answered.no_answer_threshold is None
    assert AnswerTask.fit([row("a", ("a", 0)), row("b")], tokenizer, recipe, 64) == replace(
        answered, no_answer_threshold=0.0
    )
    rows = [row("cat", ("cat", 0))]
    encodings = answered.encode(rows, tokenizer, labelled=True)
    logits = margins([100.0], encodings)
    found = answered.decode(rows, encodings, logits)
    assert answered.tune(rows, [(rows, encodings, logits)])[0] is answered
    assert found[0].text == "cat"


def test_chinese_answers_are_scored_like_cmrc(tokenizer: Tokenizer) -> None:
    rows = [row_of("我们在北京的大学。", "北京的大学")]
    task = task_with()
    encodings = task.encode([row_of("我们在北京的大学。", "北京")], tokenizer, labelled=True)
    (found,) = task.decode(rows, encodings, sure_of_targets(encodings))
    expected = metrics.cmrc_f1("北京", ["北京的大学"])
    assert 0 < expected < 1
    assert task.score(rows, [found])()["f1"] == pytest.approx(100 * expected)


# Gold answers in every shape found in files ------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "golds"),
    [
        ([{"text": "cat", "answer_start": 4}], [("cat", 4)]),
        ({"text": ["cat", "the cat"], "answer_start": [4, 0]}, [("cat", 4), ("the cat", 0)]),
        ({"text": [], "answer_start": []}, []),
        ([], []),
        ("cat", [("cat", 4)]),
        (["cat", "the"], [("cat", 4), ("the", 0)]),
        ("", []),
    ],
)
def test_gold_answers_are_read_in_every_shape(label: object, golds: list[tuple[str, int]]) -> None:
    values = {"question": "who?", "context": "the cat", "label": label}
    answers = AnswerTask.row(values, HERE, True).answers
    assert answers is not None
    assert [(gold.text, gold.start) for gold in answers] == golds


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ([{"text": "cat", "answer_start": 0}], "not at character 0"),
        ([{"text": "cat", "answer_start": -3}], "not at character -3"),
        ("dog", "'dog'"),
        (None, "no answers"),
        ([{"answer_start": 3}], "needs a text"),
    ],
)
def test_missing_or_wrong_gold_answer_is_refused(label: object, message: str) -> None:
    values = {"question": "who?", "context": "the cat", "label": label}
    with pytest.raises(DataError, match=message):
        AnswerTask.row(values, HERE, True)
