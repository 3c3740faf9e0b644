"""Checks a bundle's weights file by its header: all tensors of the model are there, in their sizes.

Engines don't check this themselves: one in C would read past the end of a table that is smaller
than the configuration says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onelayer.base.errors import CheckpointError, Place
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.safetensors_file import open_safetensors

TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype(np.float32), "I8": np.dtype(np.int8)}
"""Of numbers, by the names of those that export writes."""


class TensorSlice(NamedTuple):
    """Where and how a tensor is stored in the file."""

    kind: str
    """``F32`` or ``I8``."""
    shape: tuple[int, ...]
    offset: int
    """Bytes from the beginning of the file."""
    length: int
    """Bytes."""


def read_slices(path: Path) -> dict[str, TensorSlice]:
    """All tensors of a file. Raises CheckpointError for types that export doesn't write."""
    slices = {}
    # The library checks that tensors fill the file without gaps, so their sizes, counted from the
    # end of the file, give their offsets.
    offset = path.stat().st_size
    with open_safetensors(path, "np") as file:
        for name in reversed(file.offset_keys()):
            tensor = file.get_slice(name)
            kind, shape = tensor.get_dtype(), tuple(tensor.get_shape())
            if kind not in TYPES or 0 in shape:
                raise _wrong(path, f"{name:.80} is no tensor that export writes")
            length = TYPES[kind].itemsize * prod(shape)
            offset -= length
            slices[name] = TensorSlice(kind, shape, offset, length)
    return slices


def read_tensors(
    path: Path, slices: Mapping[str, TensorSlice]
) -> tuple[dict[str, NDArray[Any]], str]:
    """All tensors of a file, copied into memory, and the SHA-256 of the bytes that were read.

    Engines compute with this copy: a file that is mapped kills the process when another program
    shortens it, and gives other answers when it is overwritten.
    """
    tensors: dict[str, NDArray[Any]] = {}
    found, at = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        for name, one in sorted(slices.items(), key=lambda item: item[1].offset):
            found.update(file.read(one.offset - at))
            tensor = np.empty(one.shape, dtype=TYPES[one.kind])
            if file.readinto(tensor.reshape(-1).view(np.uint8).data) != one.length:
                raise _wrong(path, "shortened while it was read")
            found.update(tensor.data)
            tensors[name], at = tensor, one.offset + one.length
        found.update(file.read())
    return tensors, found.hexdigest()


def check_slices(
    path: Path,
    slices: Mapping[str, TensorSlice],
    config: EncoderConfig,
    n_outputs: int,
    precision: str,
) -> None:
    """Raises CheckpointError unless the tensors are exactly those of such a model.

    Parameters
    ----------
    path
        The file, for errors.
    slices
        Its tensors.
    config
        The model's sizes.
    n_outputs
        Outputs of its output layer.
    precision
        ``fp32`` or ``int8``.
    """
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
    """The name, type and shape of every tensor, with those of a pooler."""
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
