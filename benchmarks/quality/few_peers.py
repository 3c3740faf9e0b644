"""The peers of few_rows.py: what a user would otherwise pick when rows are few.

Each side is a function of a draw that trains on its rows and predicts its test rows. ``seconds`` is
the time from the rows to a trained model: opening the model counts, imports and prediction don't.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
from scipy.sparse import hstack
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.preprocessing import MultiLabelBinarizer
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    PrinterCallback,
    Trainer,
    TrainingArguments,
    set_seed,
)

from benchmarks.quality.trainer_peer import SETUPS, Setup, sequences
from benchmarks.support.few_sets import Draw, Label, Row, labels_of
from onelayer.checkpoint.source import resolve

MAX_LENGTH = 512
"""Tokens of a text, or of a pair, that the encoders read: as many as the models have positions."""
EMBEDDING_BATCH = 32
TRAINER_EPOCHS, TRAINER_BATCH = 3, 16
"""The Trainer's own batch is 8; 16 is what most guides take."""
ENOUGH_ITERATIONS = 1000
"""scikit-learn's default of 100 sometimes ends with a warning before the fit has converged."""


@dataclass(frozen=True)
class Options:
    """What a side may need besides the rows."""

    model: str
    """The weights that all sides begin with: ``starter`` or a directory."""
    seed: int
    setfit_python: Path | None = None
    limit: float | None = None
    """Seconds after which SetFit's process is ended."""


@dataclass(frozen=True)
class Answers:
    predictions: list[Label]
    seconds: float
    versions: str = ""
    """Of packages that other sides don't use."""


class TooSlowError(Exception):
    """A side has taken longer than the limit."""


Side = Callable[[Draw, Options], Answers]


# Features for scikit-learn.


def lr_embedding(drawn: Draw, options: Options) -> Answers:
    """scikit-learn's logistic regression, or ridge regression, on the model's mean embedding."""
    start = time.perf_counter()
    train = embedded(drawn.train, options.model)
    model = Linear.fit(train, drawn)
    seconds = time.perf_counter() - start
    return Answers(model.predict(test_embedded(drawn.test, options.model)), seconds)


def tfidf(drawn: Draw, options: Options) -> Answers:
    """The same regressions on words and pairs of words, in Chinese on one to three characters. The
    texts of a pair have features of their own."""
    start = time.perf_counter()
    settings: dict[str, Any] = {"ngram_range": (1, 2)}
    if drawn.few_set.chinese:
        settings = {"analyzer": "char", "ngram_range": (1, 3)}
    sides = text_columns(drawn.train)
    vectorizers = [TfidfVectorizer(**settings).fit(texts) for texts in sides]

    def features(rows: Sequence[Row]) -> Any:
        columns = zip(vectorizers, text_columns(rows), strict=True)
        return hstack([each.transform(texts) for each, texts in columns]).tocsr()

    model = Linear.fit(features(drawn.train), drawn)
    seconds = time.perf_counter() - start
    return Answers(model.predict(features(drawn.test)), seconds)


def text_columns(rows: Sequence[Row]) -> list[list[str]]:
    """The texts, and the second texts if the rows are pairs."""
    columns = [[row.text for row in rows]]
    if rows[0].pair is not None:
        columns.append([row.pair or "" for row in rows])
    return columns


@dataclass(frozen=True)
class Linear:
    """A linear model of scikit-learn with its defaults. For several labels it weighs classes."""

    model: Any
    binarizer: MultiLabelBinarizer | None = None

    @classmethod
    def fit(cls, features: Any, drawn: Draw) -> Linear:
        gold = [row.label for row in drawn.train]
        match drawn.few_set.kind:
            case "number":
                return cls(Ridge().fit(features, gold))
            case "label":
                return cls(LogisticRegression(max_iter=ENOUGH_ITERATIONS).fit(features, gold))
            case "labels":
                binarizer = MultiLabelBinarizer(classes=drawn.names)
                # With equal weights no label of few rows reaches a probability of 0.5.
                each = LogisticRegression(max_iter=ENOUGH_ITERATIONS, class_weight="balanced")
                each = OneVsRestClassifier(each)
                return cls(each.fit(features, binarizer.fit_transform(gold)), binarizer)

    def predict(self, features: Any) -> list[Label]:
        predicted = self.model.predict(features)
        if self.binarizer is not None:
            return list(self.binarizer.inverse_transform(predicted))
        return predicted.tolist()


def embedded(rows: Sequence[Row], model: str) -> np.ndarray:
    """The normalized mean embedding of each text. A pair, u and v, gives u, v, |u - v| and uv."""
    parts = [mean_embeddings(texts, model) for texts in text_columns(rows)]
    if len(parts) == 1:
        return parts[0]
    u, v = parts
    return np.hstack([u, v, np.abs(u - v), u * v])


@lru_cache(maxsize=32)
def test_embedded(rows: tuple[Row, ...], model: str) -> np.ndarray:
    """Kept from draw to draw: all draws of a set are scored on the same rows."""
    return embedded(rows, model)


