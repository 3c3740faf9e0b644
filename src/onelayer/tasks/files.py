"""The labelled rows of a file, or one clear line about why there are none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from onelayer.errors import DataError, Place
from onelayer.recipe import Recipe
from onelayer.tasks import TASKS, Task
from onelayer.tasks.base import Layout, read_rows, refuse_bad
from onelayer.tasks.layout import see
from onelayer.text.files import read


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
    asked = recipe.asked
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
