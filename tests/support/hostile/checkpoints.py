"""Hostile model directories: false, malicious or endless config.json and weights."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from support.hostile.case import (
    CONFIG,
    NORM,
    Case,
    model,
    safetensors,
    weights,
    with_header,
    write_json,
)

DEEP = 100_000
WORD = "bert.embeddings.word_embeddings.weight"


class Program:
    """A pickle that writes a file named ``ran`` if it is ever executed."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch ran",)


# config.json -------------------------------------------------------------------------------------


def config(name: str, says: str, /, **changes: Any) -> Case:
    def spoil(folder: Path) -> None:
        write_json(folder / "config.json", CONFIG | changes)

    return model(f"config.json: {name}", says, spoil)


def config_bytes(name: str, says: str, content: bytes) -> Case:
    def spoil(folder: Path) -> None:
        (folder / "config.json").write_bytes(content)

    return model(f"config.json: {name}", says, spoil)


def config_text(name: str, says: str, old: str, new: str) -> Case:
    text = json.dumps(CONFIG)
    assert old in text
    return config_bytes(name, says, text.replace(old, new, 1).encode())


CONFIGS = [
    config("code of its own", "auto_map", auto_map={"AutoModel": "evil.py--Model"}),
    config("code from elsewhere", "auto_map", auto_map={"AutoConfig": "them/evil--conf.Config"}),
    config("a pipeline of its own", "custom_pipelines", custom_pipelines={"x": {"impl": "a.B"}}),
    config("asks for trust", "trust_remote_code", trust_remote_code=True),
    config("not a BERT", "model_type is", model_type="\x1b[2J\nevil " * 1000),
    config("hidden_size of a billion", "config.json makes it", hidden_size=10**9),
    config("a million layers", "is missing", num_hidden_layers=10**6),
    config("a vocabulary of 10^12", "config.json makes it", vocab_size=10**12),
    config("no attention heads", "num_attention_heads is 0", num_attention_heads=0),
    config("heads that don't divide", "can't be shared", num_attention_heads=3),
    config("a negative size", "intermediate_size is -6", intermediate_size=-6),
    config("a boolean size", "num_hidden_layers is True", num_hidden_layers=True),
    config("a fractional size", "hidden_size is 8.0", hidden_size=8.0),
    config("NaN", "layer_norm_eps is nan", layer_norm_eps=float("nan")),
    config("infinity", "hidden_dropout_prob is inf", hidden_dropout_prob=float("inf")),
    config("a wrong number of labels", "3 labels", id2label={"0": "a", "1": "b", "2": "c"}),
    config("labels that are lists", "id2label", id2label={"0": ["no"], "1": {"yes": 1}}),
    config("labels that are a list", "id2label", id2label=["no", "yes"]),
    config_text("a number of 10,000 digits", "digits", ': 8,"'[:4], f": {'9' * 10_000},"),
    config_text(
        "a number beyond any float",
        "hidden_size is inf",
        '"hidden_size": 8',
        '"hidden_size": 1e4000',
    ),
    config_bytes("lists 100,000 deep", "nested too deeply", b"[" * DEEP),
    config_bytes("objects 100,000 deep", "nested too deeply", b'{"a":' * DEEP),
    config_text(
        "a duplicate key", "twice", '"hidden_size": 8', '"hidden_size": 4, "hidden_size": 8'
    ),
    config_bytes("UTF-16", "isn't UTF-8", json.dumps(CONFIG).encode("utf-16")),
    config_bytes("Latin-1", "isn't UTF-8", b'{"model_type": "bert\xe9"}'),
    config_bytes("NUL bytes", "isn't JSON", b"\0" * 1000),
    config_bytes("a list", "isn't a JSON object", b"[]"),
    config_bytes("empty", "isn't JSON", b""),
    config_bytes("cut off", "isn't JSON", json.dumps(CONFIG).encode()[:-10]),
    config_bytes("millions of empty lists", "memory", b'{"a": [' + b"[]," * 4_000_000 + b"[]]}"),
]


