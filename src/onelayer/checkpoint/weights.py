"""Renames the encoder's tensors from a family's names to ours and back."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from onelayer.base.errors import CheckpointError, Place
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.family import Family
from onelayer.checkpoint.parameters import family_parameters, parameters_of, pooler_parameters

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
"""What is read. Numbers of 8 bits have a scale in another tensor."""


@dataclass(frozen=True, slots=True)
class OurTensors:
    """A checkpoint's tensors under our names, in fp32."""

    encoder: dict[str, Tensor]
    poolers: dict[str, dict[str, Tensor]]
    """``pooler.weight`` and ``pooler.bias`` of each dense layer that there is between the encoder
    and an output layer, by its name in the family."""
    head: dict[str, Tensor]
    left_out: list[str]
    """The names in the file of tensors without a place in ours."""


def to_ours(
    state: Mapping[str, Tensor],
    config: EncoderConfig,
    architecture: str,
    place: str | Path,
) -> OurTensors:
    """Renames and checks a checkpoint's tensors.

    Parameters
    ----------
    state
        The tensors under transformers' names.
    config
        The configuration, whose sizes they must have.
    architecture
        transformers' class, which tells the name of the head.
    place
        The directory, for errors.

    Raises
    ------
    CheckpointError
        For a tensor that is missing or wrong; names it.
    """
    family = config.family
    named = {_modern(name, family): name for name in state}
    named = {name: found for name, found in named.items() if name not in family.buffers}

    def take(name: str, shape: tuple[int, ...]) -> Tensor:
        found = named.pop(name, None)
        if found is None:
            raise CheckpointError(
                f"{name} is missing", place=Place(place), hint=_within_another(name, state)
            )
        return _checked(state[found], found, shape, place)

    encoder = {
        one.ours: _stack([take(name, one.their_shape(config)) for name in one.theirs])
        for one in parameters_of(config)
    }
    width = config.hidden_size
    poolers = {}
    for name, norm in family.poolers.items():
        if f"{name}.weight" in named:
            poolers[name] = {
                ours: take(_their_pooler(ours, name, norm), shape)
                for ours, shape in pooler_parameters(config).items()
            }
    head: dict[str, Tensor] = {}
    known = family.class_named(architecture)
    if known.head:
        weight = f"{known.head}.weight"
        rows = known.rows or _rows(state[named[weight]] if weight in named else None)
        head["head.weight"] = take(weight, (rows, width))
        head["head.bias"] = take(f"{known.head}.bias", (rows,))
    _refuse_uncounted_layers(named, config, place)
    return OurTensors(encoder, poolers, head, sorted(named.values()))


def to_theirs(state: Mapping[str, Tensor], family: Family, architecture: str) -> dict[str, Tensor]:
    """Renames our tensors to those of a class of transformers; leaves out what it doesn't have."""
    known = family.classes[architecture]
    prefix = "" if known.bare else family.prefix
    layers = len({name.split(".")[1] for name in state if name.startswith("layers.")})
    names = {one.ours: one.theirs for one in family_parameters(family, layers)}
    out: dict[str, Tensor] = {}
    for ours, tensor in state.items():
        if ours.startswith("head."):
            out[ours.replace("head", str(known.head), 1)] = tensor
        elif ours.startswith("pooler."):
            if known.pooler:
                out[_their_pooler(ours, known.pooler, known.pooler_norm)] = tensor
        else:
            theirs = names[ours]
            parts = tensor.chunk(len(theirs))
            out |= {prefix + name: part for name, part in zip(theirs, parts, strict=True)}
    return out


def _their_pooler(ours: str, pooler: str, norm: str | None) -> str:
    """The name of a tensor of the dense layer with this name, or of the norm after it."""
    part, kind = ours.rsplit(".", 1)
    return f"{norm if part == 'pooler.norm' else pooler}.{kind}"


def _within_another(name: str, state: Mapping[str, Tensor]) -> str | None:
    """What to do where the file has a tensor under a longer name, as ``module.bert.`` makes it."""
    longer = next((found for found in state if found.endswith(f".{name}")), None)
    if longer is None:
        return None
    return f"the file has {longer}: save the model that is inside the other one"


def _modern(name: str, family: Family) -> str:
    """A tensor's name in today's transformers, without the family's prefix."""
    name = name.removeprefix(family.prefix)
    for old, new in family.old_endings.items():
        if name.endswith(old):
            return name.removesuffix(old) + new
    return name


def _checked(tensor: Tensor, name: str, shape: tuple[int, ...], place: str | Path) -> Tensor:
    if tensor.dtype not in _FLOATS:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise CheckpointError(
            f"{name} holds {kind}, not fp16, bf16, fp32 or fp64",
            place=Place(place),
            hint="take the model before quantization",
        )
    if tuple(tensor.shape) != shape:
        raise CheckpointError(
            f"{name} is {_sizes(tuple(tensor.shape))}, and config.json makes it {_sizes(shape)}",
            place=Place(place),
            hint="config and weights are of two models, or of a variant that isn't read",
        )
    tensor = tensor.float()
    # A finite sum means finite numbers, and needs no memory. An infinite one may be an overflow, so
    # then each number is checked.
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
    named: Mapping[str, str], config: EncoderConfig, place: str | Path
) -> None:
    """Raises CheckpointError for more layers than ``num_hidden_layers``: otherwise half a model
    would be loaded without notice."""
    starts = {
        re.escape(theirs.partition("{i}")[0])
        for module in config.family.modules
        for theirs in module.theirs
        if "{i}" in theirs
    }
    numbered = re.compile(rf"(?:{'|'.join(starts)})(\d{{1,9}})\.")
    numbers = [int(match[1]) for name in named if (match := numbered.match(name))]
    if numbers and max(numbers) >= config.num_hidden_layers:
        raise CheckpointError(
            f"{max(numbers) + 1} layers of weights, and config.json counts "
            f"{config.num_hidden_layers}",
            place=Place(place),
            hint="set num_hidden_layers to the number there is",
        )
