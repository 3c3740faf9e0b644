"""Word vectors in four bits: half the bytes, and the answers of the int8 table they stand for."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import onelayer
from onelayer.base import digest
from onelayer.base.compiled_code import compiler
from onelayer.base.errors import CheckpointError, UsageError
from onelayer.checkpoint import record as records
from onelayer.checkpoint.bundle import FOLDER, RECORD, WEIGHTS, read_bundle
from onelayer.checkpoint.bundle_weights import (
    MULTIPLIERS,
    NIBBLES,
    WORDS,
    read_slices,
    word_group,
)
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.single_file import write_single_file
from onelayer.engines.native.four_bit_words import bytes_saved, packed_words
from onelayer.engines.native.native_engine import NativeEngine
from onelayer.engines.native.packed_weights import quantized
from onelayer.engines.onnx_engine import OnnxEngine
from onelayer.engines.torch_engine import TorchEngine
from onelayer.exporting import export as exporting
from onelayer.exporting.products import by_token
from onelayer.prediction.formats import prediction_json
from onelayer.prediction.load import load
from onelayer.tokens.encodings import Encodings
from support.from_tokens import MakePredictor
from support.graphs import state_of, write_graph
from support.multiplied_out import multiplied_out
from support.native_bundles import OTHER_FAMILIES, native_bundle
from support.native_library import NativeFailure, NativeModel
from support.task_cases import CASES, TEXTS
from support.tiny_bert import MakeBert

needs_compiler = pytest.mark.skipif(compiler("C++") is None, reason="no C++ compiler")
TEXTS_OF_CATS = ["a cat", "the cat is good " * 5, "bad", "good cats, bad cats"]


def table(n_words: int, width: int) -> NDArray[np.float32]:
    """Random vectors of several sizes; one has an outlier, one a group of zeros, one only zeros."""
    rng = np.random.default_rng(width)
    found = rng.normal(size=(n_words, width)) * 10.0 ** rng.integers(-3, 3, (n_words, 1))
    found[0, 1] *= 30
    found[1, : word_group(width)] = 0
    found[2] = 0
    return found.astype(np.float32)


# Numbers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [2, 16, 30, 134, 320, 384])
def test_no_row_is_further_off_than_with_plain_four_bits(width: int) -> None:
    words = table(9, width)
    packed = packed_words(words)
    q = multiplied_out(packed)[f"{WORDS}.weight"]
    error = ((words - q * packed[f"{WORDS}.scale"][:, None]) ** 2).sum(axis=1)
    step = np.maximum(np.abs(words).max(axis=1, keepdims=True) / 7, 1e-30)
    plain = ((words - np.rint(words / step) * step) ** 2).sum(axis=1)
    assert (error <= plain * 1.0001).all()
    assert error.sum() < plain.sum() or width == 2
    assert not q[2].any()


def test_multiplier_of_each_group_is_the_best_one() -> None:
    words = table(6, 96)
    packed = packed_words(words)
    scale = packed[f"{WORDS}.scale"].astype(np.float64)
    steps = (words / scale[:, None]).reshape(6, -1, word_group(96))
    errors = [
        ((np.clip(np.rint(steps / m), -8, 7) * m - steps) ** 2).sum(axis=2) for m in range(1, 16)
    ]
    chosen = np.take_along_axis(np.array(errors), packed[MULTIPLIERS][None] - 1, axis=0)[0]
    np.testing.assert_allclose(chosen, np.min(errors, axis=0), rtol=1e-4)


def test_rows_are_searched_in_chunks() -> None:
    words = np.tile(table(9, 16), (1000, 1))
    packed = packed_words(words)
    for one in packed.values():
        np.testing.assert_array_equal(one, np.tile(one[:9], (1000, *[1] * (one.ndim - 1))))
    assert bytes_saved(9000, 16) == words.size - packed[NIBBLES].size - packed[MULTIPLIERS].size


# Engines -----------------------------------------------------------------------------------------


def opened(make_bert: MakeBert) -> tuple[dict[str, NDArray[Any]], EncoderConfig, Encodings]:
    """A tiny model's weights and sizes, and some encoded texts."""
    run = make_bert("BertForSequenceClassification", labels=("a", "b", "c"))
    predictor = load(run)
    assert isinstance(predictor.engine, TorchEngine)
    rows = [predictor.row_of(text, i) for i, text in enumerate(TEXTS_OF_CATS)]
    encodings = predictor.task.encode(rows, predictor.tokenizer, labelled=False)
    data = json.loads((run / "config.json").read_text())
    return state_of(predictor.engine.model), EncoderConfig.from_json(data, run), encodings


def graphs(folder: Path, make_bert: MakeBert) -> tuple[Path, Path, Encodings]:
    """The graph of a model with word vectors in four bits, and that of the table it stands for."""
    state, config, encodings = opened(make_bert)
    small = quantized(state, four_bit_words=True)
    paths = []
    for name, tensors in (("small", small), ("whole", multiplied_out(small))):
        (folder / name).mkdir()
        architecture = "BertForSequenceClassification"
        path = write_graph(folder / name, state, config, architecture, by_token, tensors=tensors)
        paths.append(path)
    return paths[0], paths[1], encodings