@torch.inference_mode()
def mean_embeddings(texts: Sequence[str], model: str) -> np.ndarray:
    """(texts, width), in the order of ``texts``; batches hold texts of similar length."""
    folder = resolve(model)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder = AutoModel.from_pretrained(folder, add_pooling_layer=False).eval()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    found = np.empty((len(texts), encoder.config.hidden_size), dtype=np.float32)
    for first in range(0, len(order), EMBEDDING_BATCH):
        places = order[first : first + EMBEDDING_BATCH]
        batch = tokenizer(
            [texts[i] for i in places],
            truncation=True,
            max_length=MAX_LENGTH,
            padding=True,
            return_tensors="pt",
        )
        mask = batch["attention_mask"][:, :, None]
        states = encoder(**batch).last_hidden_state
        mean = (states * mask).sum(1) / mask.sum(1)
        found[places] = torch.nn.functional.normalize(mean, dim=-1).numpy()
    return found


# The Trainer.


def trainer(rate: float) -> Side:
    def side(drawn: Draw, options: Options) -> Answers:
        """transformers' Trainer with its default schedule, and as many epochs as guides take."""
        set_seed(options.seed)
        folder = resolve(options.model)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        setup = setup_of(drawn, tokenizer)
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as out:
            fitted = Trainer(
                model=setup.auto_model.from_pretrained(folder, **setup.config),
                args=TrainingArguments(
                    output_dir=out,
                    num_train_epochs=TRAINER_EPOCHS,
                    learning_rate=rate,
                    per_device_train_batch_size=TRAINER_BATCH,
                    per_device_eval_batch_size=TRAINER_BATCH,
                    seed=options.seed,
                    save_strategy="no",
                    logging_strategy="no",
                    report_to="none",
                    disable_tqdm=True,
                    dataloader_pin_memory=torch.cuda.is_available(),
                ),
                train_dataset=setup.train,
                data_collator=setup.collate,
                processing_class=tokenizer,
            )
            fitted.remove_callback(PrinterCallback)
            fitted.train()
            seconds = time.perf_counter() - start
            return Answers(predicted(fitted, setup), seconds)

    return side


def predicted(fitted: Trainer, setup: Setup) -> list[Label]:
    """Rows of similar length share a batch, so that little padding is computed."""
    order = sorted(range(len(setup.dev)), key=lambda i: len(setup.dev[i]["input_ids"]))
    logits = fitted.predict([setup.dev[i] for i in order]).predictions
    return setup.decode(logits[np.argsort(order)])


def setup_of(drawn: Draw, tokenizer: Any) -> Setup:
    if drawn.few_set.kind == "labels":
        return several_labels(drawn, tokenizer)
    task = "regress" if drawn.few_set.kind == "number" else "classify"
    return SETUPS[task](as_records(drawn.train), as_records(drawn.test), tokenizer, MAX_LENGTH)


def as_records(rows: Sequence[Row]) -> list[dict[str, Any]]:
    return [{"text": row.text, "pair": row.pair, "label": row.label} for row in rows]


def several_labels(drawn: Draw, tokenizer: Any) -> Setup:
    """As run_classification.py with several labels: those with a positive logit."""
    names = drawn.names
    encode = sequences(tokenizer, MAX_LENGTH)
    rows = zip(encode(as_records(drawn.train)), drawn.train, strict=True)
    return Setup(
        auto_model=AutoModelForSequenceClassification,
        config={"num_labels": len(names), "problem_type": "multi_label_classification"},
        train=[
            {**feature, "labels": [float(name in labels_of(row)) for name in names]}
            for feature, row in rows
        ],
        dev=encode(as_records(drawn.test)),
        collate=DataCollatorWithPadding(tokenizer),
        decode=lambda logits: [
            tuple(name for name, logit in zip(names, row, strict=True) if logit > 0)
            for row in logits
        ],
    )


# SetFit, which may need an environment of its own.


def setfit(drawn: Draw, options: Options) -> Answers:
    """SetFit's default, in a process of ``--setfit-python``."""
    names = drawn.names
    several = drawn.few_set.kind == "labels"
    targets: list[Any] = [[int(name in labels_of(row)) for name in names] for row in drawn.train]
    job = {
        "model": str(resolve(options.model)),
        "seed": options.seed,
        "several": several,
        "texts": [row.text for row in drawn.train],
        "targets": targets if several else [target.index(1) for target in targets],
        "test": [row.text for row in drawn.test],
    }
    script = Path(__file__).with_name("setfit_side.py")
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder) / "job.json", Path(folder) / "answer.json"
        asked.write_text(json.dumps(job), encoding="utf-8")
        command = [str(options.setfit_python), str(script), str(asked), str(answered)]
        try:
            subprocess.run(
                command, check=True, timeout=options.limit, cwd=folder, stderr=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired as late:
            raise TooSlowError(f"ended after {options.limit:g} seconds") from late
        found = json.loads(answered.read_text(encoding="utf-8"))
    if several:
        predictions: list[Label] = [
            tuple(name for name, on in zip(names, row, strict=True) if on)
            for row in found["predictions"]
        ]
    else:
        predictions = [names[i] for i in found["predictions"]]
    return Answers(predictions, found["seconds"], found["versions"])


def setfit_fits(drawn: Draw) -> bool:
    """SetFit has no default for pairs of texts, nor for numbers."""
    return not drawn.has_pairs and drawn.few_set.kind != "number"