# safetensors -------------------------------------------------------------------------------------


def raw(name: str, says: str, content: bytes) -> Case:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(content)

    return model(f"safetensors: {name}", says, spoil)


def header(name: str, says: str, /, **changes: Any) -> Case:
    """A file with another header entry for the word embeddings."""
    whole = safetensors(weights())
    length = struct.unpack("<Q", whole[:8])[0]
    told = json.loads(whole[8 : 8 + length])
    told[WORD] |= changes
    return raw(name, says, with_header(json.dumps(told).encode(), whole[8 + length :]))


def tensor(name: str, says: str, change: Callable[[dict[str, np.ndarray]], object]) -> Case:
    state = weights()
    change(state)
    return raw(name, says, safetensors(state))


def one(name: str, says: str, text: str, body: bytes = b"") -> Case:
    return raw(name, says, with_header(text.encode(), body))


def two_gigabytes(folder: Path) -> None:
    """A sparse file that really has a header of that length."""
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", 2 << 30) + b'{"a')
        file.truncate((2 << 30) + 100)


def put(array: np.ndarray, value: float) -> None:
    array.reshape(-1)[-1] = value


F32 = '{"dtype":"F32","shape":[%s],"data_offsets":[%s]}'
WHOLE = safetensors(weights())

SAFETENSORS = [
    model("safetensors: a header of 2 GB", "header of 2,147,483,648 bytes", two_gigabytes),
    raw("a header of 2 GB in a small file", "header", struct.pack("<Q", 2 << 30) + b"{}"),
    raw("a header of 2^64 - 1 bytes", "header", b"\xff" * 8 + b"{}"),
    raw("empty", "truncated or damaged", b""),
    raw("three bytes", "truncated or damaged", b"\1\0\0"),
    raw("a header alone", "truncated or damaged", WHOLE[:100]),
    raw("cut in the header", "truncated or damaged", WHOLE[:500]),
    raw("cut in the last tensor", "truncated or damaged", WHOLE[:-1]),
    raw("bytes after the end", "truncated or damaged", WHOLE + b"\0" * 64),
    one("a header that isn't JSON", "truncated or damaged", "{tensors}"),
    one("a header that is a list", "truncated or damaged", "[]"),
    one("a deep header", "truncated or damaged", '{"a":' * DEEP),
    one("a number for a tensor", "truncated or damaged", '{"a": 1}'),
    one("a header of NUL bytes", "truncated or damaged", "\0" * 100),
    one(
        "a billion by a billion",
        "truncated or damaged",
        f'{{"a":{F32 % ("1000000000,1000000000", "0,8")}}}',
    ),
    one(
        "a shape beyond 64 bits",
        "truncated or damaged",
        f'{{"a":{F32 % ("4294967296,4294967296,16", "0,0")}}}',
    ),
    one(
        "a duplicate key",
        "twice",
        f'{{"a":{F32 % ("1", "0,4")},"a":{F32 % ("1", "0,4")}}}',
        b"\0" * 4,
    ),
    one(
        "a hole between tensors",
        "truncated or damaged",
        f'{{"a":{F32 % ("1", "0,4")},"b":{F32 % ("1", "8,12")}}}',
        b"\0" * 12,
    ),
    header("a negative size", "truncated or damaged", shape=[-18, 8]),
    header("a size that is text", "truncated or damaged", shape=["18", 8]),
    header("overlapping tensors", "truncated or damaged", data_offsets=[4, 580]),
    header("offsets beyond the end", "truncated or damaged", data_offsets=[0, 10**12]),
    header("an end before its start", "truncated or damaged", data_offsets=[576, 0]),
    header("an unknown type", "truncated or damaged", dtype="PICKLE"),
    header("whole numbers", "holds int32", dtype="I32"),
    tensor("NaN", "NaN", lambda state: put(state[NORM], np.nan)),
    tensor("infinity", "infinit", lambda state: put(state[WORD], np.inf)),
    tensor("a missing tensor", "is missing", lambda state: state.pop(NORM)),
    tensor("another shape", "config.json makes it", lambda s: s.update({WORD: s[WORD].T.copy()})),
    tensor(
        "ten dimensions",
        "config.json makes it",
        lambda s: s.update({WORD: s[WORD].reshape(18, 8, *[1] * 8)}),
    ),
    tensor(
        "a head for other labels",
        "2 labels, and the weights have 3",
        lambda s: s.update(
            {"classifier.weight": np.ones((3, 8), "<f4"), "classifier.bias": np.ones(3, "<f4")}
        ),
    ),
    tensor(
        "100,000 tensors",
        "header of",
        lambda s: s.update({f"x{i}": np.ones(0, "<f4") for i in range(100_000)}),
    ),
]


