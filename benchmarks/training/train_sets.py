"""The data sets and models of train_speed.py, the same for all contestants."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training.arithmetic import Shape
from onelayer.checkpoint.config import read_config
from onelayer.checkpoint.families import FAMILIES
from onelayer.checkpoint.source import resolve
from onelayer.recipe import Recipe
from onelayer.tasks import Task
from onelayer.tasks.labelled import read_labelled
from onelayer.tokens.encodings import Ints
from onelayer.tokens.tokenizer import Tokenizer

ROWS = 6400
"""Larger sets are sampled: 200 batches, enough for the largest pool of 50 batches that
``group_by_length`` sorts."""
POSITIONS = 512


@dataclass(frozen=True, slots=True)
class SpeedSet:
    name: str
    train: str
    task: str
    chinese: bool = False
    max_length: int = POSITIONS
    skip_bad: bool = False


SETS = [
    SpeedSet("sst2_sentences", "sst2_sentences/train.tsv", "classify"),
    SpeedSet("cola", "cola/cola_public/raw/in_domain_train.tsv", "classify"),
    SpeedSet("rte", "rte/train.tsv", "classify"),
    SpeedSet("wnut17", "wnut17/wnut17train.conll", "tag"),
    SpeedSet("squad_dev", "squad_dev/v1.1-train.json", "answer", max_length=384),
    SpeedSet("cluener2020", "cluener2020/jsonl/train.json", "tag", chinese=True, skip_bad=True),
]

# Sizes by transformers' names.
SHAPES: dict[str, dict[str, int]] = {
    "starter": {
        "hidden_size": 384,
        "num_hidden_layers": 6,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    },
    "base": {
        "hidden_size": 768,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 3072,
    },
    "large": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "intermediate_size": 4096,
    },
}

BERT = "bert"
_ROBERTA: dict[str, Any] = {"type_vocab_size": 1, "max_position_embeddings": POSITIONS + 2}
AS_PUBLISHED: dict[str, dict[str, Any]] = {
    "roberta": _ROBERTA,
    "camembert": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "mpnet": {"max_position_embeddings": POSITIONS + 2},
    "electra": {"embedding_size": 128},
    "albert": {"embedding_size": 128},
    "deberta-v2": {
        "type_vocab_size": 0,
        "relative_attention": True,
        "position_buckets": 256,
        "pos_att_type": ["p2c", "c2p"],
        "share_att_key": True,
        "norm_rel_ebd": "layer_norm",
        "position_biased_input": False,
    },
}
"""By family, where the models that people have differ from transformers' defaults."""


# Rows. onelayer's readers read them once, so all contestants learn from the same rows.


def read_rows(speed_set: SpeedSet, data: Path) -> tuple[type[Task], list[Any]]:
    """The set's training rows, or a fixed sample of them, and their task."""
    recipe = Recipe(task=speed_set.task, skip_bad=speed_set.skip_bad)
    kind, _, rows = read_labelled(data / speed_set.train, recipe, lambda _: None)
    if len(rows) > ROWS:
        rows = random.Random(0).sample(rows, ROWS)
    return kind, rows


def plain_rows(
    speed_set: SpeedSet, kind: type[Task], rows: list[Any], tokenizer: Tokenizer
) -> list[dict[str, Any]]:
    """The rows in the format of ``trainer_peer.py``."""
    match speed_set.task:
        case "classify":
            return [{"text": row.text, "pair": row.pair, "label": row.label} for row in rows]
        case "answer":
            return [
                {
                    "question": row.question,
                    "context": row.passage,
                    "answers": [
                        {"text": answer.text, "answer_start": answer.start}
                        for answer in row.answers
                    ],
                }
                for row in rows
            ]
    # Words and their tags, also if the file marks entities by characters.
    task: Any = kind.fit(rows, tokenizer, Recipe(task="tag"), POSITIONS)
    encodings = task.encode(rows, tokenizer, labelled=True)
    tags = [task.labels[target] for target in encodings.targets]
    bounds = encodings.row_reads.tolist()
    return [
        {
            "words": [row.text[start:end] for start, end in task.words(row)],
            "tags": tags[bounds[i] : bounds[i + 1]],
        }
        for i, row in enumerate(rows)
    ]


def random_batches(n_examples: int, batch_size: int) -> Iterator[Ints]:
    """Endless batches, epoch by epoch, for all contestants with random batches."""
    epoch = 0
    while True:
        order = np.random.default_rng((0, epoch)).permutation(n_examples)
        for start in range(0, n_examples, batch_size):
            yield order[start : start + batch_size]
        epoch += 1


# Models: the starter, and random weights if only the shape counts.


def model_folder(
    shape: str, speed_set: SpeedSet, chinese: Path, folder: Path, family: str = BERT
) -> Path:
    """A model directory, below ``folder`` unless it is the starter's own."""
    starter = resolve("starter")
    if (family, shape) == (BERT, "starter") and not speed_set.chinese:
        return starter
    return random_model(family, shape, chinese if speed_set.chinese else starter, folder)


def random_model(family: str, shape: str, vocabulary: Path, folder: Path, **config: Any) -> Path:
    """The directory of a model of a family with the vocabulary of a BERT, so that all families
    learn from the same tokens: below ``folder``, made on the first call. Weights are initialised as
    the family's were before pretraining."""
    target = folder / "-".join([family, shape, vocabulary.name, *map(str, config.values())])
    if target.exists():
        return target
    import transformers

    known, tokenizer = FAMILIES[family], Tokenizer.read(vocabulary)
    sizes = {
        "vocab_size": tokenizer.vocab_size,
        "pad_token_id": tokenizer.pad_id,
        **SHAPES[shape],
        **AS_PUBLISHED.get(family, {}),
        **config,
    }
    transformers.logging.disable_progress_bar()
    transformers.set_seed(0)
    cls = getattr(transformers, known.encoder_class)
    model = cls(cls.config_class(**{known.keys.get(name, name): x for name, x in sizes.items()}))
    model.save_pretrained(target)
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (vocabulary / name).exists():
            shutil.copy(vocabulary / name, target)
    if read_config(target)[0].type_vocab_size < 2:
        _leave_out_segments(target / "tokenizer_config.json")
    return target


random_bert = partial(random_model, BERT)


def _leave_out_segments(settings: Path) -> None:
    """Lets transformers' tokenizer give no segments, which the model has no vectors for."""
    given = json.loads(settings.read_text(encoding="utf-8")) if settings.exists() else {}
    given["model_input_names"] = ["input_ids", "attention_mask"]
    settings.write_text(json.dumps(given), encoding="utf-8")


def shape_of(model: Path) -> Shape:
    config, _ = read_config(model)
    return Shape(
        layers=config.num_hidden_layers,
        width=config.hidden_size,
        feed_forward=config.intermediate_size,
    )
