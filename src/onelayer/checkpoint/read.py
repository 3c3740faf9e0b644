"""A model directory as it lies on disk, read and checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from onelayer.base import digest
from onelayer.base.errors import CheckpointError, Place, UsageError
from onelayer.base.model_files import find, read_json
from onelayer.checkpoint.config import CONFIG, EncoderConfig, read_config, read_tokenizer
from onelayer.checkpoint.family import ModelClass
from onelayer.checkpoint.record import ModelRecord, read_record
from onelayer.checkpoint.weight_files import read_weights
from onelayer.checkpoint.weights import to_ours
from onelayer.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What a model directory holds, under our names."""

    folder: Path
    config: EncoderConfig
    architecture: str
    """The class of transformers that it was saved from; the encoder's own where it doesn't say."""
    labels: list[str] | None
    """The names of the outputs in order; None where they are only numbered (``LABEL_0``)."""
    problem_type: str | None
    record: ModelRecord | None
    """``onelayer.json``; None where transformers or another tool wrote the directory."""
    encoder: dict[str, Tensor]
    """fp32, with ``pooler.*`` if the checkpoint has one."""
    head: dict[str, Tensor]
    """``head.weight`` and ``head.bias``; empty where the architecture has none."""
    left_out: list[str]
    """Names in the file of tensors with no place in ours: pretraining's heads."""
    tokenizer: Tokenizer

    @property
    def form(self) -> str | None:
        """What the output layer is for: see `ModelClass.form`; None where there is none."""
        return self.config.family.class_named(self.architecture).form


def read(folder: Path) -> Checkpoint:
    """Reads the model directory ``folder``: transformers' or ours.

    Raises CheckpointError for what is missing, damaged, at odds with the rest, or of no
    known family.
    """
    config, data = read_config(folder)
    tokenizer = read_tokenizer(folder, config)
    architecture = _architecture(data, config)
    record = _record(folder, config.max_position_embeddings)
    if record is not None:
        _verify(find(folder, "model.safetensors"), record)
    encoder, head, left_out = to_ours(read_weights(folder), config, architecture, folder)
    named = record is not None
    problem_type = data.get("problem_type")
    return Checkpoint(
        folder=folder,
        config=config,
        architecture=architecture,
        labels=_labels(data, config.family.class_named(architecture), head, named, folder / CONFIG),
        problem_type=problem_type if isinstance(problem_type, str) else None,
        record=record,
        encoder=encoder,
        head=head,
        left_out=left_out,
        tokenizer=tokenizer,
    )


def extend_positions(weight_PD: Tensor, n: int) -> Tensor:
    """Position vectors for sequences of ``n`` tokens, (n, D), from those for P.

    The P vectors are spread evenly over the n places and what lies between two of them is
    interpolated linearly, first and last staying as they were. Fine-tuning then finds the same
    order at a finer scale (position interpolation, Chen et al. 2023, arXiv:2306.15595, for
    learned vectors).
    """
    positions = len(weight_PD)
    if n < positions:
        raise UsageError(
            f"{n} positions are fewer than the checkpoint's {positions}",
            hint="--positions extends; --max-length shortens",
        )
    spread = F.interpolate(weight_PD.T[None], size=n, mode="linear", align_corners=True)
    return spread[0].T.contiguous()


def _record(folder: Path, positions: int) -> ModelRecord | None:
    path = find(folder, "onelayer.json")
    return read_record(read_json(path), folder, positions) if path else None


def _verify(weights: Path | None, record: ModelRecord) -> None:
    """Raises CheckpointError where the weights are not those that the run was saved with."""
    written = record.sha256
    if written is not None and weights is not None and digest.of_file(weights) != written:
        raise CheckpointError(
            "not as onelayer saved it: truncated, damaged or replaced",
            place=Place(weights),
            hint="fetch the directory again, or remove sha256 from onelayer.json if it was you",
        )


def _architecture(data: Mapping[str, Any], config: EncoderConfig) -> str:
    match data.get("architectures"):
        case [str(name), *_]:
            return name
        case _:
            return config.family.encoder_class


def _labels(
    data: Mapping[str, Any],
    known: ModelClass,
    head: Mapping[str, Tensor],
    named: bool,
    place: Path,
) -> list[str] | None:
    """The names in ``id2label``, for heads whose outputs have names.

    ``named`` tells that a user gave the names, even if they read LABEL_0: we wrote the file.
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
