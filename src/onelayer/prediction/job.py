"""Prediction jobs: the predictions of a whole file, of any size.

If a job is killed, the same command resumes it. The output has the same bytes as without the stop.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, astuple, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Protocol

from onelayer.base import digest
from onelayer.base.disk import (
    behind_links,
    is_stream,
    mode_until_finished,
    put,
    reason_of,
    rewrite,
)
from onelayer.base.errors import OneLayerError, Place, UsageError
from onelayer.base.locks import lock
from onelayer.data.readers import extent
from onelayer.prediction.formats import OutputFormat, PredictedRow, output_format
from onelayer.prediction.predictor import Predictor
from onelayer.prediction.streams import in_chunks, open_input, predict_table
from onelayer.recipe import Columns
from onelayer.tasks import task_to_json
from onelayer.tokens.encodings import Cut

STATE_VERSION = 1
"""Of ``.part.json``. An unfinished file of another version is not resumed."""
SECONDS_BETWEEN_STATES = 1.0
"""A killed job repeats at most this much work. Shorter intervals cost more fsyncs."""


class Watch(Protocol):
    """Receives the progress of a job."""

    def say(self, remark: str) -> None: ...
    def rows(self, done: int, share: float | None) -> None:
        """``done`` rows are written, which are ``share`` of the file (None if unknown)."""
        ...


class _NoWatch:
    def say(self, remark: str) -> None: ...
    def rows(self, done: int, share: float | None) -> None: ...


def predict_to(
    out: Path,
    predictor: Predictor,
    file: str | Path,
    columns: Columns,
    form_name: str,
    watch: Watch | None = None,
) -> int:
    """Writes a prediction for each row of a file to ``out``; returns the number of rows.

    Until the job is finished, the rows are in ``out.part``, and ``out.part.json`` says how many of
    its bytes are complete. Raises DataError as `predict_table`, UsageError if another process
    writes the same file, OneLayerError if it can't be written.
    """
    watch = watch or _NoWatch()
    table = open_input(predictor, file, columns)
    last_line = extent(table)
    form = output_format(form_name, table.schema)
    with _part_of(out, _identity(predictor, file, columns, form_name)) as part:
        if part.rows:
            watch.say(f"{part.rows:,} rows are in {part.path.name} already: resuming from there")
            predictor.cut = part.cut
            form.resume(part.path)
        rows = predict_table(predictor, table, columns, watch.say, skip=part.rows)
        try:
            for chunk in in_chunks(rows):
                part.append(form, chunk)
                part.cut = predictor.cut
                part.save_state(SECONDS_BETWEEN_STATES)
                line = chunk[-1].line if chunk else None
                watch.rows(part.rows, line / last_line if line and last_line else None)
        except KeyboardInterrupt:
            part.save_state()
            watch.say(f"{part.rows:,} rows are kept in {part.path.name}: the same command resumes")
            raise
        part.finish(form, out)
        return part.rows


def write_stream(stream: BinaryIO, chunks: Iterable[Sequence[PredictedRow]], form_name: str) -> int:
    """Writes each chunk as soon as it is predicted; returns the number of rows.

    Raises OneLayerError where the stream can't take it, BrokenPipeError where its reader has left.
    """
    if form_name == "parquet":
        raise UsageError("parquet can't be written to a stream", hint="give --out FILE.parquet")
    form, n = output_format(form_name), 0
    for chunk in chunks:
        data = (b"" if n else form.begin(chunk)) + form.body(chunk)
        try:
            stream.write(data)
            stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            place = Place(getattr(stream, "name", "the output"))
            raise OneLayerError(f"can't be written: {reason_of(error)}", place=place) from error
        n += len(chunk)
    return n


def write_to(out: Path, chunks: Iterable[Sequence[PredictedRow]], form_name: str) -> int:
    """Writes the predictions of a source that can't be read again, such as a pipe, so that the job
    can't be resumed; or into a pipe or device. Returns the number of rows."""
    if is_stream(out):
        stream = open(out, "wb")  # noqa: SIM115 - closing it may fail a second time
        try:
            return write_stream(stream, chunks, form_name)
        finally:
            with suppress(OSError):
                stream.close()
    form = output_format(form_name)
    with _part_of(out, identity="") as part:
        for chunk in chunks:
            part.append(form, chunk)
        part.finish(form, out)
        return part.rows


def _identity(predictor: Predictor, file: str | Path, columns: Columns, form: str) -> str:
    """A hash of everything that the output depends on."""
    folder = predictor.path
    assert folder is not None, "a job needs a saved model"
    model = {
        str(path.relative_to(folder)): digest.of_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    facts = [STATE_VERSION, version("onelayer"), form, asdict(columns), predictor.engine.name]
    facts += [task_to_json(predictor.task), predictor.offset_unit, model, digest.of_data(file)]
    return digest.of_text(json.dumps(facts, default=str))


@dataclass(slots=True)
class _Part:
    """An unfinished file, and how much of it is complete."""

    path: Path
    state: Path
    identity: str
    stream: BinaryIO
    rows: int = 0
    cut: Cut = field(default_factory=Cut)
    """The tokens of these rows that the length limit cut off."""
    saved_at: float = field(default_factory=time.monotonic)

    def restore(self) -> None:
        """Restores the state of a stopped process of the same job, and cuts off what is not
        complete. Starts again if there is no such state or it doesn't fit the file."""
        size = 0
        with suppress(OSError, ValueError, KeyError, TypeError):
            state = json.loads(self.state.read_text(encoding="utf-8"))
            length = os.fstat(self.stream.fileno()).st_size
            if state["identity"] == self.identity and state["size"] <= length:
                self.rows, self.cut, size = state["rows"], Cut(*state["cut"]), state["size"]
        self.stream.truncate(size)
        self.stream.seek(size)

    def append(self, form: OutputFormat, rows: Sequence[PredictedRow]) -> None:
        if not self.rows:
            self.stream.write(form.begin(rows))
        self.stream.write(form.body(rows))
        self.rows += len(rows)

    def save_state(self, after: float = 0.0) -> None:
        """Saves what is complete, if the last time was ``after`` seconds ago or more."""
        if not self.identity or not self.rows or time.monotonic() - self.saved_at < after:
            return
        self.stream.flush()
        os.fsync(self.stream.fileno())
        size, cut = self.stream.tell(), astuple(self.cut)
        state = {"identity": self.identity, "rows": self.rows, "size": size, "cut": cut}
        rewrite(self.state, json.dumps(state))
        self.saved_at = time.monotonic()

    def finish(self, form: OutputFormat, out: Path) -> None:
        self.stream.flush()
        self.save_state()
        put(form.finish(self.path), behind_links(out))
        self.path.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)


@contextmanager
def _part_of(out: Path, identity: str) -> Iterator[_Part]:
    """Opens and locks the unfinished file of ``out``: one process at a time may write it."""
    real = behind_links(out)
    path, state = (real.with_name(real.name + ending) for ending in (".part", ".part.json"))
    try:
        path.touch(mode_until_finished(real))
        with open(path, "r+b") as stream:
            if not lock(stream):
                hint = "wait for it, or choose another --out"
                raise UsageError("another process is writing it", place=Place(out), hint=hint)
            part = _Part(path, state, identity, stream)
            part.restore()
            yield part
    except OSError as error:
        raise OneLayerError(
            f"can't be written: {reason_of(error)}",
            place=Place(out),
            hint=f"what is in {path.name} is kept: the same command resumes from there"
            if path.exists()
            else "choose another --out",
        ) from error
