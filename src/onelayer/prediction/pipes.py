"""Predictions for a pipe: each line as it arrives, or a table when it is complete."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from io import BufferedIOBase, TextIOBase
from itertools import chain
from tempfile import NamedTemporaryFile
from typing import BinaryIO, TextIO

from onelayer.base.errors import Place
from onelayer.base.wording import Say
from onelayer.data.formats.cells import DELIMITERS
from onelayer.data.formats.lines import lines_of
from onelayer.data.formats.nested import begins_document
from onelayer.data.formats.unpacking import DataPath, unpacked_pipe
from onelayer.data.readers import BINARY_MARKS
from onelayer.prediction.formats import PredictedRow
from onelayer.prediction.inputs import trained_inputs
from onelayer.prediction.predictor import Predictor
from onelayer.prediction.streams import in_chunks, predict_file, predict_lines
from onelayer.recipe import Columns

STDIN = "stdin"
"""What messages call a pipe."""

_SEPARATOR_LINE = re.compile(r'"?sep=."?\s*', re.IGNORECASE)


def predict_pipe(
    predictor: Predictor, stream: TextIO | BinaryIO, columns: Columns, say: Say
) -> Iterator[list[PredictedRow]]:
    """Predictions for what comes through a pipe.

    Lines of text and JSON objects are answered as they arrive. A pipe whose first line shows a
    table, such as the names of the model's columns, is read as the same file would be, when it is
    complete. Bytes are unpacked and decoded as those of a file.

    Raises DataError for bytes that are no text, and as `predict_table`.
    """
    if isinstance(stream, TextIOBase) or isinstance(stream.read(0), str):
        lines: Iterator[str] = iter(stream)  # type: ignore[arg-type]
    else:
        file = unpacked_pipe(stream, Place(STDIN), BINARY_MARKS)  # type: ignore[arg-type]
        if file.peek(8).startswith(BINARY_MARKS):
            yield from _predict_spooled(predictor, file, columns, say)
            return
        lines = lines_of(file, DataPath(STDIN, encoding=columns.encoding))
    head: list[str] = []
    for line in lines:
        head.append(line)
        if line.strip():
            break
    found = _table_in(head[-1] if head else "", predictor, columns)
    lines = chain(head, lines)
    if found is None:
        yield from predict_lines(predictor, lines)
        return
    why, columns = found
    say(f"{STDIN}: {why}, so it is read as a table, when it is complete")
    yield from _predict_spooled(predictor, lines, columns, say)


def _table_in(line: str, predictor: Predictor, columns: Columns) -> tuple[str, Columns] | None:
    """Why a pipe with this first line is a table, and how to read it; None for lines of texts."""
    if columns.header or columns.delimiter is not None:
        return "flags speak of a table", columns
    if columns.asked:
        return "flags name columns", columns
    if begins_document(line):
        return "the first line begins a JSON document", columns
    if _SEPARATOR_LINE.fullmatch(line):
        return "the first line names the delimiter", columns
    wanted = trained_inputs(predictor.task, predictor.layout)
    if columns.header is None and any(wanted.fits(cells) for cells in _cells_of(line)):
        named = "the first line has the names of the model's columns (--no-header if it is a text)"
        return named, replace(columns, header=True)
    return None


def _cells_of(line: str) -> Iterator[Sequence[str]]:
    for mark in DELIMITERS:
        with suppress(csv.Error):
            for cells in csv.reader([line.strip()], delimiter=mark):
                yield [cell.strip() for cell in cells]


def _predict_spooled(
    predictor: Predictor, source: BufferedIOBase | Iterator[str], columns: Columns, say: Say
) -> Iterator[list[PredictedRow]]:
    """Predictions for what a pipe holds, from a temporary copy on the disk."""
    with NamedTemporaryFile("wb") as spool:
        if isinstance(source, BufferedIOBase):
            shutil.copyfileobj(source, spool)
        else:
            spool.writelines(line.encode(errors="surrogatepass") for line in source)
        spool.flush()
        path = DataPath(STDIN, stored=spool.name)
        yield from in_chunks(predict_file(predictor, path, columns, say))
