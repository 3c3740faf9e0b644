"""Tiny BERTs, and models of other families, with random weights, in directories that transformers
wrote."""

from __future__ import annotations

import string
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from transformers.utils import logging

from onelayer.checkpoint.families import family_with_class

logging.disable_progress_bar()

LETTERS = string.ascii_lowercase + string.digits
VOCABULARY = [
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *(*LETTERS, *string.punctuation, *"我们在北京的很好大学"),
    *(f"##{letter}" for letter in LETTERS),
    *("the", "cat", "##s", "good", "bad"),
]

MakeBert = Callable[..., Path]
"""``make_bert(architecture, labels=..., **config)`` gives the directory of a model."""


def write_bert(folder: Path, architecture: str, labels: tuple[str, ...], **changes: object) -> None:
    """Writes a random model and a vocabulary that covers any ASCII text.

    ``changes`` are values of the config; dropout is off unless they turn it on.
    """
    values: dict[str, object] = {
        "vocab_size": len(VOCABULARY),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        "hidden_dropout_prob": 0.0,
        "attention_probs_dropout_prob": 0.0,
    }
    if labels:
        values["id2label"] = dict(enumerate(labels))
        values["label2id"] = {label: i for i, label in enumerate(labels)}
    cls = getattr(transformers, architecture)
    keys = family_with_class(architecture).keys
    config = cls.config_class(**{keys.get(k, k): v for k, v in (values | changes).items()})
    torch.manual_seed(0)
    model = cls(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            is_scale = "norm.weight" in name.lower()
            parameter.normal_(1.0 if is_scale else 0.0, 0.2 if parameter.dim() > 1 else 0.1)
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY) + "\n", encoding="utf-8")
