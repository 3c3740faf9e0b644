"""Predictions for a whole file, chunk by chunk."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from onelayer.errors import DataError, Place, UsageError
from onelayer.recipe import Columns
from onelayer.runtime.predictor import CHUNK, Predictor
from onelayer.tasks import TASKS
from onelayer.tasks.base import Layout
from onelayer.tasks.layout import see
from onelayer.text.files import read
from onelayer.text.jsonlines import decode_line
from onelayer.text.table import Record, Table

Predicted = tuple[dict[str, Any], Any]
"""A row's own columns, and what the model says of it."""

NESTED = ("squad", "multiple-choice")


def predict_file(
    predictor: Predictor,
    path: str | Path,
    columns: Columns,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Predicted]:
    """A prediction for each row of a file.

    Raises DataError at a row that isn't the task's; with ``skip_bad`` it is left out, and said.
    """
    table = read(path, named=tuple(columns.asked.values()))
    layout = input_layout(predictor, table, columns.asked)
    named = (f"{k} = {v if isinstance(v, str) else '+'.join(v)}" for k, v in layout.columns.items())
    say(f"{Path(path).name}: {', '.join(named)}")
    kind = TASKS[predictor.task.name]
    bad: list[DataError] = []

    def rows() -> Iterator[tuple[Record, Any]]:
        for record in table:
            try:
                yield record, kind.row(layout.values(record.values), table.place(record), False)
            except DataError as error:
                if not columns.skip_bad:
                    raise
                bad.append(error)

    readable = rows()
    while chunk := list(islice(readable, CHUNK)):
        predictions = predictor.predict_rows([row for _, row in chunk])
        for (record, _), prediction in zip(chunk, predictions, strict=True):
            yield _kept(record, table), prediction
    if bad:
        say(f"{Path(path).name}: left out {len(bad):,} bad rows, first {bad[0]}")


def predict_lines(predictor: Predictor, lines: Iterable[str]) -> Iterator[Predicted]:
    """A prediction for each line of a pipe that isn't blank: a text, or a JSON object by column."""
    items = (_item(line, n) for n, line in enumerate(lines, start=1) if line.strip())
    while chunk := list(islice(items, 1 if sys.stdin.isatty() else CHUNK)):
        for item, prediction in zip(chunk, predictor.predict(chunk), strict=True):
            yield item if isinstance(item, dict) else {"text": item}, prediction


def input_layout(predictor: Predictor, table: Table, asked: Mapping[str, str]) -> Layout:
    """The columns of the training file where this file has them, else what they seem to be."""
    trained = {
        role: name
        for role, name in predictor.layout.columns.items()
        if role not in ("label", "id", "space_after", "title")
    }
    if not asked and Layout(trained).fits(table.columns):
        identity = {"id": "id"} if "id" in table.columns else {}
        return Layout({**trained, **identity})
    seen = see(table, task=predictor.task.name, asked=asked, labelled=False)
    columns = {role: name for role, name in seen.layout.columns.items() if role != "label"}
    if "pair" in trained and "pair" not in columns:
        raise UsageError(
            "the model was trained on pairs and this file has single texts",
            place=Place(table.path),
            hint="name the columns with --text and --pair",
        )
    if "pair" not in trained and "pair" not in asked:
        columns.pop("pair", None)
    return Layout(columns)


def _kept(record: Record, table: Table) -> dict[str, Any]:
    """The columns that go out again: of nested files, whose passages repeat, only the question."""
    if table.format in NESTED:
        return {key: record.values[key] for key in ("id", "question") if key in record.values}
    return dict(record.values)


def _item(line: str, number: int) -> str | dict[str, Any]:
    line = line.rstrip("\r\n")
    if not line.startswith("{"):
        return line
    return dict(decode_line("stdin", line, number))
