"""Predictions for files, lists and pipes, chunk by chunk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

from onelayer.base.errors import DataError, Place, UsageError
from onelayer.base.wording import Say, silent
from onelayer.data.jsonlines import decode_line
from onelayer.data.layout import Layout
from onelayer.data.readers import open_table
from onelayer.data.rows import RowsAlike
from onelayer.data.table import LeftOutError, Record, Table
from onelayer.prediction.formats import PredictedRow
from onelayer.prediction.predictor import CHUNK, Predictor
from onelayer.recipe import Columns
from onelayer.tasks.infer_columns import infer_columns

REPLACED = ("prediction", "prediction_json")
"""Columns of the output, which an input may have, too."""


def open_input(predictor: Predictor, path: str | Path, columns: Columns) -> Table:
    """Opens a file to predict. Its columns may be named, or be those of the training file."""
    return open_table(path, columns, predictor.layout.columns.values())


def predict_file(
    predictor: Predictor,
    path: str | Path,
    columns: Columns,
    say: Say = silent,
) -> Iterator[PredictedRow]:
    """A prediction for each row of a file; see `predict_table`."""
    return predict_table(predictor, open_input(predictor, path, columns), columns, say)


def predict_table(
    predictor: Predictor,
    table: Table,
    columns: Columns,
    say: Say,
    *,
    skip: int = 0,
) -> Iterator[PredictedRow]:
    """A prediction for each row after the first ``skip`` rows.

    Raises DataError at a row that the task can't use. With ``skip_bad`` such rows are left
    out and counted in a remark.
    """
    layout = input_layout(predictor, table, columns.asked)
    named = (f"{k} = {v if isinstance(v, str) else '+'.join(v)}" for k, v in layout.columns.items())
    name = Path(table.path).name
    for remark in filter(None, (table.note, ", ".join(named))):
        say(f"{name}: {remark}")
    if replaced := [column for column in REPLACED if column in table.columns]:
        say(f"{name}: the predictions replace its column {' and '.join(replaced)}")
    task = predictor.task
    bad: list[DataError] = []
    left_out: dict[str, RowsAlike] = {}
    ahead: deque[Record] = deque()

    def readable() -> Iterator[tuple[Record, Any]]:
        for record in table:
            place = table.place(record)
            try:
                table.refuse_left_out(record)
                yield record, task.row(layout.values(record.values), place, False)
            except LeftOutError as reason:
                left_out.setdefault(reason.message, RowsAlike(0, place)).count += 1
            except DataError as error:
                if not columns.skip_bad:
                    error.hint = error.hint or "correct it, or leave it out with --skip-bad"
                    raise
                bad.append(error)

    def rows() -> Iterator[Any]:
        for record, row in islice(readable(), skip, None):
            ahead.append(record)
            yield row

    for prediction in predictor.predict_each(rows()):
        record = ahead.popleft()
        yield PredictedRow(_kept(record, table), prediction, record.line)
    for why, alike in left_out.items():
        say(f"{name}: {alike.remark(f'left out, {why}')}")
    if bad:
        say(f"{name}: left out {len(bad):,} bad rows, the first: {bad[0]}")


def in_chunks(rows: Iterator[PredictedRow]) -> Iterator[list[PredictedRow]]:
    """Rows in the chunks in which they are predicted; one empty chunk if there are no rows."""
    yield list(islice(rows, CHUNK))
    while chunk := list(islice(rows, CHUNK)):
        yield chunk


def predict_items(predictor: Predictor, items: Iterable[Any]) -> Iterator[list[PredictedRow]]:
    """Predictions for texts, tuples and dicts given from Python."""
    predictions = predictor.predict_stream(items)
    return in_chunks(PredictedRow({}, prediction) for prediction in predictions)


def predict_lines(predictor: Predictor, lines: Iterable[str]) -> Iterator[list[PredictedRow]]:
    """Predictions for the lines of a pipe that aren't blank: a text, or a JSON object by column.

    The lines that have arrived form a chunk. No line waits for the next one.
    """
    for waiting in _arrived_lines(lines):
        items = [_item(line, number) for number, line in waiting if line.strip()]
        predictions = predictor.predict(items)
        yield [
            PredictedRow(item if isinstance(item, dict) else {"text": item}, prediction)
            for item, prediction in zip(items, predictions, strict=True)
        ]


def _arrived_lines(lines: Iterable[str]) -> Iterator[list[tuple[int, str]]]:
    """Numbered lines; each chunk has all lines that have arrived when it is requested."""
    arrived: Queue[tuple[int, str] | Exception | None] = Queue(maxsize=2 * CHUNK)

    def read_lines() -> None:
        try:
            for numbered in enumerate(lines, start=1):
                arrived.put(numbered)
            arrived.put(None)
        except Exception as error:
            arrived.put(error)

    # A daemon thread: a read from an open pipe can't be interrupted when the process ends.
    Thread(target=read_lines, daemon=True).start()
    while True:
        waiting: list[tuple[int, str]] = []
        item = arrived.get()
        while isinstance(item, tuple):
            waiting.append(item)
            if len(waiting) == CHUNK or arrived.empty():
                break
            item = arrived.get()
        if waiting:
            yield waiting
        if isinstance(item, Exception):
            raise item
        if item is None:
            return


def input_layout(predictor: Predictor, table: Table, asked: Mapping[str, str]) -> Layout:
    """The columns of the training file if this file has them, else the inferred ones."""
    trained = {
        role: name
        for role, name in predictor.layout.columns.items()
        if role in predictor.task.columns.inputs
    }
    if not asked and Layout(trained).fits(table.columns):
        identity = {"id": "id"} if "id" in table.columns else {}
        return Layout({**trained, **identity})
    found = infer_columns(table, task=predictor.task.name, asked=asked, labelled=False)
    columns = {role: name for role, name in found.layout.columns.items() if role != "label"}
    if "pair" in trained and "pair" not in columns:
        raise UsageError(
            "the model was trained on pairs, and this file has single texts",
            place=Place(table.path),
            hint="name the columns with --text and --pair",
        )
    if "pair" not in trained and "pair" not in asked:
        columns.pop("pair", None)
    return Layout(columns)


def _kept(record: Record, table: Table) -> dict[str, Any]:
    """The columns that are copied to the output, which the file's format may limit."""
    if table.kept_columns is None:
        return dict(record.values)
    return {key: record.values[key] for key in table.kept_columns if key in record.values}


def _item(line: str, number: int) -> str | dict[str, Any]:
    line = line.rstrip("\r\n")
    if not line.startswith("{"):
        return line
    return dict(decode_line("stdin", line, number))
