"""The graph equals transformers' model without padding, and the engine refuses any file that export
didn't write."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from safetensors.numpy import load_file

from onelayer.base.errors import CheckpointError
from onelayer.checkpoint.bundle_weights import check_slices, read_slices
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.onnx_file import LARGEST_GRAPH, check_graph
from onelayer.engines.native.packed_weights import quantized
from onelayer.engines.onnx_engine import OnnxEngine
from onelayer.engines.rectangles import FULL, TOKENS, rectangles
from onelayer.exporting.calibrate import ranges
from onelayer.exporting.products import Calibrated, Product, Watched, by_token, in_float
from onelayer.exporting.weights_file import ALIGNMENT, write_weights
from onelayer.prediction.from_run import predictor_of
from onelayer.prediction.predictor import Predictor
from onelayer.tokens.encodings import Encodings
from support import graphs
from support.tiny_bert import MakeBert

pytestmark = pytest.mark.slow

LABELS = {
    "BertForSequenceClassification": ("no", "yes", "可能"),
    "BertForTokenClassification": ("O", "B-X", "I-X"),
    "BertForQuestionAnswering": (),
    "BertForMultipleChoice": (),
}
ROWS = {
    "BertForSequenceClassification": ["a good cat", "x", "the bad cats of the town"],
    "BertForTokenClassification": ["a good cat", "x", "the bad cats " * 30],
    "BertForQuestionAnswering": [("what?", "a good cat"), ("who is it?", "the bad cats " * 30)],
    "BertForMultipleChoice": [("a cat", "what?", ["good", "bad cats"]), ("x", "y", ["z", "b a"])],
}


def opened(make_bert: MakeBert, architecture: str) -> Predictor:
    return predictor_of(make_bert(architecture, labels=LABELS[architecture]))


def state_of(predictor: Predictor) -> dict[str, Any]:
    model: Any = predictor.engine
    return graphs.state_of(model.model)


def encoded(predictor: Predictor, architecture: str) -> Encodings:
    rows = [predictor.row_of(item, i) for i, item in enumerate(ROWS[architecture], start=1)]
    return predictor.task.encode(rows, predictor.tokenizer, labelled=False)


def config_of(predictor: Predictor) -> EncoderConfig:
    assert predictor.path is not None
    place = predictor.path / "config.json"
    return EncoderConfig.from_json(json.loads(place.read_text()), place)


def write_graph(
    folder: Path,
    predictor: Predictor,
    architecture: str,
    product: Product,
    more: Callable[[onnx.ModelProto], None] = lambda _: None,
) -> Path:
    config = config_of(predictor)
    return graphs.write_graph(folder, state_of(predictor), config, architecture, product, more)


def check(graph: Path, beside: Path | None = None) -> None:
    """Checks a graph with the weights in its folder, or in another graph's folder."""
    name = "model.safetensors"
    check_graph(graph, name, read_slices((beside or graph).with_name(name)))


@given(st.lists(st.integers(1, 600), max_size=60))
def test_rectangles_hold_every_sequence_with_little_padding(lengths: list[int]) -> None:
    groups = [lengths_of.tolist() for lengths_of in rectangles(np.array(lengths, dtype=np.int64))]

    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        here = [lengths[i] for i in group]
        places = max(here) * len(here)
        assert len(here) == 1 or (places <= TOKENS and sum(here) >= FULL * places)


@pytest.mark.parametrize("architecture", LABELS)
def test_graph_logits_equal_transformers(
    make_bert: MakeBert, tmp_path: Path, architecture: str
) -> None:
    """On padded batches with any values at the padding. It may also be on the left, except where
    transformers reads the first position."""
    predictor = opened(make_bert, architecture)
    session = onnxruntime.InferenceSession(write_graph(tmp_path, predictor, architecture, in_float))
    theirs = getattr(transformers, architecture).from_pretrained(predictor.path).eval()
    rng = np.random.default_rng(0)
    lengths = np.array([[9, 3, 17], [1, 30, 5]])
    shape = (2, 3, 30) if architecture == "BertForMultipleChoice" else (6, 30)
    masks = [np.arange(30) < lengths[..., None]]
    if architecture in ("BertForTokenClassification", "BertForQuestionAnswering"):
        masks.append(np.arange(30) >= 30 - lengths[..., None])
    for mask in masks:
        given = {
            "input_ids": rng.integers(5, 60, shape),
            "attention_mask": mask.reshape(shape).astype(np.int64),
            "token_type_ids": rng.integers(0, 2, shape),
        }
        found = dict(
            zip([o.name for o in session.get_outputs()], session.run(None, given), strict=True)
        )
        with torch.no_grad():
            expected = theirs(**{name: torch.from_numpy(array) for name, array in given.items()})
        assert found.keys() == expected.keys()
        for name, logits in expected.items():
            assert found[name].shape == tuple(logits.shape)
            real = mask.reshape(shape) if logits.shape[:2] == shape else slice(None)
            np.testing.assert_allclose(found[name][real], logits.numpy()[real], atol=2e-5)


