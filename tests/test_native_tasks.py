"""The tasks in C++ make the same tokens, and the same predictions, as those in Python."""

from __future__ import annotations

import json
import string
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from onelayer.base.compiled_code import compiler
from onelayer.base.errors import Place, UsageError
from onelayer.tasks import AnswerTask, Choose, Classify, Regress, Tag, task_to_json
from onelayer.tasks.answer.answer_rows import AnswerRow
from onelayer.tasks.calibration import Calibration, calibrate_labels, calibrate_sets
from onelayer.tasks.choose.choose import ChooseRow
from onelayer.tasks.pooling import POOLINGS
from onelayer.tasks.tag.schemes import Scheme
from onelayer.tasks.tag.tag_rows import TagRow
from onelayer.tasks.texts import TextRow
from onelayer.tokens.template import Template
from onelayer.tokens.words import Joints, split_words
from support.native_tasks import LetterPieces, NativeRefusal, NativeTask, check_twin

pytestmark = pytest.mark.skipif(compiler("C++") is None, reason="no C++ compiler")

HERE = Place("rows.csv", 2)
FRAMES = (Template((2,), (3,), (3,), 1), Template((2,), (3, 3), (3,), 0))
"""BERT's special tokens, and RoBERTa's."""
LETTERS = string.ascii_letters + "    zz.-'\u3000é猫😀"


def text(rng: np.random.Generator, longest: int = 60) -> str:
    """Letters, some of them no pieces, some two."""
    return "".join(rng.choice(list(LETTERS), rng.integers(longest + 1)))


def text_rows(
    rng: np.random.Generator, *, pairs: bool
) -> tuple[list[TextRow], list[dict[str, Any]]]:
    """Rows of a text or a pair, for both sides."""
    rows = [
        TextRow(text(rng), text(rng) if pairs else None, None, HERE)
        for _ in range(rng.integers(1, 9))
    ]
    return rows, [{"text": row.text, "pair": row.pair} for row in rows]


def calibration(rng: np.random.Generator, labels: int, *, several: bool) -> Calibration:
    """What some dev rows tell of a classifier that is often right."""
    n = int(rng.integers(60, 900))
    gold = rng.integers(labels, size=n)
    right = np.eye(labels, dtype=bool)[gold]
    gold[rng.random(n) < 0.03] = 0  # so that sure rows are wrong, too
    logits = rng.normal(size=(n, labels)) + rng.uniform(1.5, 5) * right
    return calibrate_sets(logits, right) if several else calibrate_labels(logits, gold)


@pytest.mark.parametrize("seed", range(30))
def test_classify_is_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, several = int(rng.integers(2, 12)), bool(seed % 2)
    names = tuple(f'label "{i}"' for i in range(n))
    task = Classify(
        labels=names,
        max_length=(length := int(rng.integers(8, 40))),
        stride=int(rng.integers(length)),
        pooling=POOLINGS[seed % 4],
        multi_label=several,
        threshold=tuple(rng.random(n).tolist()) if seed % 3 else 0.4,
        calibration=calibration(rng, n, several=several) if seed % 5 else None,
    )
    rows, values = text_rows(rng, pairs=seed % 4 > 1)
    tokenizer = LetterPieces(FRAMES[seed % 2])
    check_twin(task, rows, values, tokenizer, rng)
    if task.calibration:
        native = NativeTask(task).promising(0.9)
        check_twin(task.with_guarantees(0.9, None), rows, values, tokenizer, rng, native)


@pytest.mark.parametrize("seed", range(12))
def test_regress_is_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    task = Regress(
        max_length=int(rng.integers(8, 40)),
        mean=float(rng.normal()),
        deviation=float(rng.exponential()),
        stride=4,
        pooling=POOLINGS[seed % 4],
    )
    rows, values = text_rows(rng, pairs=seed % 2 == 1)
    check_twin(task, rows, values, LetterPieces(FRAMES[seed % 2]), rng)


