"""Bundles of random weights for the native core, made without torch and without a graph."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.robustness.native_twins import LogitsOnly
from onelayer.base import digest
from onelayer.checkpoint.bundle import FIRST, FOLDER, RECORD, WEIGHTS
from onelayer.checkpoint.bundle_weights import (
    LARGEST_MULTIPLIER,
    MULTIPLIERS,
    TYPES,
    bundle_tensors,
)
from onelayer.checkpoint.config import CONFIG, EncoderConfig
from onelayer.checkpoint.export_record import ExportRecord, FirstModel, FourBitWords, ModelBytes
from onelayer.checkpoint.record import ModelRecord
from onelayer.engines.native.native_engine import NativeEngine
from onelayer.engines.two_engines import TwoEngines
from onelayer.exporting.weights_file import write_weights
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Recipe
from onelayer.tasks.labelled import read_labelled
from onelayer.tokens.tokenizer import Tokenizer
from support.from_tokens import FromTokens, record_of
from support.task_cases import CASES, LONG
from support.tiny_bert import write_bert

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 64,
}
_SORTS = "ForSequenceClassification"
OTHER_FAMILIES: dict[str, dict[str, Any]] = {
    "roberta": {},
    "distilbert": {
        "dim": 32,
        "n_layers": 2,
        "n_heads": 2,
        "hidden_dim": 64,
        "architectures": [f"DistilBert{_SORTS}"],
    },
    "electra": {"embedding_size": 16, "architectures": [f"Electra{_SORTS}"]},
    "mpnet": {},
    "albert": {"embedding_size": 16, "num_hidden_layers": 3, "num_hidden_groups": 2},
}
"""What config.json of other families than BERT has beside ``SIZES``."""


@dataclass(frozen=True)
class NativeBundle:
    """A bundle's directory, and the model that it is in Python."""

    folder: Path
    predictor: Predictor


def native_bundle(
    folder: Path,
    made: Predictor,
    *,
    model_type: str = "bert",
    four_bit_words: bool = False,
    **config: Any,
) -> NativeBundle:
    """Writes the bundle of a predictor's task, with random weights.

    ``config`` is for config.json.
    """
    config = {"model_type": model_type, **config}
    data, tensors, record = _write(folder, made, config, four_bit_words=four_bit_words)
    engine = LogitsOnly(_engine(data, tensors))
    return NativeBundle(folder, replace(made, engine=engine, record=record))


def bundle_of_two(folder: Path, made: Predictor, margin: float) -> NativeBundle:
    """As `native_bundle`, with a narrower model of one layer that answers first."""
    rest = native_bundle(folder, made)
    first, config = folder / FIRST, {"num_hidden_layers": 1, "intermediate_size": 32}
    data, tensors, weights = _write_model(first, made, config, False, seed=1)
    record = rest.predictor.record
    assert record is not None
    assert record.export is not None
    small = FirstModel(what="1 layer", margin=margin, share=0.5, sha256=digest.of_file(weights))
    record = replace(record, export=replace(record.export, first=small))
    _write_record(folder, record)
    engine = TwoEngines(LogitsOnly(_engine(data, tensors)), rest.predictor.engine, margin)
    return NativeBundle(folder, replace(rest.predictor, engine=engine, record=record))


def _engine(data: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> NativeEngine:
    shape = EncoderConfig.from_json(data, CONFIG)
    pooler = shape.family.class_named(data.get("architectures", [""])[0]).pooler_shape
    return NativeEngine(tensors, shape, pooler, threads=1)


def _write(
    folder: Path, made: Predictor, config: dict[str, Any], *, four_bit_words: bool = False
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], ModelRecord]:
    """Writes the files, and returns config.json, the weights and the record."""
    data, tensors, weights = _write_model(folder, made, config, four_bit_words)
    made.tokenizer.write(folder, max_length=EncoderConfig.from_json(data, CONFIG).longest)
    record = replace(
        record_of(made.task, made.layout), export=_export_record(weights, four_bit_words)
    )
    _write_record(folder, record)
    return data, tensors, record


def _write_record(folder: Path, record: ModelRecord) -> None:
    text = json.dumps(record.to_json(), ensure_ascii=False)
    (folder / RECORD).write_text(text, encoding="utf-8")


def _write_model(
    folder: Path, made: Predictor, config: dict[str, Any], four_bit_words: bool, seed: int = 0
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], Path]:
    """Writes config.json and the weights, and returns both with the file of the weights."""
    data = {"vocab_size": made.tokenizer.vocab_size, **SIZES, **config}
    shape = EncoderConfig.from_json(data, CONFIG)
    tensors = _random_tensors(shape, len(made.task.outputs), four_bit_words, seed)
    weights = folder / FOLDER / WEIGHTS
    weights.parent.mkdir(parents=True)
    write_weights(weights, tensors)
    (folder / CONFIG).write_text(json.dumps(data))
    return data, tensors, weights


def _random_tensors(
    shape: EncoderConfig, n_outputs: int, four_bit_words: bool, seed: int
) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(seed)
    found: dict[str, NDArray[Any]] = {}
    wanted = bundle_tensors(shape, n_outputs, "int8", pooled=True, four_bit_words=four_bit_words)
    for name, (kind, sizes) in wanted.items():
        if name == MULTIPLIERS:
            found[name] = rng.integers(1, LARGEST_MULTIPLIER + 1, sizes).astype(TYPES[kind])
        elif kind == "I8":
            found[name] = rng.integers(-127, 128, sizes).astype(TYPES[kind])
        else:
            centre, spread = (1.0, 0.1) if name.endswith("norm.weight") else (0.0, 0.2)
            numbers = rng.normal(centre, spread, sizes)
            found[name] = (abs(numbers) / 100 if name.endswith("scale") else numbers).astype("f4")
    return found


def _export_record(weights: Path, four_bit_words: bool) -> ExportRecord:
    return ExportRecord(
        to="onnx",
        precision="int8",
        activations="dynamic",
        why=None,
        sha256=digest.of_file(weights),
        rows=0,
        file="dev.csv",
        engines={},
        bytes=ModelBytes(run=0, bundle=weights.stat().st_size),
        refused=(),
        max_drop=1.0,
        machine="",
        versions={},
        four_bit_words=FourBitWords(bytes_saved=0) if four_bit_words else None,
    )


def write_example_bundles(folder: Path) -> None:
    """Writes a small bundle of each task, and of families that differ in their tensors."""
    with tempfile.TemporaryDirectory() as name:
        write_bert(Path(name), "BertModel", ())
        tokenizer = Tokenizer.read(Path(name))
        for case in CASES:
            rows = case.write(Path(name))
            recipe = Recipe(**LONG.get(case.task, {}) | case.choices)
            kind, layout, labelled = read_labelled(rows, recipe, lambda _: None)
            task = kind.fit(labelled, tokenizer, recipe, 64)
            made = Predictor(task, tokenizer, FromTokens(len(task.outputs)), layout)
            _write(folder / case.name, made, {})
            if made.task.chooses_an_output:
                bundle_of_two(folder / f"{case.name}, two models", made, 0.4)
        _write(folder / "four-bit words", made, {}, four_bit_words=True)
        made = replace(made, task=replace(made.task, max_length=32))  # some have fewer positions
        for model_type, config in OTHER_FAMILIES.items():
            _write(folder / model_type, made, {"model_type": model_type, **config})
