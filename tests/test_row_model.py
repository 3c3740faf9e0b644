"""The C++ library predicts for rows what Python's encode, its engine and decode predict."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onelayer.base.compiled_code import Code, c_sources, compiler
from onelayer.base.errors import CheckpointError, Place
from onelayer.base.library_structs import STRUCTS
from onelayer.checkpoint.bundle_weights import TYPES, bundle_tensors
from onelayer.checkpoint.config import EncoderConfig
from onelayer.data.layout import Layout
from onelayer.engines.native.native_engine import NativeEngine, why_not_native
from onelayer.prediction.predictor import Predictor
from onelayer.tasks import AnswerTask, AnyTask, Choose, Classify, Regress, Tag
from onelayer.tasks.answer.answer_rows import AnswerRow
from onelayer.tasks.calibration import calibrate_labels, calibrate_sets
from onelayer.tasks.choose.choose import ChooseRow
from onelayer.tasks.tag.schemes import Scheme
from onelayer.tasks.tag.tag_rows import TagRow
from onelayer.tasks.texts import TextRow
from onelayer.tokens.encodings import Cut
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.words import Joints, split_words
from support.native_tasks import are_alike

SHAPE = EncoderConfig(
    model_type="bert",
    vocab_size=50,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=64,
    max_position_embeddings=48,
)
pytestmark = pytest.mark.skipif(
    why_not_native(SHAPE) is not None, reason=why_not_native(SHAPE) or "the engine is there"
)
HERE = Place("rows.csv", 2)
WORDS = ["the", "cat", "is", "good", "bad", "cats", "北京", "it's", "🙂", "é", "x-y", "Cat\u00a0"]
LABELS = ("no", "yes", "perhaps")


def text(rng: np.random.Generator, longest: int = 80) -> str:
    """Words, more than a window's now and then."""
    return " ".join(rng.choice(WORDS, rng.integers(1, longest)))


