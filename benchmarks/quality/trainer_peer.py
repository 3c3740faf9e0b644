"""The peer of quality.py, as people run it: transformers' Trainer with the preprocessing and
decoding of transformers' example scripts, dynamic padding, and its own defaults otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
import transformers
from transformers import (
    AutoModelForMultipleChoice,
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    DataCollatorForMultipleChoice,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    PreTrainedTokenizerBase,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from onelayer.checkpoint.source import resolve

if TYPE_CHECKING:
    from benchmarks.support.sets import DataSet

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()

Row = dict[str, Any]
Features = list[dict[str, Any]]


@dataclass
class Setup:
    """The parts that differ from task to task."""

    auto_model: Any
    config: dict[str, Any]
    train: Features
    dev: Features
    collate: Any
    decode: Callable[[Any], list[Any]]
    """Turns logits, in the order of ``dev``, into predictions for ``sets.score``."""


def train_and_predict(
    data_set: DataSet,
    *,
    train: Path,
    dev: Path,
    batch_size: int,
    seed: int,
    out: Path,
    model: str = "starter",
    warmup: float = 0.1,
    weight_decay: float = 0.01,
) -> list[Any]:
    from benchmarks.support.sets import read  # imports what only this function needs

    set_seed(seed)
    starter = resolve(model)
    tokenizer = AutoTokenizer.from_pretrained(starter)
    setup = SETUPS[data_set.task](
        read(data_set, train), read(data_set, dev), tokenizer, data_set.max_length
    )
    trainer = Trainer(
        model=setup.auto_model.from_pretrained(starter, **setup.config),
        args=TrainingArguments(
            output_dir=str(out),
            num_train_epochs=data_set.epochs,
            learning_rate=data_set.lr,
            per_device_train_batch_size=batch_size,
            per_device_eval_batch_size=batch_size,
            warmup_steps=warmup,  # below one, it is a share of all steps
            weight_decay=weight_decay,
            train_sampling_strategy=data_set.sampling,
            max_grad_norm=1.0,
            seed=seed,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=torch.cuda.is_available(),  # the fallback, without the warning
        ),
        train_dataset=setup.train,
        data_collator=setup.collate,
        processing_class=tokenizer,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    # With ``group_by_length`` the Trainer would also sort the rows that it predicts.
    trainer.args.train_sampling_strategy = "random"
    return setup.decode(trainer.predict(setup.dev).predictions)


def classify(
    train: list[Row], dev: list[Row], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Setup:
    """As run_classification.py."""
    names = sorted({row["label"] for row in train})
    label2id = {name: i for i, name in enumerate(names)}
    encode = sequences(tokenizer, max_length)
    return Setup(
        auto_model=AutoModelForSequenceClassification,
        config={"num_labels": len(names)},
        train=[
            {**f, "labels": label2id[r["label"]]} for f, r in zip(encode(train), train, strict=True)
        ],
        dev=encode(dev),
        collate=DataCollatorWithPadding(tokenizer),
        decode=lambda logits: [names[i] for i in logits.argmax(-1)],
    )


def regress(
    train: list[Row], dev: list[Row], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Setup:
    """As run_classification.py with --do_regression."""
    encode = sequences(tokenizer, max_length)
    return Setup(
        auto_model=AutoModelForSequenceClassification,
        config={"num_labels": 1, "problem_type": "regression"},
        train=[{**f, "labels": r["label"]} for f, r in zip(encode(train), train, strict=True)],
        dev=encode(dev),
        collate=DataCollatorWithPadding(tokenizer),
        decode=lambda logits: logits[:, 0].tolist(),
    )


def sequences(
    tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Callable[[list[Row]], Features]:
    def encode(rows: list[Row]) -> Features:
        return [
            dict(tokenizer(row["text"], row["pair"], truncation=True, max_length=max_length))
            for row in rows
        ]

    return encode


def tag(
    train: list[Row], dev: list[Row], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Setup:
    """As run_ner.py: a word's tag belongs to its first subword, the others are ignored."""
    names = sorted({name for row in train for name in row["tags"]})
    label2id = {name: i for i, name in enumerate(names)}

    def encode(row: Row) -> tuple[dict[str, Any], list[int | None]]:
        feature = tokenizer(
            row["words"], is_split_into_words=True, truncation=True, max_length=max_length
        )
        words = feature.word_ids()
        first = [w if w != before else None for before, w in zip([None, *words], words)]  # noqa: B905
        return dict(feature), first

    def labelled(row: Row) -> dict[str, Any]:
        feature, first = encode(row)
        labels = [-100 if word is None else label2id[row["tags"][word]] for word in first]
        return {**feature, "labels": labels}

    dev_encoded = [encode(row) for row in dev]

    def decode(logits: Any) -> list[list[str]]:
        predictions = [["O"] * len(row["words"]) for row in dev]
        for tags, best, (_, first) in zip(predictions, logits.argmax(-1), dev_encoded, strict=True):
            for position, word in enumerate(first):
                if word is not None:
                    tags[word] = names[best[position]]
        return predictions

    return Setup(
        auto_model=AutoModelForTokenClassification,
        config={"num_labels": len(names)},
        train=[labelled(row) for row in train],
        dev=[feature for feature, _ in dev_encoded],
        collate=DataCollatorForTokenClassification(tokenizer),
        decode=decode,
    )


