"""The labelled rows of a file, or one clear line about why there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from onelayer.errors import DataError, Place
from onelayer.recipe import Recipe
from onelayer.tasks import TASKS, Task
from onelayer.tasks.base import Layout
from onelayer.tasks.layout import see
from onelayer.tasks.rows import Bad, RowStream, read_rows, stream_rows
from onelayer.text.files import read
from onelayer.text.table import Table


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
    kind, table, layout = _seen(path, recipe, say, kind, layout)
    found = read_rows(kind, table, layout)
    _settle(found.bad, found.rows, path, recipe, say)
    return kind, layout, found.rows


def stream_labelled(
    path: str | Path,
    recipe: Recipe,
    say: Callable[[str], None],
    *,
    kind: type[Task] | None = None,
    layout: Layout | None = None,
) -> RowStream:
    """As ``read_labelled``, with no row kept in memory. All are checked before any is given."""
    rows, bad = stream_rows(*_seen(path, recipe, say, kind, layout))
    _settle(bad, rows, path, recipe, say)
    return rows


def _seen(
    path: str | Path,
    recipe: Recipe,
    say: Callable[[str], None],
    kind: type[Task] | None,
    layout: Layout | None,
) -> tuple[type[Task], Table, Layout]:
    """What a file holds and how it is read."""
    asked = recipe.asked
    table = read(path, named=tuple(asked.values()))
    if kind is None or layout is None or not layout.fits(table.columns):
        task = recipe.task or (kind.name if kind else None)
        seen = see(table, task=task, asked=asked, multi_label=recipe.multi_label)
        for remark in seen.remarks:
            say(f"{Path(path).name}: {remark}")
        kind, layout = TASKS[seen.task], seen.layout
    return kind, table, layout


def _settle(
    bad: Bad,
    rows: Iterable[Any],
    path: str | Path,
    recipe: Recipe,
    say: Callable[[str], None],
) -> None:
    """Says what is left out. Raises DataError for what may not be, and where nothing is left."""
    if bad.n and recipe.skip_bad:
        say(f"{Path(path).name}: left out {bad.n:,} bad rows, first {bad.first[0]}")
    else:
        bad.refuse()
    if next(iter(rows), None) is None:
        raise DataError("no rows that can be used", place=Place(str(path)))
