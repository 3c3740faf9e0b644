"""The type of a hostile case, and a good model and good files to spoil."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefghij", "good", "bad", "##s"]
CONFIG: dict[str, Any] = {
    "model_type": "bert",
    "architectures": ["BertForSequenceClassification"],
    "vocab_size": len(WORDS),
    "hidden_size": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 6,
    "max_position_embeddings": 32,
    "id2label": {"0": "no", "1": "yes"},
    "label2id": {"no": 0, "yes": 1},
}
RECORD: dict[str, Any] = {
    "format": 1,
    "onelayer": "0.1.0",
    "task": {"name": "classify", "labels": ["no", "yes"], "max_length": 32},
    "layout": {"columns": {"text": "text", "label": "label"}, "separator": None, "first_option": 0},
    "recipe": {},
}
GOOD_ROWS = "text,label\n" + "a good b,yes\nc bad d,no\n" * 10
NORM = "bert.encoder.layer.0.output.LayerNorm.weight"

MODEL = (("inspect", "{it}"), ("predict", "{it}", "{rows}"), ("train", "{rows}", "--model", "{it}"))
RECORD_OF_MODEL = MODEL[:2]
FILE = (("inspect", "{it}", "--model", "{model}"), ("train", "{it}", "--model", "{model}"))
TO_LEARN = FILE[1:]
TO_SPLIT = tuple((*command, "--folds", "0") for command in TO_LEARN)
TO_PREDICT = (("predict", "{model}", "{it}"),)


@dataclass(frozen=True)
class Case:
    """A file or a model that must be refused."""

    name: str
    says: str
    """A part of the expected error line."""
    make: Callable[[Path], Path]
    """Writes the case into an empty folder and returns the path for the commands."""
    commands: Sequence[Sequence[str]]


def model(
    name: str,
    says: str,
    spoil: Callable[[Path], object],
    commands: Sequence[Sequence[str]] = MODEL,
) -> Case:
    """A case that is a good model directory with one thing spoilt."""

    def make(folder: Path) -> Path:
        write_model(folder / "model")
        spoil(folder / "model")
        return folder / "model"

    return Case(name, says, make, commands)


def data(
    name: str,
    says: str,
    file: str,
    content: str | bytes | Callable[[Path], object],
    commands: Sequence[Sequence[str]] = FILE,
) -> Case:
    """A case that is a data file, given as its content or as a function that writes it."""

    def make(folder: Path) -> Path:
        path = folder / file
        if callable(content):
            content(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return Case(name, says, make, commands)


def shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of the good model."""
    width, inner = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    positions = CONFIG["max_position_embeddings"]
    layer = "bert.encoder.layer.0."
    linear = {
        f"{layer}attention.self.query": (width, width),
        f"{layer}attention.self.key": (width, width),
        f"{layer}attention.self.value": (width, width),
        f"{layer}attention.output.dense": (width, width),
        f"{layer}intermediate.dense": (inner, width),
        f"{layer}output.dense": (width, inner),
        "bert.pooler.dense": (width, width),
        "classifier": (2, width),
    }
    norms = ("bert.embeddings.LayerNorm", f"{layer}attention.output.LayerNorm", NORM[:-7])
    found: dict[str, tuple[int, ...]] = {
        "bert.embeddings.word_embeddings.weight": (len(WORDS), width),
        "bert.embeddings.position_embeddings.weight": (positions, width),
        "bert.embeddings.token_type_embeddings.weight": (2, width),
    }
    for name, shape in linear.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    for name in norms:
        found |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    return found


def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {name: rng.normal(0, 0.2, shape).astype("<f4") for name, shape in shapes().items()}


def safetensors(tensors: Mapping[str, np.ndarray], dtype: str = "F32") -> bytes:
    """A safetensors file whose header can hold false values."""
    header, body = {}, b""
    for name, array in tensors.items():
        end = len(body) + array.nbytes
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": [len(body), end]}
        body += array.tobytes()
    return with_header(json.dumps(header).encode(), body)


def with_header(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def write_model(folder: Path) -> None:
    folder.mkdir()
    write_json(folder / "config.json", CONFIG)
    write_json(folder / "onelayer.json", RECORD)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(safetensors(weights()))


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def edit_json(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    value = json.loads(path.read_text(encoding="utf-8"))
    change(value)
    write_json(path, value)