def test_mean_of_many_windows_is_the_same() -> None:
    """numpy adds more than 8, and more than 128, numbers in an order of its own."""
    task = Regress(max_length=4, stride=0, pooling="mean")
    rng = np.random.default_rng(0)
    for n in (3, 9, 20, 150, 301, 1200):
        row = TextRow("a" * n, None, None, HERE)
        check_twin(task, [row], [{"text": row.text}], LetterPieces(FRAMES[0]), rng)


SCHEMES = {
    Scheme.IOB1: "BI",
    Scheme.IOB2: "BI",
    Scheme.BIOES: "BIES",
    Scheme.BMES: "BMES",
    Scheme.BILOU: "BILU",
    Scheme.PLAIN: "",
}


def tags(rng: np.random.Generator, scheme: Scheme) -> tuple[str, ...]:
    """Some of a scheme's labels, so that the likeliest sequence is often illegal."""
    types = ["PER", "LOC"] if scheme is Scheme.PLAIN else ["-PER", "-LOC", ""]
    each = [f"{letter}{name}" for letter in SCHEMES[scheme] or [""] for name in types]
    names = rng.permutation([*each, "Q-odd", "Bx"])[: rng.integers(2, 12)].tolist()
    return (*names, *(["O"] if rng.random() < 0.7 else []))


@pytest.mark.parametrize("seed", range(48))
def test_tag_is_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scheme = list(Scheme)[seed % 6]
    task = Tag(
        labels=tags(rng, scheme),
        scheme=scheme,
        max_length=(length := int(rng.integers(6, 40))),
        stride=int(rng.integers(length - 3)),
        joints=Joints("-.", "'") if seed % 3 else Joints(),
    )
    rows, values = [], []
    for number in range(int(rng.integers(1, 9))):
        its_text = text(rng, 90)
        words = tuple(split_words(its_text)[: 3 * number]) if seed % 4 == 0 else None
        rows.append(TagRow(its_text, words, None, None, HERE))
        values.append({"text": its_text, "words": words})
    check_twin(task, rows, values, LetterPieces(FRAMES[seed % 2]), rng)


@pytest.mark.parametrize("seed", range(48))
def test_answer_is_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    length = int(rng.integers(8, 60))
    task = AnswerTask(
        max_length=length,
        stride=int(rng.integers(length)),
        max_answer_tokens=int(rng.integers(1, 12)),
        span_head="three-way" if seed % 2 else "span",
        no_answer_threshold=float(rng.normal(scale=4)) if seed % 3 else None,
    )
    rows = [
        AnswerRow(f"q{number}", text(rng, 20), passage, None, HERE)
        for number, passage in enumerate([text(rng, 200), text(rng, 200), "zz", text(rng, 9)])
    ]
    values = [{"id": row.id, "question": row.question, "text": row.passage} for row in rows]
    check_twin(task, rows, values, LetterPieces(FRAMES[seed % 2]), rng)


@pytest.mark.parametrize("seed", range(24))
def test_choose_is_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    task = Choose(max_length=int(rng.integers(6, 60)), temperature=float(rng.uniform(0.1, 3)))
    rows = []
    for _ in range(int(rng.integers(1, 6))):
        options = tuple(text(rng, 3).strip() or "b" for _ in range(rng.integers(2, 20)))
        question = text(rng, 20) if seed % 2 else ""
        rows.append(ChooseRow(text(rng), question, options, None, HERE))
    values = [
        {"text": row.context, "question": row.question, "options": row.options} for row in rows
    ]
    check_twin(task, rows, values, LetterPieces(FRAMES[seed % 2]), rng)


SHARES = [("coverage", share) for share in (0.5, 0.9, 0.99, 0.999)] + [
    ("abstain", share) for share in (1e-30, 0.01, 0.03, 0.05, 0.08, 0.12, 0.2, 0.4)
]


