"""The weights file of a bundle, by its header: what is in it, and that this fits the model.

Engines believe what they are given: one in C would read beyond the end of a table that is smaller
than the configuration says.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.json_values import fits
from onelayer.base.model_files import parse_json
from onelayer.checkpoint.config import EncoderConfig

LARGEST_HEADER = 1 << 20
"""Bytes; BERT-Large's has some 50,000."""
BYTES = {"F32": 4, "I8": 1}


class Slice(NamedTuple):
    """A tensor in the file."""

    kind: str
    """``F32`` or ``I8``."""
    shape: tuple[int, ...]
    offset: int
    """Bytes from the beginning of the file."""
    length: int
    """Bytes."""


def read_slices(path: Path) -> dict[str, Slice]:
    """All tensors of a safetensors file. Raises CheckpointError where it isn't one of ours."""
    size = path.stat().st_size
    with path.open("rb") as file:
        n = struct.unpack("<Q", file.read(8).ljust(8, b"\xff"))[0]
        if n > min(LARGEST_HEADER, size - 8):
            raise _wrong(path, "no header where safetensors have one")
        text = file.read(n)
    try:
        header = parse_json(text.decode(), path)
    except UnicodeDecodeError:
        raise _wrong(path, "its header is no text") from None
    slices = {}
    for name, entry in header.items() if isinstance(header, dict) else ():
        if not fits(entry, dict[str, str | list[int]]):
            raise _wrong(path, f"{name:.80} is no tensor")
        kind, shape, ends = (entry.get(key) for key in ("dtype", "shape", "data_offsets"))
        if kind not in BYTES or not isinstance(shape, list) or not isinstance(ends, list):
            raise _wrong(path, f"{name:.80} is no tensor that export writes")
        length = BYTES[kind]
        for dimension in shape:
            length *= dimension
        inside = len(ends) == 2 and 0 <= ends[0] <= ends[1] <= size - 8 - n
        if not inside or any(dimension < 1 for dimension in shape):
            raise _wrong(path, f"{name:.80} doesn't lie within the file")
        if ends[1] - ends[0] != length:
            raise _wrong(path, f"{name:.80} has not as many numbers as its shape")
        slices[name] = Slice(kind, tuple(shape), 8 + n + ends[0], length)
    return slices


def check_slices(
    path: Path, slices: Mapping[str, Slice], config: EncoderConfig, n_outputs: int, precision: str
) -> None:
    """Raises CheckpointError unless the tensors are just those of such a model."""
    wanted = dict(_tensors(config, n_outputs, precision))
    if "pooler.weight" not in slices:
        wanted = {name: one for name, one in wanted.items() if not name.startswith("pooler.")}
    for name in sorted(wanted.keys() | slices.keys()):
        there = (slices[name].kind, slices[name].shape) if name in slices else None
        if name not in wanted or there != wanted[name]:
            raise _wrong(path, f"{name:.80} is not as config.json and the task have it")


def _tensors(
    config: EncoderConfig, n_outputs: int, precision: str
) -> Iterator[tuple[str, tuple[str, tuple[int, ...]]]]:
    """By name, the kind and the shape of every tensor, the pooler's among them."""
    width, inner = config.hidden_size, config.intermediate_size
    is_int8 = precision == "int8"

    def floats(name: str, *shape: int) -> tuple[str, tuple[str, tuple[int, ...]]]:
        return name, ("F32", shape)

    words = "encoder.embeddings.word"
    yield f"{words}.weight", ("I8" if is_int8 else "F32", (config.vocab_size, width))
    if is_int8:
        yield floats(f"{words}.scale", config.vocab_size)
    yield floats("encoder.embeddings.position.weight", config.max_position_embeddings, width)
    if config.type_vocab_size:
        yield floats("encoder.embeddings.segment.weight", config.type_vocab_size, width)
    norms = ["encoder.embeddings.norm"]
    matrices: dict[str, tuple[int, int]] = {}
    for i in range(config.num_hidden_layers):
        layer = f"encoder.layers.{i}"
        norms += [f"{layer}.{half}.norm" for half in ("attention", "feed_forward")]
        matrices |= {
            f"{layer}.attention.qkv": (width, 3 * width),
            f"{layer}.attention.output": (width, width),
            f"{layer}.feed_forward.up": (width, inner),
            f"{layer}.feed_forward.down": (inner, width),
        }
    for name in norms:
        yield floats(f"{name}.weight", width)
        yield floats(f"{name}.bias", width)
    for name, (k, n) in matrices.items():
        yield f"{name}.weight", ("I8", (k, n)) if is_int8 else ("F32", (n, k))
        yield floats(f"{name}.bias", n)
        if is_int8:
            yield floats(f"{name}.scale", n)
    yield floats("pooler.weight", width, width)
    yield floats("pooler.bias", width)
    yield floats("head.weight", n_outputs, width)
    yield floats("head.bias", n_outputs)


def _wrong(path: Path, message: str) -> CheckpointError:
    hint = "fetch the bundle again, or export the run again"
    return CheckpointError(message, place=Place(path), hint=hint)
