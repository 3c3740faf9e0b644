"""What a model is given: the columns of a table, and the texts, tuples and dicts of Python."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from onelayer.base.errors import DataError, Place, UsageError
from onelayer.base.wording import listed
from onelayer.data.layout import Layout
from onelayer.data.plain_cells import cells_by_name, plain_cell
from onelayer.data.table import Table
from onelayer.tasks import AnyTask
from onelayer.tasks.infer_columns import infer_columns


def trained_inputs(task: AnyTask, layout: Layout) -> Layout:
    """The columns of the training file that the model reads."""
    inputs = task.columns.inputs
    return Layout({role: name for role, name in layout.columns.items() if role in inputs})


def input_layout(task: AnyTask, layout: Layout, table: Table, asked: Mapping[str, str]) -> Layout:
    """The columns of the training file, which ``layout`` has, if this table has them, else the
    inferred ones."""
    trained = trained_inputs(task, layout).columns
    if not asked and Layout(trained).fits(table.columns):
        identity = {"id": "id"} if "id" in table.columns else {}
        return Layout({**trained, **identity}, layout.labels)
    found = infer_columns(table, task=task.name, asked=asked, labelled=False)
    columns = {role: name for role, name in found.layout.columns.items() if role != "label"}
    if "pair" in trained and "pair" not in columns:
        raise UsageError(
            "the model was trained on pairs, and this file has single texts",
            place=Place(table.path),
            hint="name the columns with --text and --pair",
        )
    if "pair" not in trained and "pair" not in asked:
        columns.pop("pair", None)
    return Layout(columns, found.layout.labels)


def items_of(inputs: object) -> Iterable[Any]:
    """The inputs one by one. Raises UsageError for a single input, and for what has no order."""
    kind, dimensions = type(inputs).__name__, getattr(inputs, "ndim", 1)
    if isinstance(inputs, (str, bytes, bytearray)) or dimensions == 0:
        one = "a text" if isinstance(inputs, str) else kind if dimensions else f"a single {kind}"
        raise UsageError(f"predict takes a list of inputs, not {one}", hint="predict([text])")
    if isinstance(inputs, os.PathLike):
        hint = "onelayer.predict(model, path) reads a file"
        raise UsageError("predict takes a list of inputs, not a path", hint=hint)
    if isinstance(inputs, (set, frozenset)):
        hint = "predictions come in the order of the inputs: give a list"
        raise UsageError("a set has no order", hint=hint)
    # Iterating over a table of an unknown kind gives the names of its columns.
    if dimensions > 2 or hasattr(inputs, "columns") or not isinstance(inputs, Iterable):
        what = f"a {kind} of {dimensions} dimensions" if dimensions > 2 else f"a {kind}"
        what = "None" if inputs is None else what
        hint = "give a list of texts, tuples or dicts, or a DataFrame of pandas or polars"
        raise UsageError(f"predict takes a list of inputs, not {what}", hint=hint)
    return map(tuple, inputs) if dimensions == 2 else inputs


def item_values(item: Any, number: int, roles: Sequence[str], layout: Layout) -> dict[str, Any]:
    """An input's values by role; ``number`` counts from 1.

    Parameters
    ----------
    item
        A text, a tuple in the order of ``roles``, or a dict by column or by role.
    number
        The input's number.
    roles
        What the model reads.
    layout
        The columns of the training file.

    Raises
    ------
    DataError
        For a tuple of too many items, and a dict without the model's columns.
    UsageError
        For another type.
    """
    place = Place("input", number)
    cells = cells_by_name(item)
    if cells is not None:
        by_role = {key: value for key, value in cells.items() if key in (*roles, "id")}
        values = {**by_role, **layout.without_label().present_in(cells).values(cells)}
        if values.keys().isdisjoint(roles):
            names = [layout.columns.get(role, role) for role in roles]
            wanted = listed([name if isinstance(name, str) else "+".join(name) for name in names])
            hint = f"the model reads {wanted}"
            raise DataError(f"a row with {listed(list(cells))}", place=place, hint=hint)
        return values
    if isinstance(item, tuple):
        if len(item) > len(roles):
            raise DataError(
                f"a tuple of {len(item)} items, and the model reads {listed(roles)}",
                place=place,
                hint="give dicts by column to leave some out",
            )
        return dict(zip(roles, map(plain_cell, item), strict=False))
    value = plain_cell(item)
    if value is None or isinstance(value, (str, list)):
        return {roles[0]: value}
    hint = "give a text, a tuple such as (text, pair), or a dict by column"
    if isinstance(value, (bytes, bytearray)):
        hint = "decode it: item.decode('utf-8')"
    raise UsageError(f"input {number} has the type {type(item).__name__}", hint=hint)
