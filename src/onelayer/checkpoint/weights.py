"""BERT's tensors: found in the files people have, and renamed both ways.

Letters of shapes: V words, P positions, S segments, D hidden size, F feed-forward width.
"""

from __future__ import annotations

import math
import re
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from onelayer.checkpoint.config import BertConfig
from onelayer.errors import CheckpointError, Place
from onelayer.text.model_files import find, parse_json, read_json


@dataclass(frozen=True, slots=True)
class Module:
    """One of our modules, and the modules of transformers that are stacked by rows into it."""

    ours: str
    theirs: tuple[str, ...]
    weight: str
    """The shape of each of theirs, in letters."""
    bias: str = ""


MODULES = (
    Module("embeddings.word", ("embeddings.word_embeddings",), "VD"),
    Module("embeddings.position", ("embeddings.position_embeddings",), "PD"),
    Module("embeddings.segment", ("embeddings.token_type_embeddings",), "SD"),
    Module("embeddings.norm", ("embeddings.LayerNorm",), "D", "D"),
    Module(
        "layers.{i}.attention.qkv",
        (
            "encoder.layer.{i}.attention.self.query",
            "encoder.layer.{i}.attention.self.key",
            "encoder.layer.{i}.attention.self.value",
        ),
        "DD",
        "D",
    ),
    Module("layers.{i}.attention.output", ("encoder.layer.{i}.attention.output.dense",), "DD", "D"),
    Module(
        "layers.{i}.attention.norm", ("encoder.layer.{i}.attention.output.LayerNorm",), "D", "D"
    ),
    Module("layers.{i}.feed_forward.up", ("encoder.layer.{i}.intermediate.dense",), "FD", "F"),
    Module("layers.{i}.feed_forward.down", ("encoder.layer.{i}.output.dense",), "DF", "D"),
    Module("layers.{i}.feed_forward.norm", ("encoder.layer.{i}.output.LayerNorm",), "D", "D"),
    Module("pooler", ("pooler.dense",), "DD", "D"),
)


@dataclass(frozen=True, slots=True)
class Architecture:
    """What stands on the encoder in one of transformers' classes."""

    head: str | None = None
    """The name of the output layer there."""
    pooled: bool = True
    rows: int | None = None
    """How many outputs, where the class fixes that."""
    prefix: str = "bert."


ARCHITECTURES = {
    "BertModel": Architecture(prefix=""),
    "BertForPreTraining": Architecture(),
    "BertForMaskedLM": Architecture(pooled=False),
    "BertForSequenceClassification": Architecture("classifier"),
    "BertForTokenClassification": Architecture("classifier", pooled=False),
    "BertForQuestionAnswering": Architecture("qa_outputs", pooled=False, rows=2),
    "BertForMultipleChoice": Architecture("classifier", rows=1),
}

# Names of other days: TensorFlow's for LayerNorm, and a buffer that was saved for a while.
_OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
_BUFFER = "embeddings.position_ids"

LARGEST_HEADER = 1 << 20
"""Bytes of a safetensors file's header; BERT-Large's has 50,000."""

_SHARD = re.compile(r"[\w-][\w .()+-]{0,199}")


def to_ours(
    state: Mapping[str, Tensor],
    config: BertConfig,
    architecture: str,
    place: str | Path,
) -> tuple[dict[str, Tensor], dict[str, Tensor], list[str]]:
    """Tensors by transformers' names as (encoder and pooler, head, names left out).

    All are fp32 and have the shapes of ``config``. The pooler is absent where ``state`` has none.
    Raises CheckpointError, naming ``place`` and tensor.
    """
    named = {_modern(name): name for name in state if _modern(name) != _BUFFER}

    def take(name: str, shape: tuple[int, ...]) -> Tensor:
        found = named.pop(name, None)
        if found is None:
            raise CheckpointError(f"{name} is missing", place=Place(place))
        return _checked(state[found], found, shape, place)

    letters = _letters(config)
    pooled = any(name.startswith("pooler.") for name in named)
    encoder = {
        ours: _stack([take(name, tuple(letters[letter] for letter in shape)) for name in theirs])
        for ours, theirs, shape in _parameters(config.num_hidden_layers)
        if pooled or not ours.startswith("pooler.")
    }
    head: dict[str, Tensor] = {}
    known = ARCHITECTURES.get(architecture, Architecture())
    if known.head:
        weight = f"{known.head}.weight"
        rows = known.rows or _rows(state[named[weight]] if weight in named else None)
        head["head.weight"] = take(weight, (rows, config.hidden_size))
        head["head.bias"] = take(f"{known.head}.bias", (rows,))
    _refuse_uncounted_layers(named, config, place)
    return encoder, head, sorted(named.values())