@pytest.mark.parametrize("seed", range(8))
def test_promises_are_the_same(seed: int) -> None:
    """Both sides promise with the same thresholds, or say in the same words why they can't."""
    rng = np.random.default_rng(seed)
    known = calibration(rng, 3, several=False)
    if seed == 0:
        known = replace(known, rows=40, answers=())
    task = Classify(labels=("a", "b", "c"), max_length=32, calibration=known)
    native = NativeTask(task)
    rows = [TextRow("a", None, None, HERE)] * 60  # some of them near the threshold
    values = [{"text": "a"}] * len(rows)
    for promise, share in SHARES:
        given: dict[str, Any] = {promise: share}
        expected, why = task, ""
        try:
            expected = task.with_guarantees(**{"coverage": None, "abstain": None, **given})
        except UsageError as error:
            why = str(error).replace("--", "")
        if why:
            with pytest.raises(NativeRefusal) as refused:
                native.promising(**given)
            assert str(refused.value) == f"input: {why}"
        else:
            tokenizer = LetterPieces(FRAMES[0])
            check_twin(expected, rows, values, tokenizer, rng, native.promising(**given))


GOOD = task_to_json(Classify(labels=("a", "b"), max_length=32, stride=8, pooling="mean"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "translate"}, "an unknown task: 'translate'"),
        ({"labels": []}, "has no labels"),
        ({"labels": ["a", "a"]}, "names a label twice: 'a'"),
        ({"labels": [1]}, "a value is not a text"),
        ({"max_length": 3}, "max_length is 3, and must be 4 or more"),
        ({"max_length": 32.0}, "max_length is not a whole number"),
        ({"max_length": None}, "classify can't have null as 'max_length'"),
        ({"stride": 32}, "stride is 32, and must be below max_length 32"),
        ({"pooling": "median"}, "pooling can't be 'median'"),
        ({"pooling_scores": {"mean": "high"}}, "mean is not a number"),
        ({"threshold": [0.5]}, "threshold has 1 numbers for 2 labels"),
        ({"threshold": float("inf")}, "threshold is not a finite number"),
        ({"colour": 1}, "classify has no field 'colour'"),
    ],
)
def test_wrong_field_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    with pytest.raises(NativeRefusal) as refused:
        NativeTask({**GOOD, **change})
    assert str(refused.value) == f"bundle: {message}"


def test_calibration_is_checked() -> None:
    values = task_to_json(
        Classify(
            labels=("a", "b"),
            max_length=32,
            calibration=calibration(np.random.default_rng(0), 2, several=False),
        )
    )
    for change in (
        {"temperature": 0},
        {"rows": -1},
        {"gold": [None]},
        {"answers": [[0.5, 1]]},
        {"answers": [[0.5, 1, 2]]},
    ):
        known = {**values["calibration"], **change}
        with pytest.raises(NativeRefusal, match="bundle: "):
            NativeTask({**values, "calibration": known})
    values["calibration"]["gold"] = [0.5]
    with pytest.raises(NativeRefusal, match="bundle: calibration has 1 probabilities for"):
        NativeTask(values).promising(0.9)


def test_logits_that_are_no_numbers_are_refused() -> None:
    task = Regress(max_length=8)
    tokenizer = LetterPieces(FRAMES[0])
    tokenizer.pieces(["a"])
    batch = NativeTask(task).encode([{"text": "a"}], tokenizer.given())
    with pytest.raises(NativeRefusal, match="not finite numbers"):
        batch.decode(np.array([[np.nan]]))


def test_json_is_written_as_python_writes_it() -> None:
    task = Regress(max_length=8)
    tokenizer = LetterPieces(FRAMES[0])
    tokenizer.pieces(["a"])
    batch = NativeTask(task).encode([{"text": "a"}], tokenizer.given())
    for number in (0.0, -0.5, 1e-9, 3.0, 1e20, 12345678.0, 0.1):
        assert json.dumps(batch.decode(np.array([[number]]))) == json.dumps(
            [{"value": float(f"{np.float32(number):.7g}")}]
        )
