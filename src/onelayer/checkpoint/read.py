"""Reads and checks a model directory."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from onelayer.base import digest
from onelayer.base.errors import CheckpointError, Place, UsageError
from onelayer.base.model_files import find, read_json
from onelayer.checkpoint.config import (
    CONFIG,
    EncoderConfig,
    architecture_of,
    read_config,
    read_tokenizer,
)
from onelayer.checkpoint.family import ModelClass
from onelayer.checkpoint.parameters import family_parameters
from onelayer.checkpoint.record import ModelRecord, read_record
from onelayer.checkpoint.weight_files import read_weights
from onelayer.checkpoint.weights import to_ours
from onelayer.tokens.tokenizer import Tokenizer

WEIGHTS = (".safetensors", ".bin")
"""The suffixes of files that may hold weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A model directory without its weights: what describes them."""

    folder: Path
    config: EncoderConfig
    config_json: Mapping[str, Any]
    """The whole content of ``config.json``."""
    architecture: str
    """The class of transformers that it was saved from; the encoder's own where it doesn't say."""
    problem_type: str | None
    record: ModelRecord | None
    """``onelayer.json``; None where transformers or another tool wrote the directory."""
    tokenizer: Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(Description):
    """A model directory with its weights, under our names."""

    labels: list[str] | None
    """The names of the outputs in order; None where they are only numbered (``LABEL_0``)."""
    encoder: dict[str, Tensor]
    """fp32."""
    poolers: dict[str, dict[str, Tensor]]
    """The dense layers between the encoder and an output layer: see `OurTensors`."""
    head: dict[str, Tensor]
    """``head.weight`` and ``head.bias``; empty where the architecture has none."""
    left_out: list[str]
    """Names in the file of tensors with no place in ours: pretraining's heads."""

    @property
    def form(self) -> str | None:
        """What the output layer is for: see `ModelClass.form`; None where there is none."""
        return self.config.family.class_named(self.architecture).form


def read_checkpoint(folder: Path) -> Checkpoint:
    """Reads the model directory ``folder``: transformers' or ours.

    Raises CheckpointError for what is missing, damaged, at odds with the rest, or of no
    known family.
    """
    described = describe(folder)
    weights = find(folder, "model.safetensors")
    if weights is not None and described.record is not None and described.record.sha256:
        _verify(described, weights, digest.of_file(weights))
    return with_weights(described)


def describe(folder: Path) -> Description:
    """Reads of a model directory all but its weights.

    Raises CheckpointError for what is missing, damaged, at odds with the rest, or of no
    known family.
    """
    config, data = read_config(folder)
    tokenizer = read_tokenizer(folder, config)
    problem_type = data.get("problem_type")
    return Description(
        folder=folder,
        config=config,
        config_json=data,
        architecture=architecture_of(data, config),
        problem_type=problem_type if isinstance(problem_type, str) else None,
        record=_record(folder, config.longest),
        tokenizer=tokenizer,
    )


def digests_of(described: Description) -> dict[str, str]:
    """SHA-256 of the config and of the files with weights, by name.

    Raises CheckpointError where the weights are not those that a run was saved with, and for files
    that are far too large for the config: to read them to their end would take forever.
    """
    folder = described.folder
    names = sorted(path.name for path in folder.iterdir() if path.suffix in WEIGHTS)
    files = [file for name in (CONFIG, *names) if (file := find(folder, name))]
    if not names:
        raise CheckpointError(
            "holds no weights",
            place=Place(folder),
            hint="looked for model.safetensors and pytorch_model.bin",
        )
    size, (least, most) = sum(file.stat().st_size for file in files), _bytes_of(described.config)
    for wrong, bound, how in ((size > most, most, "most"), (size < least, least, "least")):
        if wrong:
            raise CheckpointError(
                f"weights of {size:,} bytes, and {CONFIG} makes it {bound:,} at {how}",
                place=Place(folder),
            )
    found = {file.name: digest.of_file(file) for file in files}
    for file in files:
        if file.name == "model.safetensors":
            _verify(described, file, found[file.name])
    return found


