"""Reads weights from safetensors and torch's pickles, in one file or in shards."""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.model_files import find, read_json
from onelayer.checkpoint.safetensors_file import damaged, open_safetensors, pointer

_SHARD = re.compile(r"[\w-][\w .()+-]{0,199}")


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors in a model directory by their names there, memory-mapped if possible.

    Raises CheckpointError if there are no weights, or files are truncated or damaged.
    """
    for name, read in _READERS.items():
        if path := find(folder, name):
            return read(path)
        if index := find(folder, f"{name}.index.json"):
            return _read_shards(index, read)
    raise CheckpointError(
        "holds no weights", place=Place(folder), hint=f"looked for {' and '.join(_READERS)}"
    )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    with open_safetensors(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.offset_keys()}


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a pickle, which is a program: ``weights_only`` reads it without running it.

    Raises CheckpointError for a damaged file, and for one that holds anything but plain tensors.
    """
    with path.open("rb") as file:
        archive = file.read(4) == b"PK\3\4"  # older than torch 1.6: no zip
    if archive:
        _refuse_bombs(path)
    try:
        with warnings.catch_warnings(action="ignore"):
            state = torch.load(  # noqa: TID251 - the one place where a pickle is read
                path, weights_only=True, map_location="cpu", mmap=archive
            )
    except Exception as error:  # damaged bytes may raise anything
        message = "holds more than tensors, or is damaged"
        hint = "save the model as safetensors, or fetch the file again"
        raise pointer(path) or CheckpointError(message, place=Place(path), hint=hint) from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(x, Tensor) for name, x in state.items()
    ):
        raise CheckpointError("holds no dictionary of tensors", place=Place(path))
    for name, tensor in state.items():
        if tensor.layout is not torch.strided or tensor.device.type != "cpu":
            raise CheckpointError(f"{name} is no plain tensor", place=Place(path))
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            # With strides of 0 a few numbers can have a shape that no memory holds.
            message = f"{name} repeats its numbers to fill its shape"
            raise CheckpointError(message, place=Place(path))
    return state


def _refuse_bombs(path: Path) -> None:
    """Raises CheckpointError for a compressed archive, which may unpack to any size; torch never
    compresses."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except Exception as error:
        raise damaged(path, " ".join(str(error).split())) from error
    stored = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
    if not stored or sum(part.file_size for part in parts) > path.stat().st_size:
        raise CheckpointError(
            "compressed, which torch's own files are not",
            place=Place(path),
            hint="save the model as safetensors",
        )


_READERS: dict[str, Callable[[Path], dict[str, Tensor]]] = {
    "model.safetensors": _read_safetensors,
    "pytorch_model.bin": read_pickle,
}


def _read_shards(index: Path, read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of all files that ``weight_map`` names, in the folder of the index."""
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise CheckpointError("has no weight_map from tensors to files", place=Place(index))
    state: dict[str, Tensor] = {}
    for name in sorted(set(names.values())):
        if not _SHARD.fullmatch(name):
            raise CheckpointError(
                f"{name!r:.80} is no plain file name",
                place=Place(index),
                hint="shards lie beside their index",
            )
        if (path := find(index.parent, name)) is None:
            raise CheckpointError(f"{name} is missing", place=Place(index), hint="fetch it again")
        state |= read(path)
    if lost := sorted(names.keys() - state.keys()):
        raise CheckpointError(f"{names[lost[0]]} lacks {lost[0]}", place=Place(index))
    return state
