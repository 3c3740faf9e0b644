"""Rows of the user's files, which the page offers as examples of a model."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelayer.base.errors import DataError, Place, UsageError
from onelayer.base.wording import Say, listed, silent
from onelayer.data.layout import Layout, each_column
from onelayer.data.rows import in_column
from onelayer.data.table import Table
from onelayer.prediction.inputs import input_layout, trained_inputs
from onelayer.prediction.predictor import Predictor
from onelayer.prediction.streams import open_input
from onelayer.recipe import Columns
from onelayer.serving.limits import Limits
from onelayer.serving.request_errors import RequestError
from onelayer.serving.scheduler.long_texts import refuse_tokens

Example = dict[str, Any]
"""An input by role, as a request has it."""

MAX_EXAMPLES = 6
"""Of a file. With more, the page's other parts move out of sight."""
MAX_EXAMPLE_BYTES = 1 << 16
"""Of an example as JSON. All of them are part of every answer to ``GET /v1/models``."""


@dataclass(frozen=True, slots=True)
class ExampleFile:
    """A file with rows to offer: for the model of this name, or for all that have its columns."""

    path: str
    model: str | None = None


def example_files(
    given: str | Path | Iterable[str | Path], models: Mapping[str, object]
) -> list[ExampleFile]:
    """The files of arguments ``FILE`` or ``NAME=FILE``. Raises UsageError for an unknown model."""
    several = [given] if isinstance(given, (str, Path)) else given
    return [_example_file(str(one), models) for one in several]


def _example_file(given: str, models: Mapping[str, object]) -> ExampleFile:
    name, equals, path = given.partition("=")
    if not (path if equals else given):
        raise UsageError(f"--examples {given}: no file is named", hint="FILE or NAME=FILE")
    if not equals or os.path.exists(given):
        return ExampleFile(given)
    if name not in models:
        hint = f"the models are {listed(list(models))}"
        raise UsageError(f"--examples {given}: no model is called {name!r}", hint=hint)
    return ExampleFile(path, name)


def read_examples(
    files: Sequence[ExampleFile],
    models: Mapping[str, Predictor],
    limits: Limits,
    say: Say = silent,
) -> dict[str, list[Example]]:
    """The examples of each model that has some: the first usable rows of its files. ``say`` is told
    how many they are and which columns they come from, as everybody can read them.

    Raises
    ------
    DataError
        For a file that can't be read, or without a usable row.
    UsageError
        For a file without the columns of its model, or of any.
    """
    found: dict[str, list[Example]] = {}
    for file in files:
        for name in [file.model] if file.model is not None else _fitting(file.path, models):
            known = found.setdefault(name, [])
            rows, remark = _usable(file.path, name, models[name], limits)
            say(remark)
            known += [row for row in rows if row not in known]
    return found


def _fitting(path: str, models: Mapping[str, Predictor]) -> list[str]:
    """The models whose columns a file has. A single model may find its texts in other columns."""
    if len(models) == 1:
        return list(models)
    tables = {name: open_input(model, path, Columns()) for name, model in models.items()}
    fitting = [
        name
        for name, model in models.items()
        if trained_inputs(model.task, model.layout).fits(tables[name].columns)
    ]
    if not fitting:
        columns = listed(list(next(iter(tables.values())).columns), 8)
        raise UsageError(
            f"no model reads the columns {columns}",
            place=Place(path),
            hint=f"name the model: --examples {next(iter(models))}={path}",
        )
    return fitting


def _usable(
    path: str, name: str, predictor: Predictor, limits: Limits
) -> tuple[list[Example], str]:
    """The first usable rows of a file that differ, and a remark on them. Raises DataError if there
    is none."""
    table = open_input(predictor, path, Columns())
    layout = _layout(predictor, table)
    found: list[Example] = []
    reason = DataError("it has no rows", place=Place(path))
    bad = 0
    for record in table:
        place = table.place(record)
        try:
            table.refuse_left_out(record)
            row = predictor.task.row(layout.values(record.values), place, False)
            example = predictor.task.wire_values(row)
            _refuse_unusable(example, place, predictor, limits)
        except DataError as error:
            bad += 1
            reason = in_column(error, layout) if bad == 1 else reason
            continue
        if example not in found:
            found.append(example)
        if len(found) == MAX_EXAMPLES:
            break
    if not found:
        message = f"no row can be an example for {name}: {reason.message}"
        raise DataError(message, place=reason.place, hint=reason.hint)
    columns = trained_inputs(predictor.task, layout).columns.items()
    read = (f"{role} = {'+'.join(each_column(column))}" for role, column in columns)
    what = f"the page of {name} shows {len(found)} of its rows"
    return found, f"{path}: {', '.join(filter(None, (what, table.note, *read)))}"


def _layout(predictor: Predictor, table: Table) -> Layout:
    try:
        return input_layout(predictor.task, predictor.layout, table, {})
    except UsageError as error:  # its hint names flags that this command doesn't have
        roles = trained_inputs(predictor.task, predictor.layout).columns.values()
        names = [column for role in roles for column in each_column(role)]
        error.hint = f"call its columns as the training file does: {listed(names)}"
        raise


def _refuse_unusable(example: Example, place: Place, predictor: Predictor, limits: Limits) -> None:
    """Raises DataError for an example that the page would not send, or the server not take."""
    texts = [text for value in example.values() for text in _each_text(value)]
    if not all(text.strip() for text in texts):
        raise DataError("an empty text", place=place)
    size = len(json.dumps(example, ensure_ascii=False).encode())
    if size > min(MAX_EXAMPLE_BYTES, limits.max_body):
        raise DataError(f"{size:,} bytes are too long for an example", place=place)
    row = predictor.row_by_role(example, 1)
    encodings = predictor.task.encode([row], predictor.tokenizer, labelled=False)
    try:
        refuse_tokens(encodings, limits)
    except RequestError as error:
        raise DataError(error.detail, place=place) from None


def _each_text(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]
