"""BERT's tensors: found in the files people have, and renamed both ways.

Letters of shapes: V words, P positions, S segments, D hidden size, F feed-forward width.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from onelayer.base.errors import CheckpointError, Place
from onelayer.checkpoint.config import BertConfig


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
    found = [re.match(r"encoder\.layer\.(\d{1,9})\.", name) for name in named]
    numbers = [int(match[1]) for match in found if match]
    if numbers and max(numbers) >= config.num_hidden_layers:
        raise CheckpointError(
            f"{max(numbers) + 1} layers of weights, and config.json counts "
            f"{config.num_hidden_layers}",
            place=Place(place),
            hint="set num_hidden_layers to the number there is",
        )