def test_graph_computes_the_table(make_bert: MakeBert, tmp_path: Path) -> None:
    small, whole, encodings = graphs(tmp_path, make_bert)
    found, expected = (OnnxEngine(path).logits(encodings) for path in (small, whole))
    assert np.ptp(expected) > 0.01
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_graph_computes_the_table_in_openvino(make_bert: MakeBert, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    from onelayer.engines.openvino_engine import OpenVinoEngine

    small, whole, encodings = graphs(tmp_path, make_bert)
    found, expected = (OpenVinoEngine(path, 1).logits(encodings) for path in (small, whole))
    np.testing.assert_allclose(found, expected, atol=1e-6)


@needs_compiler
def test_native_engine_computes_the_table(make_bert: MakeBert) -> None:
    state, config, encodings = opened(make_bert)
    small = quantized(state, four_bit_words=True)
    found, expected = (
        NativeEngine(tensors, config, threads=1).logits(encodings)
        for tensors in (small, multiplied_out(small))
    )
    assert np.ptp(expected) > 0.01
    np.testing.assert_array_equal(found, expected)


@needs_compiler
@pytest.mark.parametrize("model_type", ["bert", "albert"])
def test_library_reads_directory_and_single_file(
    make_predictor: MakePredictor, tmp_path: Path, model_type: str
) -> None:
    made, _ = make_predictor(replace(CASES[0], choices={"max_length": 32}))
    config = OTHER_FAMILIES.get(model_type, {})
    bundle = native_bundle(
        tmp_path / "bundle", made, model_type=model_type, four_bit_words=True, **config
    )
    given = [{"text": text} for text in TEXTS]
    found = NativeModel(bundle.folder).predict(given).json()
    assert found == [prediction_json(one) for one in bundle.predictor.predict(TEXTS)]
    file = tmp_path / "one.onelayer"
    write_single_file(bundle.folder, file)
    assert NativeModel(file).predict(given).json() == found


@needs_compiler
@pytest.mark.parametrize("multiplier", [-1, 0, 16])
def test_multiplier_that_leaves_eight_bits_is_refused(
    make_predictor: MakePredictor, tmp_path: Path, multiplier: int
) -> None:
    folder = native_bundle(tmp_path / "b", make_predictor(CASES[0])[0], four_bit_words=True).folder
    spoil(folder, multiplier)
    with pytest.raises(NativeFailure, match="multipliers has a number outside of 1 to 15"):
        NativeModel(folder)


def spoil(folder: Path, multiplier: int) -> None:
    """Replaces a multiplier, and the digest of the weights."""
    weights, record = folder / FOLDER / WEIGHTS, folder / RECORD
    place = read_slices(weights)[MULTIPLIERS]
    whole = bytearray(weights.read_bytes())
    whole[place.offset + place.length - 1] = multiplier % 256
    weights.write_bytes(whole)
    data = json.loads(record.read_text(encoding="utf-8"))
    data["export"]["sha256"] = digest.of_file(weights)
    record.write_text(json.dumps(data), encoding="utf-8")


# Export ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bundle(make_bert: MakeBert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("export")
    lines = [json.dumps({"text": t, "label": "ab"[i % 2]}) for i, t in enumerate(TEXTS_OF_CATS * 3)]
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")
    run = make_bert("BertForSequenceClassification", labels=("a", "b"))
    with pytest.MonkeyPatch.context() as patch:
        engines = {"onnxruntime": lambda b: OnnxEngine(b.graph)}
        patch.setattr(exporting, "engines_for", lambda _: engines)
        patch.setattr("onelayer.exporting.speed.ROUNDS", 1)
        patch.setattr("onelayer.exporting.speed.ALONE", 1)
        rows = folder / "rows.jsonl"
        onelayer.export(
            run,
            int8=True,
            four_bit_words=True,
            trim_vocabulary=True,
            out=folder / "bundle",
            train=rows,
            dev=rows,
            accept=True,
        )
    return folder / "bundle"


@pytest.mark.slow
def test_bundle_has_a_small_table_and_says_so(bundle: Path) -> None:
    found = read_bundle(bundle)
    n_words, width = found.config.vocab_size, found.config.hidden_size
    assert found.tensors[NIBBLES].shape == (n_words, width // 2)
    assert f"{WORDS}.weight" not in found.tensors
    assert found.export.four_bit_words is not None
    assert found.export.four_bit_words.bytes_saved == bytes_saved(n_words, width)
    assert found.export.vocabulary is not None
    dropped = found.export.vocabulary.of_pieces - n_words
    assert found.export.vocabulary.bytes_saved == dropped * (width // 2 + 1 + 4)
    assert "Word vectors in 4 bits: saves" in (bundle / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_version_without_four_bits_refuses_the_bundle(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads((bundle / RECORD).read_text(encoding="utf-8"))["format"] == 2
    monkeypatch.setattr(records, "FORMAT", 1)
    with pytest.raises(CheckpointError, match="written in format 2, and this version knows 1"):
        read_bundle(bundle)


@pytest.mark.slow
def test_bundle_with_another_multiplier_is_refused(bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(bundle, tmp_path / "b")
    spoil(tmp_path / "b", 16)
    with pytest.raises(CheckpointError, match="outside of 1 to 15"):
        read_bundle(tmp_path / "b")


@pytest.mark.slow
def test_four_bits_without_int8_are_refused(make_bert: MakeBert, tmp_path: Path) -> None:
    run = make_bert("BertForSequenceClassification", labels=("a", "b"))
    with pytest.raises(UsageError, match="only int8 has word vectors in four bits"):
        onelayer.export(run, four_bit_words=True, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
