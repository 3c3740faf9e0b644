"""``onelayer.json``: the task and the columns of a fine-tuned model, checked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.json_values import fits
from onelayer.data.layout import Layout
from onelayer.tasks import AnyTask, task_from_json

FORMAT = 1
"""The newest layout of the file that is known here."""
SHORTEST = 4
"""Tokens of a sequence: three markers, and something to read."""


def read_record(info: Mapping[str, Any], folder: Path, positions: int) -> tuple[AnyTask, Layout]:
    """What ``onelayer.json`` in ``folder`` says of a model with so many positions.

    Raises CheckpointError, which names the field, for what no version wrote.
    """
    place = Place(folder / "onelayer.json")
    form = info.get("format", FORMAT)
    if type(form) is not int or form > FORMAT:
        raise CheckpointError(
            f"written in format {form!r:.40}, and this version knows {FORMAT}",
            place=place,
            hint="pip install --upgrade onelayer",
        )
    for part in ("task", "layout"):
        if not isinstance(info.get(part), dict):
            raise CheckpointError(f"holds no {part}", place=place)
    try:
        task = task_from_json(info["task"])
        _check_ranges(task, positions)
        return task, _layout(info["layout"])
    except CheckpointError as error:
        raise CheckpointError(error.message, place=place, hint=error.hint) from error


def _check_ranges(task: AnyTask, positions: int) -> None:
    """Windows must move on and end where the positions do, and a label is named once; what else
    there is to check, the task knows."""
    length = task.max_length
    stride: int = getattr(task, "stride", 0)
    if not SHORTEST <= length <= positions:
        raise CheckpointError(f"max_length is {length}, and the model has {positions} positions")
    if not 0 <= stride < length:
        raise CheckpointError(f"stride is {stride}, and must be below max_length {length}")
    if len(set(task.outputs)) < len(task.outputs):
        raise CheckpointError("names a label twice")
    task.check_values()


def _layout(values: Mapping[str, Any]) -> Layout:
    wanted = {
        "columns": dict[str, str | list[str]],
        "separator": str | None,
        "first_option": int,
    }
    for name, hint in wanted.items():
        if name in values and not fits(values[name], hint):
            raise CheckpointError(f"{name} is {values[name]!r:.80}, which is no part of a layout")
    if "columns" not in values:
        raise CheckpointError("a layout without columns")
    return Layout.from_json(values)
