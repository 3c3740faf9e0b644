"""Our side of quality.py, through the functions that users call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onelayer
import onelayer.training.run
from benchmarks.support.sets import DataSet
from onelayer.prediction.streams import predict_file
from onelayer.recipe import Columns
from onelayer.training import loop

SCORED = {
    "classify": "label",
    "regress": "value",
    "tag": "tags",
    "answer": "text",
    "choose": "index",
}
"""Which part of a prediction ``sets.score`` takes."""


def train_and_predict(
    data_set: DataSet, *, train: Path, dev: Path, batch_size: int, seed: int, out: Path
) -> list[Any]:
    predictor = onelayer.finetune(
        train,
        dev=dev,
        out=out,
        task=data_set.task,
        model="starter",
        epochs=data_set.epochs,
        lr=data_set.lr,
        batch_size=batch_size,
        max_length=data_set.max_length,
        seed=seed,
    )
    scored = SCORED[data_set.task]
    parts = [getattr(found.prediction, scored) for found in predict_file(predictor, dev, Columns())]
    return [list(part) if isinstance(part, tuple) else part for part in parts]


def train_to_the_end(*arguments: Any, metric: str, **rest: Any) -> loop.History:
    """The training loop without looking at dev: the rows that are scored choose no checkpoint,
    here as little as on the peer's side. With equal scores the last epoch's model is kept."""
    return loop.train(*arguments, **{**rest, "metric": metric, "evaluate": lambda: {metric: 0.0}})


onelayer.training.run.train = train_to_the_end
