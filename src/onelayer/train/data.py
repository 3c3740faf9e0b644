"""The labelled files of a run, read, checked and split before anything else happens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelayer.errors import DataError, Place
from onelayer.recipe import Recipe
from onelayer.tasks import TASKS, Task
from onelayer.tasks.base import Layout, read_rows, refuse_bad
from onelayer.tasks.layout import see
from onelayer.text.files import read
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
        raise DataError(f"{len(rows)} rows are too few to train on", place=Place(str(train)))
    return Data(kind, layout, train_rows, dev_rows)


def read_labelled(
    path: str | Path,
    recipe: Recipe,
    say: Callable[[str], None],
    *,
    kind: type[Task] | None = None,
    layout: Layout | None = None,
) -> tuple[type[Task], Layout, list[Any]]:
    """One file's labelled rows. With ``kind`` and ``layout`` given it is read as another file was,
    where it has the same columns."""
    asked = recipe.asked_columns
    table = read(path, named=tuple(asked.values()))
    if kind is None or layout is None or not layout.fits(table.columns):
        task = recipe.task or (kind.name if kind else None)
        seen = see(table, task=task, asked=asked, multi_label=recipe.multi_label)
        for remark in seen.remarks:
            say(f"{Path(path).name}: {remark}")
        kind, layout = TASKS[seen.task], seen.layout
    found = read_rows(kind, table, layout)
    if found.bad and recipe.skip_bad:
        say(f"{Path(path).name}: left out {len(found.bad):,} bad rows, first {found.bad[0]}")
    else:
        refuse_bad(found)
    if not found.rows:
        raise DataError("no rows that can be used", place=Place(str(path)))
    return kind, layout, found.rows
