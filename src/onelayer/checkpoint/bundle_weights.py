"""Checks a bundle's weights file by its header: all tensors of the model are there, in their sizes.

Engines don't check this themselves: one in C would read past the end of a table that is smaller
than the configuration says.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from onelayer.base.errors import CheckpointError, Place
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.parameters import parameters_of, pooler_parameters
from onelayer.checkpoint.safetensors_file import open_safetensors

TYPES: dict[str, np.dtype[Any]] = {"F32": np.dtype(np.float32), "I8": np.dtype(np.int8)}
"""Of numbers, by the names of those that export writes."""
WORDS = "encoder.embeddings.word"
NIBBLES, MULTIPLIERS = f"{WORDS}.nibbles", f"{WORDS}.multipliers"
"""What word vectors in four bits have in place of a weight; see `four_bit_words`."""
LARGEST_MULTIPLIER = 15
_LARGEST_GROUP = 64
"""Numbers of a word vector that share a multiplier, at most. With fewer of them the steps follow
the numbers more closely, and the multipliers take more bytes."""
_PRODUCTS = re.compile(r"encoder\.(layers\.\d+\..+|embeddings\.widen)\.weight")


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
    wanted = bundle_tensors(
        config,
        n_outputs,
        precision,
        pooled="pooler.weight" in slices,
        four_bit_words=NIBBLES in slices,
    )
    for name in sorted(wanted.keys() | slices.keys()):
        there = (slices[name].kind, slices[name].shape) if name in slices else None
        if name not in wanted or there != wanted[name]:
            raise _wrong(path, f"{name:.80} is not as config.json and the task have it")


def check_multipliers(path: Path, tensors: Mapping[str, NDArray[Any]]) -> None:
    """Raises CheckpointError for multipliers with which a word vector's numbers could leave eight
    bits."""
    found = tensors.get(MULTIPLIERS)
    if found is not None and not 1 <= found.min() <= found.max() <= LARGEST_MULTIPLIER:
        raise _wrong(path, f"{MULTIPLIERS} has a number outside of 1 to {LARGEST_MULTIPLIER}")


def word_group(width: int) -> int:
    """How many numbers of a word vector in four bits share a multiplier: as many as fit into groups
    of one size, up to 64."""
    return max(n for n in range(1, _LARGEST_GROUP + 1) if width % n == 0)


def bundle_tensors(
    config: EncoderConfig,
    n_outputs: int,
    precision: str,
    *,
    pooled: bool,
    four_bit_words: bool = False,
) -> dict[str, tuple[str, tuple[int, ...]]]:
    """The type and shape of every tensor of a bundle, by name. ``pooled`` says whether there is a
    dense layer before the output layer, ``four_bit_words`` how int8 has the word vectors."""
    width = config.hidden_size
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for one in parameters_of(config):
        name, shape = f"encoder.{one.ours}", one.our_shape(config)
        scale = f"{name.removesuffix('weight')}scale"
        if precision == "int8" and is_product(name, len(shape)):
            found[name], found[scale] = ("I8", shape[::-1]), ("F32", shape[:1])
        elif precision == "int8" and name == f"{WORDS}.weight" and four_bit_words:
            n_words, narrow = shape
            found[NIBBLES] = "I8", (n_words, narrow // 2)
            found[MULTIPLIERS] = "I8", (n_words, narrow // word_group(narrow))
            found[scale] = "F32", (n_words,)
        elif precision == "int8" and name == f"{WORDS}.weight":
            found[name], found[scale] = ("I8", shape), ("F32", shape[:1])
        else:
            found[name] = "F32", shape
    last = {"head.weight": (n_outputs, width), "head.bias": (n_outputs,)}
    if pooled:
        last |= pooler_parameters(config)
    return found | {name: ("F32", sizes) for name, sizes in last.items()}


def is_product(name: str, rank: int) -> bool:
    """Whether a tensor of a number of dimensions is the weight of a linear layer that int8 bundles
    have in eight bits: those of the encoder, which take nearly all of the time."""
    return rank == 2 and _PRODUCTS.fullmatch(name) is not None


def _wrong(path: Path, message: str) -> CheckpointError:
    hint = "fetch the bundle again, or export the run again"
    return CheckpointError(message, place=Place(path), hint=hint)
