"""What tag, answer and choose do where rows are few: cloze questions, options of other rows, labels
at their frequencies, and small steps."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from onelayer.base.errors import Place, UsageError
from onelayer.checkpoint.read import describe
from onelayer.nn.heads import HEADS, IGNORED
from onelayer.recipe import Recipe
from onelayer.tasks.answer.answer import AnswerTask
from onelayer.tasks.answer.answer_rows import AnswerRow
from onelayer.tasks.answer.gold_answers import GoldAnswer
from onelayer.tasks.answer.span_targets import answer_length
from onelayer.tasks.choose.choose import Choose, ChooseRow
from onelayer.tokens.encodings import Encodings, EncodingsBuilder
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training.schedule import with_schedule
from support.tiny_bert import MakeBert

HERE = Place("rows.jsonl", 1)
PASSAGES = (
    "the cat sat on a mat and dogs ran to the good red house in 我们 的 city",
    "a bad dog ate the blue fish while two men saw it from the old bridge there",
)
HeadName = Literal["span", "three-way"]
heads = pytest.mark.parametrize("head", ["span", "three-way"])


def answer_task(head: HeadName = "span", **changes: Any) -> AnswerTask:
    values = {"max_length": 64, "stride": 8, "max_answer_tokens": 30} | changes
    return AnswerTask(span_head=head, **values)


def asked(passage: str, answer: str | None) -> AnswerRow:
    golds = () if answer is None else (GoldAnswer(answer, passage.index(answer)),)
    return AnswerRow("q", "who was it?", passage, golds, HERE)


def questions(tokenizer: Tokenizer, task: AnswerTask, *, answered: bool = True) -> Encodings:
    rows = [asked(PASSAGES[0], "the cat"), asked(PASSAGES[1], "blue fish")]
    if not answered:
        rows += [asked(passage, None) for passage in PASSAGES]
    return task.encode(rows, tokenizer, labelled=True)


def windows_of(encodings: Encodings) -> list[tuple[list[int], list[int], np.ndarray]]:
    """The tokens of the question, those of the passage, and the targets of each window."""
    assert encodings.targets is not None
    found = []
    for i in range(len(encodings.lengths)):
        tokens = slice(*encodings.cu_seqlens[i : i + 2])
        reads = slice(*encodings.cu_reads[i : i + 2])
        ids, second = encodings.ids[tokens], encodings.segment_ids[tokens] == 1
        found.append((ids[~second].tolist(), ids[second].tolist(), encodings.targets[reads]))
    return found


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


@heads
def test_cloze_question_has_the_words_around_its_answer(
    head: HeadName, tokenizer: Tokenizer
) -> None:
    task = answer_task(head, max_length=256)
    practice = task.practice(questions(tokenizer, task), tokenizer)
    assert practice is not None
    made = practice.batch(30, rng())
    assert made is not None
    assert made.n_examples == 30
    passages = [piece.ids for piece in tokenizer.encode(PASSAGES)]
    for question, passage, targets in windows_of(made):
        assert passage[:-1] in passages
        at = targets[int(head == "span") :]
        start, end = int(at[:, -2].argmax()), int(at[:, -1].argmax())
        assert start <= end
        assert answer_length(targets, head) == end - start + 1
        around = set(passage[max(0, start - 15) : start] + passage[end + 1 : end + 16])
        asked_words = set(tokenizer.encode(["who was it?"])[0].ids)
        assert set(question) <= around | asked_words | {tokenizer.cls_id, tokenizer.sep_id}


def test_cloze_questions_follow_from_the_seed(tokenizer: Tokenizer) -> None:
    task = answer_task()
    practice = task.practice(questions(tokenizer, task), tokenizer)
    assert practice is not None
    first, again, other = (practice.batch(8, rng(seed)) for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    assert first.ids.tolist() == again.ids.tolist()
    assert first.ids.tolist() != other.ids.tolist()


def test_span_begins_and_ends_with_a_word(tokenizer: Tokenizer) -> None:
    task = answer_task()
    practice = task.practice(questions(tokenizer, task), tokenizer)
    assert practice is not None
    made = practice.batch(40, rng())
    assert made is not None
    continues = tokenizer.continues_word
    assert continues.any()
    for _, passage, targets in windows_of(made):
        start, end = targets[1:, 0].argmax(), targets[1:, 1].argmax()
        assert not continues[passage[start]]
        assert not continues[passage[end + 1]]  # [SEP] after the last one


@heads
def test_unanswered_questions_are_practised_as_often_as_they_are_labelled(
    head: HeadName, tokenizer: Tokenizer
) -> None:
    task = answer_task(head)
    practice = task.practice(questions(tokenizer, task, answered=False), tokenizer)
    assert practice is not None
    made = practice.batch(60, rng())
    assert made is not None
    unanswered = [not answer_length(targets, head) for *_, targets in windows_of(made)]
    assert any(unanswered)
    assert not all(unanswered)


@pytest.mark.parametrize("limit", [20, 30])
def test_cloze_question_fits_the_length_limit_with_its_answer(
    limit: int, tokenizer: Tokenizer
) -> None:
    task = answer_task(max_length=limit, stride=4)
    practice = task.practice(questions(tokenizer, task), tokenizer)
    assert practice is not None
    made = practice.batch(30, rng())
    assert made is not None
    assert made.lengths.max() <= limit
    assert any(answer_length(targets, "span") for *_, targets in windows_of(made))


def test_rows_without_an_answer_or_with_short_passages_are_not_practised(
    tokenizer: Tokenizer,
) -> None:
    task = answer_task()
    unanswered = task.encode([asked(PASSAGES[0], None)], tokenizer, labelled=True)
    assert task.practice(unanswered, tokenizer) is None
    short = task.encode([asked("the cat sat", "cat")], tokenizer, labelled=True)
    practice = task.practice(short, tokenizer)
    assert practice is not None
    assert practice.batch(4, rng()) is None


# Options of other rows.


def offered(tokenizer: Tokenizer, *contexts: str, limit: int = 32) -> tuple[Choose, Encodings]:
    task = Choose(max_length=limit)
    options = (("a cat", "dogs"), ("the bad", "good"), ("cat", "mat"), ("we ran", "house"))
    rows = [
        ChooseRow(context, "who?", options[i], i % 2, HERE) for i, context in enumerate(contexts)
    ]
    return task, task.encode(rows, tokenizer, labelled=True)


def test_right_options_of_other_contexts_are_wrong(tokenizer: Tokenizer) -> None:
    contexts = ("the cat sat", "a bad dog", "we ran", "two men")
    task, encodings = offered(tokenizer, *contexts)
    practice = task.practice(encodings, tokenizer)
    assert practice is not None
    made = practice.batch(20, rng())
    assert made is not None
    assert made.n_examples == 20
    own = {
        tuple(context): tuple(option)
        for (context, option, targets) in windows_of(encodings)
        if targets[0]
    }
    for context, option, targets in windows_of(made):
        assert (own[tuple(context)] == tuple(option)) == bool(targets[0])


def test_rows_with_one_context_are_not_each_others_wrong_options(tokenizer: Tokenizer) -> None:
    task, encodings = offered(tokenizer, "the cat sat", "the cat sat")
    assert task.practice(encodings, tokenizer) is None
    task, encodings = offered(tokenizer, "the cat sat", "the cat sat", "we ran")
    practice = task.practice(encodings, tokenizer)
    assert practice is not None
    made = practice.batch(20, rng())
    assert made is not None
    assert set(np.diff(made.cu_examples)) == {2, 3}


def test_long_contexts_lose_their_end_to_options_of_other_rows(tokenizer: Tokenizer) -> None:
    task, encodings = offered(tokenizer, "the cat sat on a mat and ran " * 3, "we ran", limit=12)
    practice = task.practice(encodings, tokenizer)
    assert practice is not None
    made = practice.batch(20, rng())
    assert made is not None
    assert made.lengths.max() <= 12
    assert all(context[-1] == tokenizer.sep_id for context, *_ in windows_of(made))


# The start of the layer, and the schedule.


def rows(n: int) -> Encodings:
    """Encodings of ``n`` rows of two tokens."""
    builder = EncodingsBuilder()
    for _ in range(n):
        builder.start_row(2)
        builder.add([0, 0], 2)
    return builder.build(examples_are_rows=True)


def test_entity_labels_begin_at_their_frequencies() -> None:
    frequencies = HEADS["tags"].frequencies
    assert frequencies is not None
    targets = np.array([0] * 17 + [1, IGNORED])
    shares = np.exp(frequencies(targets, 3))
    assert shares.sum() == pytest.approx(1)
    assert shares == pytest.approx([18 / 21, 2 / 21, 1 / 21])  # each once more than it is there


@pytest.mark.parametrize("head", ["tags", "span", "three-way", "option"])
def test_few_rows_are_trained_in_small_steps(head: str, make_bert: MakeBert) -> None:
    base = describe(make_bert())
    tiny, few, many = (with_schedule(Recipe(), HEADS[head], base, rows(n)) for n in (8, 999, 1001))
    assert (few.batch_size, many.batch_size) == (8, 32)
    assert few.lr is not None
    assert many.lr is not None
    assert few.lr > many.lr
    assert few.practice == many.practice == 0
    assert bool(tiny.practice) == (head != "tags")
    asked_for = Recipe(batch_size=4, lr=1e-3, practice=0)
    chosen = with_schedule(asked_for, HEADS[head], base, rows(10))
    assert (chosen.batch_size, chosen.lr, chosen.practice) == (4, 1e-3, 0)


def test_practice_is_refused_where_there_is_none(make_bert: MakeBert) -> None:
    with pytest.raises(UsageError, match="tag has nothing to practise on"):
        with_schedule(
            Recipe(task="tag", practice=0.5), HEADS["tags"], describe(make_bert()), rows(10)
        )
