"""The rows of inference_speed.py, and the models that are fine-tuned for them."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.support.set_formats import join_squad, split_squad
from benchmarks.training.train_sets import SpeedSet, model_folder
from onelayer.base.errors import Place
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Recipe
from onelayer.tasks.answer.answer_rows import AnswerRow
from onelayer.tasks.labelled import read_labelled
from onelayer.tasks.logits import Logits
from onelayer.tasks.texts import TextRow
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer

DENSE_LENGTH = 128
DENSE_ROWS = 192
CALIBRATION = 320
SHAPES = ("starter", "base")


@dataclass(frozen=True, slots=True)
class InferenceSet:
    """``way`` is how the rows are passed: all at once (``ragged``) or one a call (``one``).
    ``dense`` has generated texts of one length instead, which no data set has."""

    name: str
    task: str
    train: str
    dev: str
    train_rows: int
    epochs: float
    lr: float
    rows: int
    way: str = "ragged"

    def rows_for(self, shape: str, asked: int | None) -> int:
        return asked or (self.rows if shape == "starter" else max(48, self.rows // 5))

    @property
    def model(self) -> str:
        """Sets of the same training file share a model."""
        return self.train.split("/")[0]


_SST2 = ("classify", "sst2_glue/train.tsv", "sst2_glue/dev.tsv", 8000, 1, 1e-4)
SETS = [
    InferenceSet("sst2_glue", *_SST2, rows=872),
    InferenceSet("rte", "classify", "rte/train.tsv", "rte/dev.tsv", 2490, 4, 1e-4, rows=277),
    InferenceSet(
        "squad_dev",
        *("answer", "squad_dev/v1.1-train.json", "squad_dev/v1.1-heldout.json"),
        *(2400, 2, 4e-4),
        rows=200,
    ),
    InferenceSet("sst2_glue, one a call", *_SST2, rows=256, way="one"),
    InferenceSet(f"dense, {DENSE_LENGTH} tokens each", *_SST2, rows=DENSE_ROWS, way="dense"),
]


def fine_tuned(one: InferenceSet, shape: str, data: Path, work: Path) -> Path:
    """The run of a shape that was trained on a slice of the set; trained on the first call.

    The starter is good enough for meaningful scores. BERT-Base starts from random weights
    and sees 64 rows: only its speed means something.
    """
    run = work / "runs" / f"{shape}-{one.model}"
    if run.exists():
        return run
    rows, epochs = (one.train_rows, one.epochs) if shape == "starter" else (64, 1)
    train = slice_of(data / one.train, rows, slice_path(one, shape, work))
    model = model_folder(shape, SpeedSet(one.model, one.train, one.task), Path(), work)
    command = [sys.executable, "-m", "onelayer", "train", train, "--out", run, "--model", model]
    command += ["--task", one.task, "--epochs", epochs, "--lr", one.lr]
    subprocess.run(list(map(str, command)), check=True, stdout=sys.stderr)
    return run


def slice_path(one: InferenceSet, shape: str, work: Path) -> Path:
    return work / f"{shape}-{one.model}{Path(one.train).suffix}"


def slice_of(source: Path, rows: int, target: Path) -> Path:
    """A fixed random sample of a file's rows, in its own format."""
    text = source.read_text(encoding="utf-8")
    if source.suffix == ".json":
        version, units = split_squad(text)
        sample = random.Random(0).sample(units, min(rows, len(units)))
        target.write_text(join_squad(version, sample), encoding="utf-8")
        return target
    head, *lines = text.strip("\n").split("\n")
    sample = random.Random(0).sample(lines, min(rows, len(lines)))
    target.write_text("\n".join([head, *sample]) + "\n", encoding="utf-8")
    return target


def bundle_of(one: InferenceSet, shape: str, run: Path, work: Path, precision: str) -> Path:
    """The bundle that ``onelayer export`` makes of the run, on the first call. It is accepted even
    if its answers differ: the tables show how good they are."""
    bundle = work / "bundles" / f"{run.name}-{precision}"
    if not bundle.exists():
        bundle.parent.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "onelayer", "export", run, "--accept", "--out", bundle]
        command += ["--train", slice_path(one, shape, work)]
        command += ["--int8"] if precision == "int8" else []
        subprocess.run(list(map(str, command)), check=True, stdout=sys.stderr)
    return bundle


# Rows.


def read_rows(
    one: InferenceSet, data: Path, rows: int, tokenizer: Tokenizer
) -> tuple[list[Any], list[list[str]]]:
    """A sample of the labelled rows, or dense rows without labels, and the input of each: one or
    two texts."""
    if one.way == "dense":
        texts = dense_texts(tokenizer, rows)
        place = Place("dense")
        return [TextRow(text, None, None, place) for text in texts], [[text] for text in texts]
    found = _sample(one, data / one.dev, rows)
    return found, [texts_of(row) for row in found]


def calibration_texts(one: InferenceSet, data: Path) -> list[list[str]]:
    """Training rows that calibrate the peers' static scales."""
    return [texts_of(row) for row in _sample(one, data / one.train, CALIBRATION)]


def _sample(one: InferenceSet, path: Path, rows: int) -> list[Any]:
    _, _, found = read_labelled(path, Recipe(task=one.task), lambda _: None)
    return random.Random(0).sample(found, min(rows, len(found)))


def texts_of(row: Any) -> list[str]:
    if isinstance(row, AnswerRow):
        return [row.question, row.passage]
    return [row.text] if row.pair is None else [row.text, row.pair]


def dense_texts(tokenizer: Tokenizer, rows: int) -> list[str]:
    """Texts of exactly ``DENSE_LENGTH`` tokens with ``[CLS]`` and ``[SEP]``: random whole words of
    the vocabulary."""
    vocabulary = json.loads(tokenizer._backend.to_str())["model"]["vocab"]
    words = sorted(word for word in vocabulary if word.isascii() and word.isalpha())
    rng = random.Random(0)
    return [" ".join(rng.choices(words, k=DENSE_LENGTH - 2)) for _ in range(rows)]


def save_encodings(encodings: Encodings, path: Path) -> None:
    found = {field.name: getattr(encodings, field.name) for field in fields(encodings)}
    np.savez(path, **{k: v for k, v in found.items() if isinstance(v, np.ndarray)})


def scores(
    one: InferenceSet,
    predictor: Predictor,
    rows: list[Any],
    encodings: Encodings,
    reference: Logits,
    logits: Logits | None,
) -> dict[str, float]:
    """How good the logits are; None stands for those in fp32. ``reference`` are the logits in fp32.

    ``same`` is the percentage of rows with the same class as in the reference, or of sequences with
    the same best start and end. ``off`` is the distance from the reference, divided by the spread
    of the reference. ``score`` is the task's metric on a scale of 100, if rows have labels.
    """
    logits = reference if logits is None else logits
    off = np.sqrt(((logits - reference) ** 2).mean()) / reference.std(axis=0).mean()
    found = {"same": _same(encodings, reference, logits), "off": float(off)}
    if one.way != "dense":
        task = predictor.task
        figures = task.score(rows, task.decode(rows, encodings, logits))()
        found["score"] = float(figures[task.metric]) * (1 if one.task == "answer" else 100)
    return found


def _same(encodings: Encodings, a: Logits, b: Logits) -> float:
    bounds = encodings.cu_reads.tolist()
    if len(bounds) == len(a) + 1:
        return 100 * float((a.argmax(1) == b.argmax(1)).mean())
    same = [a[i:j].argmax(0) == b[i:j].argmax(0) for i, j in pairwise(bounds)]
    return 100 * float(np.mean(same))
