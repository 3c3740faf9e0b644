"""onelayer's side of quality.py, through the functions that users call."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onelayer
from benchmarks.support.no_dev import dev_unseen
from benchmarks.support.sets import DataSet
from onelayer.prediction.streams import predict_file
from onelayer.recipe import Columns

SCORED = {
    "classify": "label",
    "regress": "value",
    "tag": "tags",
    "answer": "text",
    "choose": "index",
}
"""The part of a prediction that ``sets.score`` takes."""


def train_and_predict(
    data_set: DataSet,
    *,
    train: Path,
    dev: Path,
    batch_size: int,
    seed: int,
    out: Path,
    model: str,
) -> list[Any]:
    columns = dict(data_set.columns)
    with dev_unseen():  # as on the peer's side, the scored rows choose no checkpoint
        predictor = onelayer.finetune(
            train,
            dev=dev,
            out=out,
            task=data_set.task,
            model=model,
            **columns,
            # As the peer does; of a few single texts the default reads the mean.
            read="cls" if data_set.task in ("classify", "regress", "choose") else None,
            epochs=data_set.epochs,
            lr=data_set.lr,
            batch_size=batch_size,
            max_length=data_set.max_length,
            seed=seed,
        )
    scored = SCORED[data_set.task]
    parts = [
        getattr(found.prediction, scored)
        for found in predict_file(predictor, dev, Columns(**columns))
    ]
    return [list(part) if isinstance(part, tuple) else part for part in parts]