@pytest.mark.parametrize("architecture", LABELS)
def test_engine_logits_equal_torch(make_bert: MakeBert, tmp_path: Path, architecture: str) -> None:
    predictor = opened(make_bert, architecture)
    graph = write_graph(tmp_path, predictor, architecture, in_float)
    encodings = encoded(predictor, architecture)

    logits = OnnxEngine(graph, threads=1).logits(encodings)

    np.testing.assert_allclose(logits, predictor.engine.logits(encodings), atol=2e-5)


def test_empty_row_does_not_affect_other_rows(make_bert: MakeBert, tmp_path: Path) -> None:
    """Clients that pad options send such rows."""
    name = "BertForMultipleChoice"
    graph = write_graph(tmp_path, opened(make_bert, name), name, in_float)
    session = onnxruntime.InferenceSession(graph)
    given = {
        "input_ids": np.full((1, 3, 4), 7),
        "attention_mask": np.array([[[1, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]]),
        "token_type_ids": np.zeros((1, 3, 4), dtype=np.int64),
    }
    (three,) = session.run(None, given)
    (two,) = session.run(None, {name: array[:, :2] for name, array in given.items()})

    assert np.isfinite(three).all()
    np.testing.assert_allclose(three[:, :2], two, atol=1e-6)


def test_layers_skip_padding_and_the_last_one_reads_only_cls(
    make_bert: MakeBert, tmp_path: Path
) -> None:
    name = "BertForSequenceClassification"
    predictor = opened(make_bert, name)
    watched = Watched({})

    def show(model: onnx.ModelProto) -> None:
        for [(low, _)] in watched.extremes.values():
            model.graph.output.append(helper.make_tensor_value_info(low, TensorProto.FLOAT, [None]))

    session = onnxruntime.InferenceSession(write_graph(tmp_path, predictor, name, watched, show))
    mask = (np.arange(30) < np.array([[9], [3], [17]])).astype(np.int64)
    given = dict.fromkeys(("input_ids", "token_type_ids"), np.ones_like(mask))
    _, *seen = session.run(None, {**given, "attention_mask": mask})

    read = {layer: len(low) for layer, low in zip(watched.extremes, seen, strict=True)}
    first, last = (f"encoder.layers.{i}" for i in (0, 1))
    assert read[f"{first}.attention.qkv"] == read[f"{first}.feed_forward.up"] == 9 + 3 + 17
    assert read[f"{last}.attention.qkv"] == 9 + 3 + 17
    assert read[f"{last}.attention.output"] == read[f"{last}.feed_forward.up"] == 3


def test_calibrated_ranges_equal_those_of_transformers(make_bert: MakeBert) -> None:
    name = "BertForTokenClassification"
    predictor = opened(make_bert, name)
    encodings = encoded(predictor, name)
    found = ranges(state_of(predictor), config_of(predictor), name, encodings)

    theirs = transformers.BertForTokenClassification.from_pretrained(predictor.path).eval()
    extremes = np.zeros((2, 2))
    for start, end in zip(encodings.cu_seqlens[:-1], encodings.cu_seqlens[1:], strict=True):
        ids = torch.from_numpy(encodings.ids[start:end].astype(np.int64))[None]
        with torch.no_grad():
            states = theirs(ids, output_hidden_states=True).hidden_states
        for i in (0, 1):
            extremes[i] = min(extremes[i, 0], states[i].min()), max(extremes[i, 1], states[i].max())
    for i in (0, 1):
        np.testing.assert_allclose(
            found[f"encoder.layers.{i}.attention.qkv"], extremes[i], rtol=1e-5
        )
    assert len(found) == 8
    assert all(low <= 0 <= high for low, high in found.values())


@pytest.mark.parametrize("architecture", LABELS)
def test_int8_logits_are_near_fp32(make_bert: MakeBert, tmp_path: Path, architecture: str) -> None:
    predictor = opened(make_bert, architecture)
    encodings = encoded(predictor, architecture)
    expected = predictor.engine.logits(encodings)
    found = ranges(state_of(predictor), config_of(predictor), architecture, encodings)
    for product in (by_token, Calibrated(found)):
        graph = write_graph(tmp_path, predictor, architecture, product)
        check(graph)

        apart = np.abs(OnnxEngine(graph, threads=1).logits(encodings) - expected)

        assert 0 < apart.max() < 0.1 * np.abs(expected).max() + 0.05


@pytest.mark.parametrize("product", [in_float, by_token], ids=["fp32", "dynamic"])
def test_logits_do_not_depend_on_the_batch(
    make_bert: MakeBert, tmp_path: Path, product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onelayer.engines.rectangles.FULL", 0.0)  # all in one rectangle
    name = "BertForSequenceClassification"
    predictor = opened(make_bert, name)
    engine = OnnxEngine(write_graph(tmp_path, predictor, name, product), threads=1)
    encodings = encoded(predictor, name)

    together = engine.logits(encodings)

    alone = [engine.logits(encodings.part(i, i + 1)) for i in range(len(encodings))]
    np.testing.assert_allclose(together, np.concatenate(alone), atol=1e-6)


def test_int8_products_are_fused(make_bert: MakeBert, tmp_path: Path) -> None:
    """ONNX Runtime fuses scales and product into one kernel; products left in fp32 are slow."""
    name = "BertForTokenClassification"
    predictor = opened(make_bert, name)
    found = ranges(state_of(predictor), config_of(predictor), name, encoded(predictor, name))
    graph = write_graph(tmp_path, predictor, name, Calibrated(found))
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(graph, options)

    nodes = onnx.load(tmp_path / "optimized.onnx", load_external_data=False).graph.node
    assert [node.op_type for node in nodes].count("MatMulIntegerToFloat") == 8


def test_openvino_reads_the_graph(make_bert: MakeBert, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    name = "BertForQuestionAnswering"
    predictor = opened(make_bert, name)
    graph = write_graph(tmp_path, predictor, name, in_float)
    model = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    given = {
        "input_ids": np.full((2, 5), 7),
        "attention_mask": np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]),
        "token_type_ids": np.zeros((2, 5), dtype=np.int64),
    }
    start, end = onnxruntime.InferenceSession(graph).run(None, given)

    found = model(given)

    real = given["attention_mask"] > 0
    np.testing.assert_allclose(found["start_logits"][real], start[real], atol=2e-5)
    np.testing.assert_allclose(found["end_logits"][real], end[real], atol=2e-5)


def test_weights_are_safetensors_aligned_to_cache_lines(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    tensors = {
        "odd": rng.normal(size=3).astype(np.float32),
        "matrix": rng.integers(-127, 128, (64, 5)).astype(np.int8),
        "bytes": rng.integers(-127, 128, 7).astype(np.int8),
        "row": rng.normal(size=(1, 16)).astype(np.float32),
    }
    path = tmp_path / "model.safetensors"
    places = write_weights(path, tensors)

    data, found = path.read_bytes(), load_file(path)
    assert found.keys() == tensors.keys()
    for name, array in tensors.items():
        offset, length = places[name]
        assert data[offset : offset + length] == array.tobytes()
        np.testing.assert_array_equal(found[name], array)
        assert offset % (ALIGNMENT if length % ALIGNMENT == 0 else array.itemsize) == 0


Spoil = Callable[[onnx.ModelProto], object]


def _external(key: str, value: str) -> Spoil:
    def spoil(model: onnx.ModelProto) -> None:
        tensor = next(t for t in model.graph.initializer if t.external_data)
        next(pair for pair in tensor.external_data if pair.key == key).value = value

    return spoil


def _node(op: str, **more: Any) -> Spoil:
    return lambda model: model.graph.node.append(helper.make_node(op, ["x"], ["y"], **more))


def _first_tensor(model: onnx.ModelProto) -> TensorProto:
    return next(t for t in model.graph.initializer if not t.external_data)


SPOILT: dict[str, tuple[Spoil, str]] = {
    "weights above the folder": (_external("location", "../model.safetensors"), "elsewhere"),
    "weights anywhere": (_external("location", "/etc/passwd"), "elsewhere"),
    "weights behind the end": (_external("offset", str(10**9)), "somewhere else"),
    "a negative offset": (_external("offset", "-8"), "somewhere else"),
    "an endless offset": (_external("offset", "9" * 40), "somewhere else"),
    "fewer bytes than numbers": (_external("length", "4"), "somewhere else"),
    "weights in a shape too large": (
        lambda model: next(t for t in model.graph.initializer if t.external_data).dims.append(9),
        "another tensor",
    ),
    "a dimension without end": (lambda m: _first_tensor(m).dims.append(2**62), "no tensor has"),
    "a negative dimension": (lambda m: _first_tensor(m).dims.append(-1), "no tensor has"),
    "a constant larger than said": (lambda m: _first_tensor(m).dims.append(9), "as its shape"),
    "texts as numbers": (
        lambda m: setattr(_first_tensor(m), "data_type", TensorProto.STRING),
        "no type",
    ),
    "another domain's operator": (_node("Relu", domain="com.microsoft"), "Node with field 7"),
    "another domain": (
        lambda m: m.opset_import.append(helper.make_opsetid("com.microsoft", 1)),
        "another domain",
    ),
    "an operator with a graph": (
        _node("If", then_branch=helper.make_graph([], "a", [], [])),
        "doesn't write: If",
    ),
    "a graph in an attribute": (
        _node("Relu", body=helper.make_graph([], "a", [], [])),
        "Attribute with field",
    ),
    "a tensor in an attribute": (
        _node("Relu", value=helper.make_tensor("x", TensorProto.FLOAT, [1], [0.0])),
        "Attribute with field",
    ),
    "a function of its own": (
        lambda m: m.functions.append(helper.make_function("x", "Relu", [], [], [], m.opset_import)),
        "Model with field",
    ),
    "settings for the engine": (
        lambda m: m.metadata_props.add(key="ort_config", value="{}"),
        "Model with field",
    ),
    "a sparse tensor": (lambda m: m.graph.sparse_initializer.add(), "Graph with field"),
    "no graph": (lambda m: m.ClearField("graph"), "no graph"),
    "a graph too large": (
        lambda m: setattr(m.graph, "name", "x" * LARGEST_GRAPH),
        "more than 2 MB",
    ),
}
ENDINGS = {
    "an unknown field": (b"\x98\x06\x00", "Model with field 99"),
    "a number where operators' versions belong": (b"\x40\x07", "Model with field 8"),
    "a group": (b"\x0b\x0c", "Model with field 1"),
    "a group without end": (b"\x0b", "damaged"),
    "groups in groups": (b"\x0b" * 1000 + b"\x0c" * 1000, "damaged"),
    "a number without end": (b"\x08" + b"\xff" * 11, "damaged"),
    "a text beyond the end": (b"\x12\x7f", "damaged"),
    "a text that isn't UTF-8": (b"\x12\x01\xff", "damaged"),
    "a second graph that adds to the first": (b"\x3a\x04\x0a\x02\x3a\x00", "Node with field 7"),
}


@pytest.fixture(scope="module")
def good(make_bert: MakeBert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graph")
    name = "BertForSequenceClassification"
    graph = write_graph(folder, opened(make_bert, name), name, by_token)
    check(graph)
    return graph


@pytest.mark.parametrize("case", SPOILT)
def test_graph_not_written_by_export_is_refused(good: Path, tmp_path: Path, case: str) -> None:
    spoil, message = SPOILT[case]
    model = onnx.load(good, load_external_data=False)
    spoil(model)
    (tmp_path / "model.onnx").write_bytes(model.SerializeToString())

    with pytest.raises(CheckpointError, match=message):
        check(tmp_path / "model.onnx", good)


@pytest.mark.parametrize("case", ENDINGS)
def test_ambiguous_protobuf_bytes_are_refused(good: Path, tmp_path: Path, case: str) -> None:
    ending, message = ENDINGS[case]
    (tmp_path / "model.onnx").write_bytes(good.read_bytes() + ending)

    with pytest.raises(CheckpointError, match=message):
        check(tmp_path / "model.onnx", good)


@settings(max_examples=60)
@given(data=st.data())
def test_damaged_graph_is_refused_or_harmless(
    good: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    whole = bytearray(good.read_bytes())
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] = data.draw(st.integers(0, 255))
    end = data.draw(st.sampled_from([len(whole), at]))
    path = tmp_path_factory.mktemp("damaged") / "model.onnx"
    path.write_bytes(whole[:end])

    with suppress(CheckpointError):
        check(path, good)


def test_weights_of_another_shape_are_refused(make_bert: MakeBert, tmp_path: Path) -> None:
    """Otherwise the native engine would read beyond their end."""
    predictor = opened(make_bert, "BertForSequenceClassification")
    config, path = config_of(predictor), tmp_path / "model.safetensors"
    for precision, state in (
        ("fp32", state_of(predictor)),
        ("int8", quantized(state_of(predictor))),
    ):
        places = write_weights(path, state)
        slices = read_slices(path)
        assert {name: (it.offset, it.length) for name, it in slices.items()} == places
        check_slices(path, slices, config, 3, precision)
        spoilt: dict[str, dict[str, Any]] = {
            "encoder.embeddings.word.weight": {
                "encoder.embeddings.word.weight": np.zeros((5, 32), np.int8)
            },
            "encoder.layers.1.feed_forward.up.bias": {
                "encoder.layers.1.feed_forward.up.bias": np.zeros(63, np.float32)
            },
            "head.bias": {"head.bias": np.zeros(2, np.float32)},
            "more": {"more": np.zeros(2, np.float32)},
        }
        for name, change in spoilt.items():
            write_weights(path, {**state, **change})
            with pytest.raises(CheckpointError, match=f"{name} is not as config.json"):
                check_slices(path, read_slices(path), config, 3, precision)
        write_weights(path, {name: x for name, x in state.items() if name != "pooler.bias"})
        with pytest.raises(CheckpointError, match=r"pooler\.bias is not as"):
            check_slices(path, read_slices(path), config, 3, precision)


F32 = '{"dtype": "F32", "shape": [%s], "data_offsets": [%s]}'
DAMAGED = "truncated or damaged"
HEADERS = {
    "no length": (b"abc", DAMAGED),
    "a header beyond the file": ((99).to_bytes(8, "little") + b"{}", DAMAGED),
    "an endless header": ((1 << 40).to_bytes(8, "little") + b"{}", "a header of 1,099"),
    "a duplicate tensor": (f'{{"a": {F32 % ("2", "0,8")}, "a": {F32 % ("2", "0,8")}}}', "twice"),
    "no tensor": ('{"a": 3}', DAMAGED),
    "another type": ('{"a": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}', "no tensor"),
    "no numbers": (f'{{"a": {F32 % ("0", "0,0")}, "b": {F32 % ("2", "0,8")}}}', "no tensor"),
    "beyond the end": (f'{{"a": {F32 % ("9", "0,36")}}}', DAMAGED),
    "not up to the end": (f'{{"a": {F32 % ("1", "0,4")}}}', DAMAGED),
    "a gap": (f'{{"a": {F32 % ("1", "4,8")}}}', DAMAGED),
    "overlapping tensors": (f'{{"a": {F32 % ("2", "0,8")}, "b": {F32 % ("1", "4,8")}}}', DAMAGED),
    "backwards": (f'{{"a": {F32 % ("1", "4,0")}}}', DAMAGED),
    "a negative side": (f'{{"a": {F32 % ("-1, -2", "0,8")}}}', DAMAGED),
    "fewer numbers": (f'{{"a": {F32 % ("3", "0,8")}}}', DAMAGED),
}


@pytest.mark.parametrize("case", HEADERS)
def test_weights_file_with_a_false_header_is_refused(tmp_path: Path, case: str) -> None:
    data, message = HEADERS[case]
    path = tmp_path / "model.safetensors"
    if isinstance(data, str):
        data = len(data).to_bytes(8, "little") + data.encode() + b"\0" * 8
    path.write_bytes(data)

    with pytest.raises(CheckpointError, match=message):
        read_slices(path)
