"""Predictions for files, lists and pipes, chunk by chunk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

from onelayer.base.errors import DataError, UsageError
from onelayer.base.wording import Say, silent
from onelayer.data.formats.jsonlines import decode_line
from onelayer.data.layout import Layout
from onelayer.data.plain_cells import cells_by_name
from onelayer.data.readers import open_table
from onelayer.data.rows import RowsAlike, chunks_of, in_column
from onelayer.data.table import LeftOutError, Record, Table
from onelayer.prediction.formats import PredictedRow
from onelayer.prediction.inputs import input_layout, items_of
from onelayer.prediction.predictor import CHUNK, Predictor
from onelayer.recipe import Columns
from onelayer.tasks import AnyTask

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
    layout = input_layout(predictor.task, predictor.layout, table, columns.asked)
    named = (f"{k} = {v if isinstance(v, str) else '+'.join(v)}" for k, v in layout.columns.items())
    name = Path(table.path).name
    for remark in filter(None, (table.note, ", ".join(named))):
        say(f"{name}: {remark}")
    if replaced := [column for column in REPLACED if column in table.columns]:
        say(f"{name}: the predictions replace its column {' and '.join(replaced)}")
    ahead: deque[Record] = deque()
    readable = usable_records(predictor.task, table, layout, columns, say)

    def rows() -> Iterator[Any]:
        for record, row in islice(readable, skip, None):
            ahead.append(record)
            yield row

    for prediction in predictor.predict_each(rows()):
        record = ahead.popleft()
        yield PredictedRow(_kept(record, table), prediction, record.line)


def usable_records(
    task: AnyTask, table: Table, layout: Layout, columns: Columns, say: Say
) -> Iterator[tuple[Record, Any]]:
    """Each record of a table that can be predicted, with the task's row of it; then remarks on the
    others. Raises DataError as `predict_table`."""
    name = Path(table.path).name
    n_bad, first_bad = 0, None
    left_out: dict[str, RowsAlike] = {}
    for record in table:
        place = table.place(record)
        try:
            table.refuse_left_out(record)
            row = task.row(layout.values(record.values), place, False)
        except LeftOutError as reason:
            left_out.setdefault(reason.message, RowsAlike(0, place)).count += 1
            continue
        except DataError as error:
            if not columns.skip_bad:
                error.hint = error.hint or "correct it, or leave it out with --skip-bad"
                raise in_column(error, layout) from None
            n_bad, first_bad = n_bad + 1, first_bad or in_column(error, layout)
            continue
        yield record, row
    for why, alike in left_out.items():
        say(f"{name}: {alike.remark(f'left out, {why}')}")
    if n_bad:
        say(f"{name}: left out {n_bad:,} bad rows, the first: {first_bad}")


def in_chunks(rows: Iterator[PredictedRow]) -> Iterator[list[PredictedRow]]:
    """Rows in the chunks in which they are predicted; one empty chunk if there are no rows."""
    yield list(islice(rows, CHUNK))
    yield from chunks_of(CHUNK, rows)


def predict_items(
    predictor: Predictor, items: Iterable[Any], columns: Columns
) -> Iterator[list[PredictedRow]]:
    """Predictions for texts, tuples and dicts given from Python. Only dicts have columns to name:
    raises UsageError if others come first."""
    if columns.asked:
        stream = iter(items_of(items))
        first = list(islice(stream, 1))
        if first and cells_by_name(first[0]) is None:
            refuse_named(columns)
        items = chain(first, stream)
        layout = Layout({**predictor.layout.columns, **columns.asked})
        predictor = replace(predictor, layout=layout)
    predictions = predictor.predict_stream(items)
    return in_chunks(PredictedRow({}, prediction) for prediction in predictions)


def refuse_named(columns: Columns) -> None:
    """Raises UsageError for a named column of an input without columns."""
    for flag, name in columns.asked.items():
        raise UsageError(
            f"{flag} = {name!r} names a column, and this is no file",
            hint="give JSON objects or dicts with the columns of the training file",
        )


def predict_lines(predictor: Predictor, lines: Iterable[str]) -> Iterator[list[PredictedRow]]:
    """Predictions for the lines of a pipe that aren't blank: a text, or a JSON object by column.

    The lines that have arrived form a chunk. No line waits for the next one.
    """
    for waiting in _arrived_lines(lines):
        items = [(_item(line, number), number) for number, line in waiting if line.strip()]
        rows = [predictor.row_of(item, number) for item, number in items]
        yield [
            PredictedRow(item if isinstance(item, dict) else {"text": item}, prediction)
            for (item, _), prediction in zip(items, predictor.predict_each(rows), strict=True)
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