def choose(
    train: list[Row], dev: list[Row], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Setup:
    """As run_swag.py: the context first, the question with each option second."""

    def encode(row: Row) -> dict[str, Any]:
        seconds = [f"{row['question']} {option}" for option in row["options"]]
        return dict(
            tokenizer(
                [row["context"]] * len(seconds), seconds, truncation=True, max_length=max_length
            )
        )

    return Setup(
        auto_model=AutoModelForMultipleChoice,
        config={},
        train=[{**encode(row), "labels": row["answer"]} for row in train],
        dev=[{**encode(row), "labels": 0} for row in dev],  # its collator needs labels
        collate=DataCollatorForMultipleChoice(tokenizer),
        decode=lambda logits: logits.argmax(-1).tolist(),
    )


STRIDE, N_BEST, MAX_ANSWER_LENGTH = 128, 20, 30  # run_qa.py's defaults


def answer(
    train: list[Row], dev: list[Row], tokenizer: PreTrainedTokenizerBase, max_length: int
) -> Setup:
    """As run_qa.py: overlapping windows; a window without the answer points at [CLS]."""

    def windows(row: Row) -> list[tuple[dict[str, Any], list[tuple[int, int] | None]]]:
        """The features, and the offsets in the passage of every passage token."""
        encoded = tokenizer(
            row["question"].lstrip(),
            row["context"],
            truncation="only_second",
            max_length=max_length,
            stride=STRIDE,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        return [
            (
                {name: encoded[name][i] for name in tokenizer.model_input_names},
                [
                    tuple(place) if segment == 1 else None
                    for place, segment in zip(
                        encoded["offset_mapping"][i], encoded.sequence_ids(i), strict=True
                    )
                ],
            )
            for i in range(len(encoded["input_ids"]))
        ]

    def labelled(row: Row) -> Features:
        begin = row["answers"][0]["answer_start"]
        end = begin + len(row["answers"][0]["text"])
        features = []
        for feature, places in windows(row):
            inside = [i for i, place in enumerate(places) if place is not None]
            start = stop = 0
            if places[inside[0]][0] <= begin and end <= places[inside[-1]][1]:
                start = max(i for i in inside if places[i][0] <= begin)
                stop = min(i for i in inside if end <= places[i][1])
            features.append({**feature, "start_positions": start, "end_positions": stop})
        return features

    dev_windows = [(n, *window) for n, row in enumerate(dev) for window in windows(row)]

    def decode(logits: Any) -> list[str]:
        best: list[tuple[float, str]] = [(-np.inf, "")] * len(dev)
        for start_logits, end_logits, (n, _, places) in zip(*logits, dev_windows, strict=True):
            starts, ends = (
                [i for i in np.argsort(-side)[:N_BEST] if i < len(places) and places[i]]
                for side in (start_logits, end_logits)
            )
            for i in starts:
                for j in ends:
                    score = start_logits[i] + end_logits[j]
                    if i <= j < i + MAX_ANSWER_LENGTH and score > best[n][0]:
                        best[n] = (score, dev[n]["context"][places[i][0] : places[j][1]])
        return [text for _, text in best]

    return Setup(
        auto_model=AutoModelForQuestionAnswering,
        config={},
        train=[feature for row in train for feature in labelled(row)],
        dev=[feature for _, feature, _ in dev_windows],
        collate=DataCollatorWithPadding(tokenizer),
        decode=decode,
    )


SETUPS = {"classify": classify, "regress": regress, "tag": tag, "answer": answer, "choose": choose}
