"""The labelled files of a run, read, checked and split before anything else happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelayer.errors import DataError, Place
from onelayer.recipe import Recipe
from onelayer.tasks import Task
from onelayer.tasks.base import Layout
from onelayer.tasks.files import read_labelled
from onelayer.train.split import carve


@dataclass(frozen=True, slots=True)
class Data:
    """Labelled rows for training and for choosing the best checkpoint."""

    kind: type[Task]
    layout: Layout
    train: list[Any]
    dev: list[Any]


def read_data(
    train: str | Path, dev: str | Path | None, recipe: Recipe, say: Callable[[str], None]
) -> Data:
    """Reads both files, or one and carves a dev set off it. Raises DataError and UsageError."""
    kind, layout, rows = read_labelled(train, recipe, say)
    if dev is None:
        train_rows, dev_rows = carve(kind, rows, seed=recipe.seed)
        say(f"{len(rows):,} rows: {len(train_rows):,} to train on, {len(dev_rows):,} kept as dev")
    else:
        _, _, dev_rows = read_labelled(dev, recipe, say, kind=kind, layout=layout)
        train_rows = rows
        say(f"{len(train_rows):,} rows to train on, {len(dev_rows):,} dev rows")
    if not train_rows or not dev_rows:
        raise DataError(
            f"too little to train on: {len(rows)} rows leave none for a dev set",
            place=Place(str(train)),
            hint="add rows (of other passages, for answer), or give a --dev file",
        )
    return Data(kind, layout, train_rows, dev_rows)