def _bytes_of(config: EncoderConfig) -> tuple[int, int]:
    """The fewest bytes that weights of such a model may have, and the most: its layers in half
    precision, and four times all of it in float64, because there may be parts that only pretraining
    used, and the same weights in two formats."""
    n_layers = config.bricks.own_layers or config.num_hidden_layers
    in_layers, elsewhere = 0, config.hidden_size**2
    for parameter in family_parameters(config.family, 1, config):  # of one layer: all are alike
        n = math.prod(parameter.our_shape(config))
        if parameter.ours.startswith("layers."):
            in_layers += n_layers * n
        else:
            elsewhere += n
    return 2 * in_layers, 4 * 8 * (in_layers + elsewhere) + (64 << 20)


def with_weights(described: Description) -> Checkpoint:
    """Reads the weights as well. `digests_of` checks that they are those that a run saved."""
    folder, config, architecture = described.folder, described.config, described.architecture
    found = to_ours(read_weights(folder), config, architecture, folder)
    known, named = config.family.class_named(architecture), described.record is not None
    labels = _labels(described.config_json, known, found.head, named, folder / CONFIG)
    own = {field.name: getattr(described, field.name) for field in fields(described)}
    return Checkpoint(
        **own,
        labels=labels,
        encoder=found.encoder,
        poolers=found.poolers,
        head=found.head,
        left_out=found.left_out,
    )


def extend_positions(weight_PD: Tensor, n: int) -> Tensor:
    """Position vectors for sequences of ``n`` tokens, (n, D), from those for P.

    The P vectors are spread evenly over the n positions, and those between them are interpolated
    linearly; the first and the last stay the same. This is position interpolation (Chen et al.
    2023, arXiv:2306.15595) for learned vectors: fine-tuning starts from the same order on a finer
    scale.
    """
    check_positions(n, len(weight_PD))
    spread = F.interpolate(weight_PD.T[None], size=n, mode="linear", align_corners=True)
    return spread[0].T.contiguous()


def check_positions(n: int, trained: int) -> None:
    """Raises UsageError if the checkpoint has more than ``n`` positions already."""
    if n < trained:
        raise UsageError(
            f"{n} positions are fewer than the checkpoint's {trained}",
            hint="--positions extends; --max-length shortens",
        )


def _record(folder: Path, positions: int) -> ModelRecord | None:
    path = find(folder, "onelayer.json")
    return read_record(read_json(path), folder, positions) if path else None


def _verify(described: Description, weights: Path, found: str) -> None:
    """Raises CheckpointError where the weights are not those that the run was saved with."""
    written = described.record.sha256 if described.record else None
    if written is not None and found != written:
        raise CheckpointError(
            "not as onelayer saved it: truncated, damaged or replaced",
            place=Place(weights),
            hint="fetch the directory again, or remove sha256 from onelayer.json if it was you",
        )


def _labels(
    data: Mapping[str, Any],
    known: ModelClass,
    head: Mapping[str, Tensor],
    named: bool,
    place: Path,
) -> list[str] | None:
    """The names in ``id2label``, for heads whose outputs have names.

    ``named`` means that we wrote the file, so its names are the user's even if they are LABEL_0.
    """
    table = data.get("id2label")
    if not head or known.rows or table is None:
        return None
    if not isinstance(table, dict) or not all(isinstance(x, str | int) for x in table.values()):
        raise CheckpointError("id2label is no table of names", place=Place(place))
    labels = [table.get(str(i)) for i in range(len(table))]
    rows = len(head["head.bias"])
    if len(labels) != rows or None in labels:
        raise CheckpointError(
            f"id2label names {len(table)} labels, and the weights have {rows}", place=Place(place)
        )
    if twice := [label for label, count in Counter(map(str, labels)).items() if count > 1]:
        raise CheckpointError(f"id2label names {twice[0]!r} twice", place=Place(place))
    if data.get("problem_type") == "regression":
        return None
    numbered = labels == [f"LABEL_{i}" for i in range(rows)]
    return None if numbered and not named else [str(label) for label in labels]