def dev(rng: np.random.Generator, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    gold = rng.integers(len(LABELS), size=n)
    return rng.normal(size=(n, 3)) + 4 * np.eye(3)[gold], gold


def text_rows(rng: np.random.Generator) -> list[TextRow]:
    return [TextRow(text(rng), None, None, HERE) for _ in range(7)] + [
        TextRow("", None, None, HERE)
    ]


def pair_rows(rng: np.random.Generator) -> list[TextRow]:
    return [TextRow(text(rng), text(rng), None, HERE) for _ in range(7)]


def tag_rows(rng: np.random.Generator) -> list[TagRow]:
    rows = []
    for number in range(8):
        one = text(rng)
        words = tuple(split_words(one, Joints())) if number % 2 else None
        rows.append(TagRow(one, words, None, None, HERE))
    return rows


def answer_rows(rng: np.random.Generator) -> list[AnswerRow]:
    return [AnswerRow(f"q{i}", text(rng, 20), text(rng, 90), None, HERE) for i in range(7)]


def choose_rows(rng: np.random.Generator) -> list[ChooseRow]:
    return [
        ChooseRow(text(rng), "is" * (i % 2), tuple(text(rng, 5) for _ in range(i + 2)), None, HERE)
        for i in range(5)
    ]


RNG = np.random.default_rng(0)
CALIBRATED = Classify(labels=LABELS, max_length=40, calibration=calibrate_labels(*dev(RNG)))
SEVERAL = Classify(
    labels=LABELS,
    max_length=20,
    multi_label=True,
    threshold=(0.4, 0.5, 0.6),
    calibration=calibrate_sets(dev(RNG)[0], np.eye(3, dtype=bool)[dev(RNG)[1]]),
)
IOB2 = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
CASES: dict[str, tuple[AnyTask, Any]] = {
    "classify": (Classify(labels=LABELS, max_length=40), text_rows),
    "classify windows": (
        Classify(labels=LABELS, max_length=20, stride=4, pooling="mean"),
        text_rows,
    ),
    "classify pairs": (Classify(labels=LABELS, max_length=30, pooling="max"), pair_rows),
    "label sets": (CALIBRATED.with_guarantees(0.9, None), text_rows),
    "abstention": (CALIBRATED.with_guarantees(None, 0.2), text_rows),
    "several labels": (SEVERAL.with_guarantees(0.8, None), text_rows),
    "regress": (Regress(max_length=16, mean=3.0, deviation=2.0, pooling="mean"), pair_rows),
    "tag": (Tag(labels=IOB2, scheme=Scheme.IOB2, max_length=24, stride=6), tag_rows),
    "answer": (
        AnswerTask(max_length=40, stride=8, max_answer_tokens=9, no_answer_threshold=0.0),
        answer_rows,
    ),
    "answer always": (
        AnswerTask(
            max_length=40,
            stride=8,
            max_answer_tokens=9,
            span_head="three-way",
            no_answer_threshold=None,
        ),
        answer_rows,
    ),
    "choose": (Choose(max_length=30, temperature=0.7), choose_rows),
}


def random_engine(task: AnyTask, vocabulary: int, bias: float = 0.0) -> NativeEngine:
    """An int8 model with numbers of no meaning."""
    rng = np.random.default_rng(1)
    shape = replace(SHAPE, vocab_size=vocabulary)
    pooled = task.head in ("label", "labels", "value", "option")
    tensors = {}
    for name, (kind, sizes) in bundle_tensors(
        shape, len(task.outputs), "int8", pooled=pooled
    ).items():
        if TYPES[kind] == np.int8:
            tensors[name] = rng.integers(-127, 128, sizes, np.int8)
        elif name.endswith("scale"):
            tensors[name] = rng.uniform(0.001, 0.004, sizes).astype(np.float32)
        else:
            tensors[name] = rng.normal(size=sizes).astype(np.float32)
    tensors["head.bias"] += bias
    return NativeEngine(tensors, shape, threads=1)


def opened(task: AnyTask, tokenizer: Tokenizer, *, pairs: bool = False) -> Predictor:
    columns = {"text": "text"} | ({"pair": "pair"} if pairs else {})
    engine = random_engine(task, tokenizer.vocab_size)
    return Predictor(task=task, tokenizer=tokenizer, engine=engine, layout=Layout(columns))


def by_python(predictor: Predictor, rows: Sequence[Any]) -> tuple[list[Any], Cut]:
    chunk = predictor.run_rows(rows)
    return predictor.task.decode(*chunk), chunk[1].cut


def assert_alike(found: list[Any], expected: list[Any]) -> None:
    """The same types and values, but for a number's last bit."""
    assert [type(one) for one in found] == [type(one) for one in expected]
    assert are_alike([p.to_json() for p in found], [p.to_json() for p in expected])


@pytest.mark.parametrize("name", CASES)
def test_library_predicts_what_python_predicts(name: str, tokenizer: Tokenizer) -> None:
    task, make_rows = CASES[name]
    rows = make_rows(np.random.default_rng(2))
    predictor = opened(task, tokenizer, pairs=make_rows is pair_rows)
    model = predictor.row_model()
    assert model is not None
    found = model.predict(rows)
    assert found is not None
    predictions, cut = found.predictions, found.cut
    expected, expected_cut = by_python(predictor, rows)
    assert_alike(predictions, expected)
    assert cut == expected_cut


def test_predictor_uses_the_library_and_counts_what_it_cuts(
    tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = opened(Classify(labels=LABELS, max_length=20), tokenizer)
    rows = text_rows(np.random.default_rng(3))
    expected, cut = by_python(predictor, rows)
    predictor.cut = Cut()
    monkeypatch.setattr(Classify, "encode", None)
    assert_alike(predictor.predict_rows(rows), expected)
    assert predictor.cut == cut
    assert cut.tokens


def test_other_guarantees_are_other_answers_of_the_same_weights(tokenizer: Tokenizer) -> None:
    predictor = opened(CALIBRATED, tokenizer)
    rows = text_rows(np.random.default_rng(4))
    assert predictor.predict_rows(rows)[0].label_set is None
    promising = predictor.with_guarantees(coverage=0.9)
    assert promising.engine is predictor.engine
    assert_alike(promising.predict_rows(rows), by_python(promising, rows)[0])
    assert promising.predict_rows(rows)[0].label_set


@pytest.mark.parametrize("bad", ["half \ud83d of a pair", "a\0b"])
def test_text_that_utf8_does_not_have_is_for_python(bad: str, tokenizer: Tokenizer) -> None:
    predictor = opened(Regress(max_length=16), tokenizer)
    rows = [TextRow(bad, None, None, HERE)]
    assert_alike(predictor.predict_rows(rows), by_python(predictor, rows)[0])


def test_weights_that_give_no_numbers_are_refused(tokenizer: Tokenizer) -> None:
    predictor = opened(Regress(max_length=16), tokenizer)
    predictor.engine = random_engine(predictor.task, tokenizer.vocab_size, bias=np.nan)
    with pytest.raises(CheckpointError, match="not finite numbers"):
        predictor.predict_rows([TextRow("a", None, None, HERE)])


def test_structs_are_laid_out_as_the_compiler_lays_them_out(tmp_path: Path) -> None:
    """Sizes and offsets of each field, from the header."""
    facts, ours = [], []
    for struct in STRUCTS:
        facts.append(f"sizeof({struct.c_name})")
        ours.append(f"{struct.c_name}: {ctypes.sizeof(struct)}")
        for name, *_ in struct._fields_:
            facts.append(f"offsetof({struct.c_name}, {name})")
            ours.append(f"{struct.c_name}.{name}: {getattr(struct, name).offset}")
    (tmp_path / "layout.c").write_text(
        f'#include "{c_sources()}/include/onelayer.h"\n'
        f"const size_t layout[] = {{{', '.join(facts)}}};\n"
    )
    code = Code(name="layout", folders=(tmp_path,), functions=("layout",))
    library = code.load(compiler() or "cc")
    theirs = (ctypes.c_size_t * len(facts)).in_dll(library, "layout")
    assert ours == [f"{one.partition(':')[0]}: {n}" for one, n in zip(ours, theirs, strict=True)]