# pytorch_model.bin -------------------------------------------------------------------------------


def pickled(name: str, says: str, write: Callable[[Path], object]) -> Case:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        write(folder / "pytorch_model.bin")

    return model(f"pytorch_model.bin: {name}", says, spoil)


def archive(pickle_bytes: bytes, how: int = zipfile.ZIP_STORED, **more: bytes) -> bytes:
    """A file as ``torch.save`` lays it out."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", how) as made:
        made.writestr("archive/data.pkl", pickle_bytes)
        made.writestr("archive/version", "3\n")
        made.writestr("archive/byteorder", "little")
        for name, content in more.items():
            made.writestr(f"archive/data/{name.strip('_')}", content)
    return file.getvalue()


def bomb(path: Path) -> None:
    """A gigabyte in a megabyte."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as made:
        made.writestr("archive/version", "3\n")
        with made.open("archive/data.pkl", "w", force_zip64=True) as file:
            for _ in range(128):
                file.write(bytes(1 << 23))


def with_persistent_id(value: object) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, found: object) -> object:
            return value if found == "here" else None

    file = io.BytesIO()
    Pickler(file, protocol=2).dump({"a": "here"})
    return file.getvalue()


def expanded(path: Path) -> None:
    """A vocabulary of a billion words that all share the same eight numbers."""
    import torch

    rows = 10**9
    state = {name: torch.from_numpy(array) for name, array in weights().items()}
    state[WORD] = torch.ones(8).expand(rows, 8)
    torch.save(state, path)
    write_json(path.parent / "config.json", CONFIG | {"vocab_size": rows})


def saved(value: object, path: Path, **how: Any) -> None:
    import torch

    torch.save(value, path, **how)


# A pickle that claims a first string of 2^40 bytes.
LONG_STRING = b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b"abc."

PICKLES = [
    pickled(
        "runs a program",
        "more than tensors",
        lambda p: p.write_bytes(archive(pickle.dumps(Program(), 2))),
    ),
    pickled(
        "runs a program, old layout",
        "more than tensors",
        lambda p: p.write_bytes(pickle.dumps(Program(), 2)),
    ),
    pickled("a program among tensors", "more than tensors", lambda p: saved({"a": Program()}, p)),
    pickled(
        "a program in old clothes",
        "more than tensors",
        lambda p: saved({"a": Program()}, p, _use_new_zipfile_serialization=False),
    ),
    pickled("a zip bomb", "compressed", bomb),
    pickled(
        "a compressed archive",
        "compressed",
        lambda p: p.write_bytes(archive(bytes(10**6), zipfile.ZIP_DEFLATED)),
    ),
    pickled("empty", "damaged", lambda p: p.write_bytes(b"")),
    pickled("cut off", "damaged", lambda p: p.write_bytes(archive(pickle.dumps({}, 2))[:-30])),
    pickled("a pickle cut off", "damaged", lambda p: p.write_bytes(archive(b"\x80\x02}q\0("))),
    pickled("a string of a terabyte", "damaged", lambda p: p.write_bytes(archive(LONG_STRING))),
    pickled("a terabyte, old layout", "damaged", lambda p: p.write_bytes(LONG_STRING)),
    pickled(
        "a persistent id of no storage",
        "damaged",
        lambda p: p.write_bytes(archive(with_persistent_id("evil"))),
    ),
    pickled(
        "a storage from elsewhere",
        "damaged",
        lambda p: p.write_bytes(
            archive(with_persistent_id(("storage", "x", "../../config.json", "cpu", 4)))
        ),
    ),
    pickled("a list", "no dictionary of tensors", lambda p: saved([1, 2], p)),
    pickled("numbers for tensors", "no dictionary of tensors", lambda p: saved({"a": 1}, p)),
    pickled(
        "tensors without a name",
        "no dictionary of tensors",
        lambda p: saved(tensors_by_number(), p),
    ),
    pickled("a billion words that share memory", "repeats its numbers", expanded),
    pickled(
        "binary noise", "damaged", lambda p: p.write_bytes(np.random.default_rng(0).bytes(10_000))
    ),
]