def to_theirs(state: Mapping[str, Tensor], architecture: str) -> dict[str, Tensor]:
    """Our tensors under the names of transformers' ``architecture``, its pooler if it has one."""
    known = ARCHITECTURES[architecture]
    layers = len({name.split(".")[1] for name in state if name.startswith("layers.")})
    names = {ours: theirs for ours, theirs, _ in _parameters(layers)}
    out: dict[str, Tensor] = {}
    for ours, tensor in state.items():
        if ours.startswith("head."):
            out[ours.replace("head", str(known.head), 1)] = tensor
        elif known.pooled or not ours.startswith("pooler."):
            theirs = names[ours]
            parts = tensor.chunk(len(theirs))
            out |= {known.prefix + name: part for name, part in zip(theirs, parts, strict=True)}
    return out


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor in ``folder`` by the name it has there, memory-mapped where the file allows.

    Raises CheckpointError where there are no weights, or files are truncated or damaged.
    """
    for name, read in _READERS.items():
        if path := find(folder, name):
            return read(path)
        if index := find(folder, f"{name}.index.json"):
            return _read_shards(index, read)
    raise CheckpointError(
        "holds no weights", place=Place(folder), hint=f"looked for {' and '.join(_READERS)}"
    )


def _modern(name: str) -> str:
    """A tensor's name as transformers has it today, without ``bert.``."""
    name = name.removeprefix("bert.")
    for old, new in _OLD_NAMES.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _parameters(layers: int) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """(our name, their names, shape in letters) of every weight and bias but the head's."""
    for module in MODULES:
        for i in range(layers if "{i}" in module.ours else 1):
            for kind, shape in (("weight", module.weight), ("bias", module.bias)):
                if shape:
                    theirs = tuple(f"{name.format(i=i)}.{kind}" for name in module.theirs)
                    yield f"{module.ours.format(i=i)}.{kind}", theirs, shape


def _letters(config: BertConfig) -> dict[str, int]:
    return {
        "V": config.vocab_size,
        "P": config.max_position_embeddings,
        "S": config.type_vocab_size,
        "D": config.hidden_size,
        "F": config.intermediate_size,
    }


def _checked(tensor: Tensor, name: str, shape: tuple[int, ...], place: str | Path) -> Tensor:
    if tuple(tensor.shape) != shape:
        raise CheckpointError(
            f"{name} is {_sizes(tuple(tensor.shape))}, and config.json makes it {_sizes(shape)}",
            place=Place(place),
            hint="config and weights are of two models",
        )
    if not tensor.is_floating_point():
        raise CheckpointError(
            f"{name} holds {str(tensor.dtype).removeprefix('torch.')}, not floating-point numbers",
            place=Place(place),
            hint="take the model before quantization",
        )
    tensor = tensor.float()
    # A sum is finite only if all its parts are, and takes no memory; parts may be too many for it.
    if not math.isfinite(tensor.sum()) and not tensor.isfinite().all():
        kind = "NaN" if tensor.isnan().any() else "infinite numbers"
        raise CheckpointError(
            f"{name} holds {kind}",
            place=Place(place),
            hint="its training diverged; take an earlier checkpoint",
        )
    return tensor


def _rows(weight: Tensor | None) -> int:
    return len(weight) if weight is not None and weight.dim() else 1


