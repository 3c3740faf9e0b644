"""Writes the files of a model directory."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from safetensors.torch import save_file
from torch import Tensor

from onelayer.base import digest
from onelayer.base.disk import write_json, write_text
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.record import ModelRecord
from onelayer.checkpoint.weights import to_theirs
from onelayer.tokens.tokenizer import Tokenizer


def write_checkpoint(
    folder: Path,
    *,
    config: EncoderConfig,
    state: Mapping[str, Tensor],
    architecture: str,
    labels: Sequence[str] | None,
    problem_type: str | None,
    tokenizer: Tokenizer,
    record: ModelRecord,
    card: str,
) -> None:
    """Writes a Hugging Face model directory that transformers opens.

    Parameters
    ----------
    folder
        An existing directory.
    config
        The encoder's configuration.
    state
        The weights under our names, with those of the head.
    architecture
        The class with which transformers opens it.
    labels
        The names of the outputs; None if they are only numbered.
    problem_type
        transformers' name for the loss, if its class has several.
    tokenizer, record, card
        The contents of the other files.
    """
    data = {"architectures": [architecture], **config.to_json(), "dtype": "float32"}
    if not config.family.classes[architecture].rows and "head.bias" in state:
        # transformers takes the number of outputs from their names, so they need some.
        names = labels or [f"LABEL_{i}" for i in range(len(state["head.bias"]))]
        data["id2label"] = {str(i): name for i, name in enumerate(names)}
        data["label2id"] = {name: i for i, name in enumerate(names)}
        data["problem_type"] = problem_type
    write_json(folder / "config.json", data)
    tensors = {
        name: tensor.detach().float().cpu().contiguous()
        for name, tensor in to_theirs(state, config.family, architecture).items()
    }
    weights = folder / "model.safetensors"
    save_file(tensors, weights, metadata={"format": "pt"})
    shutil.copymode(folder / "config.json", weights)  # safetensors lets only its owner read it
    tokenizer.write(folder, max_length=config.longest)
    write_text(folder / "README.md", card)
    record = replace(record, sha256=digest.of_file(weights))
    write_json(folder / "onelayer.json", record.to_json())