def tensors_by_number() -> dict[Any, Any]:
    import torch

    return {1: torch.ones(1)}


# Not regular files, and indices ------------------------------------------------------------------


def instead(name: str, says: str, file: str, put_there: Callable[[Path], object]) -> Case:
    def spoil(folder: Path) -> None:
        (folder / file).unlink()
        put_there(folder / file)

    return model(f"{file}: {name}", says, spoil)


def outside(path: Path) -> None:
    """A link to a file outside the folder."""
    elsewhere = path.parent.parent / "private"
    elsewhere.write_text("secret\n", encoding="utf-8")
    path.symlink_to(elsewhere)


FILES = [
    case
    for file in ("config.json", "model.safetensors", "vocab.txt", "onelayer.json")
    for case in (
        instead("a FIFO", "not a regular file", file, os.mkfifo),
        instead("a directory", "not a regular file", file, Path.mkdir),
        instead("a link to /dev/zero", "leads out of", file, lambda p: p.symlink_to("/dev/zero")),
        instead("a link to itself", "link", file, lambda p: p.symlink_to(p)),
        instead("a link out of the directory", "leads out of", file, outside),
    )
]


def index(name: str, says: str, weight_map: Any, spoil: Callable[[Path], object] = id) -> Case:
    def make(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "shard.safetensors")
        write_json(folder / "model.safetensors.index.json", {"weight_map": weight_map})
        spoil(folder)

    return model(f"index: {name}", says, make)


INDICES = [
    index("a shard above", "no plain file name", {"a": "../shard.safetensors"}),
    index("a shard by its whole path", "no plain file name", {"a": "/etc/passwd"}),
    index("a shard named ..", "no plain file name", {"a": ".."}),
    index("a shard with a NUL in its name", "no plain file name", {"a": "a\0b"}),
    index("a shard with a lone surrogate in its name", "no plain file name", {"a": "\ud800"}),
    index("a shard with a name of 10,000 letters", "no plain file name", {"a": "x" * 10_000}),
    index("a missing shard", "is missing", {"a": "lost.safetensors"}),
    index("a tensor that its shard lacks", "lacks a", {"a": "shard.safetensors"}),
    index("the index itself as a shard", "damaged", {"a": "model.safetensors.index.json"}),
    index("a shard that is a link", "leads out of", {"a": "s"}, lambda f: outside(f / "s")),
    index("a FIFO for a shard", "not a regular file", {"a": "s"}, lambda f: os.mkfifo(f / "s")),
    index("names for a list", "no weight_map", ["shard.safetensors"]),
    index("numbers for files", "no weight_map", {"a": 1}),
    index("a million tensors", "tensors", {f"{i}": "shard.safetensors" for i in range(10**6)}),
]

CASES = CONFIGS + SAFETENSORS + PICKLES + FILES + INDICES