def _sizes(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _stack(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _refuse_uncounted_layers(
    named: Mapping[str, str], config: BertConfig, place: str | Path
) -> None:
    """Layers beyond ``num_hidden_layers`` are no leftover: half a model would load in silence."""
    found = [re.match(r"encoder\.layer\.(\d+)\.", name) for name in named]
    numbers = [int(match[1]) for match in found if match]
    if numbers and max(numbers) >= config.num_hidden_layers:
        raise CheckpointError(
            f"{max(numbers) + 1} layers of weights, and config.json counts "
            f"{config.num_hidden_layers}",
            place=Place(place),
            hint="set num_hidden_layers to the number there is",
        )


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    _check_header(path)
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        raise _damaged(path, " ".join(str(error).split())) from error


def _check_header(path: Path) -> None:
    """What safetensors lets pass: a header without end, and one that names a tensor twice."""
    with path.open("rb") as file:
        length = struct.unpack("<Q", file.read(8).ljust(8, b"\0"))[0]
        if length <= LARGEST_HEADER:
            text = file.read(length)
        elif length < path.stat().st_size:
            raise CheckpointError(
                f"a header of {length:,} bytes, and a BERT's has some ten thousand",
                place=Place(path),
            )
        else:
            raise _damaged(path, f"a header of {length:,} bytes in a smaller file")
    try:
        parse_json(text.decode(), path)
    except (CheckpointError, UnicodeDecodeError) as error:
        if isinstance(error, CheckpointError) and "twice" in error.message:
            raise
        raise _damaged(path, "its header is no JSON") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """A pickle is a program; ``weights_only`` reads the tensors and runs nothing."""
    archive = zipfile.is_zipfile(path)  # files from before torch 1.6 are none, and can't be mapped
    if archive:
        _refuse_bombs(path)
    try:
        with warnings.catch_warnings(action="ignore"):
            state = torch.load(  # noqa: TID251 - the one place where a pickle is read
                path, weights_only=True, map_location="cpu", mmap=archive
            )
    except Exception as error:  # damaged bytes are run as a program and fail in any way
        message = "holds more than tensors, or is damaged"
        hint = "save the model as safetensors, or fetch the file again"
        raise _pointer(path) or CheckpointError(message, place=Place(path), hint=hint) from error
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(x, Tensor) for name, x in state.items()
    ):
        raise CheckpointError("holds no dictionary of tensors", place=Place(path))
    for name, tensor in state.items():
        if tensor.layout is not torch.strided or tensor.device.type != "cpu":
            raise CheckpointError(f"{name} is no plain tensor", place=Place(path))
        if tensor.untyped_storage().nbytes() < tensor.numel() * tensor.element_size():
            # A few numbers may stand for more than any memory holds.
            message = f"{name} repeats its numbers to fill its shape"
            raise CheckpointError(message, place=Place(path))
    return state


def _refuse_bombs(path: Path) -> None:
    """torch stores and never compresses; what is compressed may be of any size."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _damaged(path, str(error)) from error
    stored = all(part.compress_type == zipfile.ZIP_STORED for part in parts)
    if not stored or sum(part.file_size for part in parts) > path.stat().st_size:
        raise CheckpointError(
            "compressed, which torch's own files are not",
            place=Place(path),
            hint="save the model as safetensors",
        )


_READERS: dict[str, Callable[[Path], dict[str, Tensor]]] = {
    "model.safetensors": _read_safetensors,
    "pytorch_model.bin": _read_pickle,
}


def _read_shards(index: Path, read: Callable[[Path], dict[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors of all files that ``weight_map`` names, which lie beside the index."""
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


def _damaged(path: Path, reason: str) -> CheckpointError:
    return _pointer(path) or CheckpointError(
        f"truncated or damaged: {reason}", place=Place(path), hint="fetch the file again"
    )


def _pointer(path: Path) -> CheckpointError | None:
    """What a clone without Git LFS has in place of the weights."""
    with path.open("rb") as file:
        if not file.read(40).startswith(b"version https://git-lfs"):
            return None
    return CheckpointError(
        "a Git LFS pointer, not the weights", place=Place(path), hint="run: git lfs pull"
    )
