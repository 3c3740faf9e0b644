"""The native int8 engine: its weights, its arithmetic and its guarantees."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.robustness.engine_check import PROGRAM, SOFTWARE_SETS, TILE_PRODUCTS
from onelayer.base.compiled_code import compiler, machine_name
from onelayer.base.errors import CheckpointError, UsageError
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.family import BERTS_POOLER
from onelayer.data.layout import Layout
from onelayer.engines.native import library
from onelayer.engines.native import native_engine as engine
from onelayer.engines.native.native_engine import NativeEngine, why_not_native
from onelayer.engines.native.packed_weights import quantized
from onelayer.engines.torch_engine import TorchEngine
from onelayer.nn.heads import HEADS
from onelayer.nn.model import Model
from onelayer.prediction.predictor import Predictor
from onelayer.tasks import Classify
from onelayer.tokens.encodings import Encodings, EncodingsBuilder
from onelayer.tokens.tokenizer import Tokenizer
from support.int8_oracle import assert_near, exact_logits

Array = NDArray[Any]

SHAPE = EncoderConfig(
    model_type="bert",
    vocab_size=50,
    hidden_size=96,
    num_hidden_layers=2,
    num_attention_heads=3,
    intermediate_size=208,
    max_position_embeddings=80,
)
LENGTHS = [5, 17, 1, 33, 64, 20, 80, 3, 3, 50]

pytestmark = pytest.mark.skipif(
    why_not_native(SHAPE) is not None, reason=why_not_native(SHAPE) or "the engine is there"
)


def random_model(shape: EncoderConfig = SHAPE, head: str = "label", n_outputs: int = 3) -> Model:
    torch.manual_seed(0)
    pooler_shape = BERTS_POOLER if HEADS[head].pooled else None
    model = Model(
        shape, HEADS[head], pooler_shape=pooler_shape, n_outputs=n_outputs, head_dropout=0.0
    )
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = ".norm.weight" in name or "_norm.weight" in name
            spread = 0.1 if parameter.dim() == 1 else parameter.shape[1] ** -0.5
            parameter.normal_(1.0 if scale else 0.0, spread)
    return model.eval()


def state(model: Model) -> dict[str, Array]:
    return {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}


def native(model: Model, shape: EncoderConfig = SHAPE, threads: int = 1) -> NativeEngine:
    return NativeEngine(quantized(state(model)), shape, threads=threads)


def texts(lengths: list[int], every: int | None = None, seed: int = 0) -> Encodings:
    """Texts of random tokens; the first token of each is read, or one of ``every`` tokens."""
    random = np.random.default_rng(seed)
    builder = EncodingsBuilder()
    for length in lengths:
        builder.start_row()
        reads = (0,) if every is None else tuple(range(0, length, every))
        builder.add(random.integers(0, 50, length).tolist(), length // 2 + 1, reads)
    return builder.build(examples_are_rows=True)


def test_quantized_weights_are_within_half_a_step() -> None:
    random = np.random.default_rng(0)
    up = "encoder.layers.11.feed_forward.up"
    tensors = {
        "encoder.embeddings.word.weight": random.normal(size=(5, 16)).astype(np.float32),
        f"{up}.weight": random.normal(size=(32, 16)).astype(np.float32),
        f"{up}.bias": random.normal(size=32).astype(np.float32),
        "pooler.weight": random.normal(size=(16, 16)).astype(np.float32),
    }
    tensors[f"{up}.weight"][3] = 0  # a row of zeros, as after pruning
    int8 = quantized(tensors)
    assert int8[f"{up}.weight"].dtype == int8["encoder.embeddings.word.weight"].dtype == np.int8
    for name in (up, "encoder.embeddings.word"):
        steps = int8[f"{name}.weight"]
        steps = steps.T if name == up else steps
        error = np.abs(tensors[f"{name}.weight"] - steps * int8[f"{name}.scale"][:, None])
        assert (error <= int8[f"{name}.scale"][:, None] * 0.5001).all()
        assert np.abs(steps).max() == 127
    assert int8[f"{up}.weight"].flags.c_contiguous
    for name in (f"{up}.bias", "pooler.weight"):
        np.testing.assert_array_equal(int8[name], tensors[name])


# The same arithmetic in double precision ---------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("head", ["label", "tags"])
def test_logits_equal_the_double_precision_reference(head: str) -> None:
    model = random_model(head=head)
    encodings = texts(LENGTHS, None if head == "label" else 3)
    expected = exact_logits(quantized(state(model)), SHAPE, encodings)
    assert_near(native(model).logits(encodings), expected)


# Against the fp32 model --------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize(
    ("width", "n_heads", "up"), [(16, 1, 20), (128, 2, 512), (192, 4, 768), (128, 2, 48)]
)
def test_logits_are_near_the_fp32_model(activation: str, width: int, n_heads: int, up: int) -> None:
    shape = replace(
        SHAPE,
        hidden_size=width,
        num_attention_heads=n_heads,
        intermediate_size=up,
        hidden_act=activation,
    )
    for head, every in (("value", None), ("span", 2), ("option", None), ("labels", None)):
        model = random_model(shape, head, n_outputs=70 if head == "labels" else 2)
        encodings = texts(LENGTHS, every)
        exact = TorchEngine(model).logits(encodings)
        ours = native(model, shape).logits(encodings)
        assert ours.shape == exact.shape
        assert np.abs(ours - exact).mean() < 0.05 * exact.std()


# A text's logits are its own ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def engines() -> list[NativeEngine]:
    model = random_model(head="tags")
    return [native(model, threads=threads) for threads in (1, 2, 3)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 80), min_size=1, max_size=12), st.integers(1, 40))
def test_logits_do_not_depend_on_batch_or_threads(
    engines: list[NativeEngine], lengths: list[int], every: int
) -> None:
    encodings = texts(lengths, every, seed=sum(lengths))
    alone = [engines[0].logits(encodings.part(i, i + 1)) for i in range(len(lengths))]
    for one in engines:
        np.testing.assert_array_equal(one.logits(encodings), np.concatenate(alone))


def test_prediction_is_the_same_alone_and_in_a_batch(tokenizer: Tokenizer) -> None:
    shape = replace(SHAPE, vocab_size=tokenizer.vocab_size)
    predictor = Predictor(
        task=Classify(labels=("yes", "no", "maybe"), max_length=40),
        tokenizer=tokenizer,
        engine=native(random_model(shape), shape, threads=2),
        layout=Layout({"text": "text"}),
    )
    crowd = ["good", "the cat is bad " * 5, "cats", "a bad, bad cat", "x" * 30, "good cats"]
    assert predictor.predict(crowd) == [predictor.predict([text])[0] for text in crowd]


def test_empty_batch_gives_no_logits(engines: list[NativeEngine]) -> None:
    assert engines[0].logits(EncodingsBuilder().build(examples_are_rows=True)).shape == (0, 3)


def test_many_threads_on_one_text_give_the_same_logits() -> None:
    model = random_model()
    encodings = texts([80])
    many, one = native(model, threads=9), native(model)
    np.testing.assert_array_equal(many.logits(encodings), one.logits(encodings))


def test_engine_can_be_called_from_several_threads(engines: list[NativeEngine]) -> None:
    batches = [texts([i % 80 + 1, 7, 30], 5, seed=i) for i in range(40)]
    expected = [engines[0].logits(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        asked = enumerate(batches)
        found = list(pool.map(lambda pair: engines[pair[0] % 3].logits(pair[1]), asked))
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(("head", "every"), [("tags", 3), ("label", None)])
def test_every_instruction_set_gives_the_same_bits(
    monkeypatch: pytest.MonkeyPatch, head: str, every: int | None
) -> None:
    """All lengths of a text, so that all tiles are used."""
    model, encodings = random_model(head=head), texts(list(range(1, 71)), every)
    expected = native(model).logits(encodings)
    for name in library.instruction_sets():
        monkeypatch.setenv("ONELAYER_INSTRUCTIONS", name)
        for threads in (1, 3):
            engine = native(model, threads=threads)
            assert engine.instructions == name
            np.testing.assert_array_equal(engine.logits(encodings), expected, err_msg=name)


def test_unknown_instruction_set_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONELAYER_INSTRUCTIONS", "altivec")
    message = r"ONELAYER_INSTRUCTIONS is altivec, and this processor has .*plain"
    with pytest.raises(UsageError, match=message):
        native(random_model())


def test_prebuilt_library_needs_no_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    model, encodings = random_model(), texts(LENGTHS)
    found, _ = library.library()
    assert found is not None
    expected = native(model).logits(encodings)
    monkeypatch.setattr(library, "PREBUILT", tmp_path / "libonelayer.so")
    monkeypatch.setattr(library, "compiler", lambda language: None)
    uncached = library.library.__wrapped__
    monkeypatch.setattr(library, "library", uncached)
    monkeypatch.setattr(engine, "library", uncached)
    assert why_not_native(SHAPE) == "no C++ compiler (g++, clang++)"
    shutil.copy(found._name, library.PREBUILT)
    np.testing.assert_array_equal(native(model).logits(encodings), expected)


@pytest.mark.process
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # about fork with threads
def test_engine_works_in_a_forked_child() -> None:
    two, encodings = native(random_model(), threads=2), texts(LENGTHS)
    expected = two.logits(encodings)
    child = os.fork()
    if not child:
        signal.alarm(30)  # end the child if it waits for threads that don't exist
        os._exit(0 if np.array_equal(two.logits(encodings), expected) else 3)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.slow
@pytest.mark.parametrize("source", [PROGRAM, SOFTWARE_SETS.source], ids=lambda path: path.stem)
def test_program_for_sanitizers_compiles(source: Path) -> None:
    """``benchmarks.robustness.engine_check`` takes minutes to run: only its sources are checked."""
    if source != PROGRAM and machine_name() != "x86_64":
        pytest.skip("AMX is x86-64's")
    command = [*shlex.split(compiler("C++") or "c++"), "-std=c++17", "-w", "-fsyntax-only"]
    subprocess.run([*command, str(source)], check=True, timeout=60)


@pytest.mark.slow
@pytest.mark.skipif(machine_name() != "x86_64", reason="AMX is x86-64's")
def test_products_by_tiles_equal_plain_sums(tmp_path: Path) -> None:
    """With tiles in software, which refuse to be used without a shape."""
    program = tmp_path / "tile_products"
    command = [*shlex.split(compiler("C++") or "c++"), "-std=c++17", "-w", "-ffp-contract=off"]
    subprocess.run([*command, str(TILE_PRODUCTS), "-o", str(program)], check=True, timeout=120)
    done = subprocess.run([program], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "right\n")


# Wrong inputs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("ids", 50, "token outside"),
        ("ids", -1, "token outside"),
        ("segment_ids", 2, "segment outside"),
        ("reads", 90, "its sequence doesn't have"),
        ("reads", -1, "its sequence doesn't have"),
    ],
)
def test_ids_outside_the_embedding_tables_are_refused(
    engines: list[NativeEngine], field: str, value: int, message: str
) -> None:
    encodings = texts([5, 80, 7], 9)
    wrong = getattr(encodings, field).astype(np.int32)
    wrong[3] = value
    with pytest.raises(UsageError, match=message):
        engines[0].logits(replace(encodings, **{field: wrong}))


def test_text_longer_than_the_positions_is_refused(engines: list[NativeEngine]) -> None:
    with pytest.raises(UsageError, match="position outside of the model's 80"):
        engines[0].logits(texts([81]))


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("head.weight", np.zeros((3, 95), np.float32), "head.weight is float32 .3, 95., and con"),
        ("encoder.layers.1.feed_forward.up.bias", np.zeros(200, np.float32), "makes it .*208"),
        ("encoder.embeddings.word.scale", np.zeros(50), "is float64 "),
        ("encoder.layers.0.attention.norm.bias", None, "norm.bias is missing"),
    ],
)
def test_missing_or_wrong_tensor_is_refused(name: str, wrong: Array | None, message: str) -> None:
    tensors = quantized(state(random_model()))
    del tensors[name]
    with pytest.raises(CheckpointError, match=message):
        NativeEngine(tensors if wrong is None else {**tensors, name: wrong}, SHAPE)


def test_unsupported_head_width_is_refused() -> None:
    shape = replace(SHAPE, hidden_size=96, num_attention_heads=4)
    assert why_not_native(shape) == "its heads are not a multiple of 16 wide"
    with pytest.raises(UsageError, match="no native engine"):
        NativeEngine({}, shape)
