"""The labelled rows of a file, or one clear line about why there are none."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from onelayer.base.errors import DataError, Place
from onelayer.base.wording import listed
from onelayer.data.in_memory import Source, source_name
from onelayer.data.layout import Layout
from onelayer.data.readers import open_table
from onelayer.data.rows import Look, Rows, read_rows, refuse_bad
from onelayer.data.table import Table
from onelayer.recipe import Recipe
from onelayer.tasks import AnyTask, task_called
from onelayer.tasks.infer_columns import infer_columns, inferred_like

Say = Callable[[str], None]


def open_labelled(
    source: Source,
    recipe: Recipe,
    say: Say,
    *,
    kind: type[AnyTask] | None = None,
    layout: Layout | None = None,
) -> tuple[type[AnyTask], Layout, Table]:
    """What a labelled file holds, by its first rows. With ``kind`` and ``layout`` given it is read
    as another file was, where it has the same columns."""
    asked = recipe.asked
    if recipe.task is not None:
        task_called(recipe.task)  # a wrong name is told before the file is read
    table = open_table(source, recipe, layout.columns.values() if layout else ())
    if kind is None or layout is None or not layout.fits(table.columns):
        task = recipe.task or (kind.name if kind else None)
        found = infer_columns(table, task=task, asked=asked, multi_label=recipe.multi_label)
    else:
        found = inferred_like(layout, kind, table, recipe.multi_label)
    for remark in found.remarks:
        say(f"{source_name(source)}: {remark}")
    return found.kind, found.layout, table


def first_texts(kind: type[AnyTask], layout: Layout, table: Table, n: int) -> list[str]:
    """The texts of the first ``n`` rows of an opened file, without those that can't be used."""
    texts: list[str] = []
    layout = layout.without_label()
    for record in islice(table, n):
        with suppress(DataError):
            row = kind.row(layout.values(record.values), table.place(record), False)
            texts.extend(kind.texts(row))
    return texts


def usable_rows(
    kind: type[AnyTask],
    table: Table,
    layout: Layout,
    recipe: Recipe,
    say: Say,
    look: Look = lambda _: None,
) -> Rows:
    """Goes through all of an opened file for the rows that can be used. Raises DataError for those
    that can't, unless they are to be left out."""
    found = read_rows(kind, table, layout, look=look)
    if found.bad and recipe.skip_bad:
        say(f"{Path(table.path).name}: left out {found.n_bad:,} bad rows, first {found.bad[0]}")
    else:
        refuse_bad(found)
    if not len(found):
        raise DataError(
            "no rows that can be used", place=Place(table.path), hint=listed(found.remarks)
        )
    for remark in found.remarks:
        say(f"{Path(table.path).name}: {remark}")
    return found


def read_labelled(
    source: Source,
    recipe: Recipe,
    say: Say,
    *,
    kind: type[AnyTask] | None = None,
    layout: Layout | None = None,
) -> tuple[type[AnyTask], Layout, list[Any]]:
    """All labelled rows of a file that fits into memory; see ``open_labelled``."""
    kind, layout, table = open_labelled(source, recipe, say, kind=kind, layout=layout)
    return kind, layout, list(usable_rows(kind, table, layout, recipe, say))
