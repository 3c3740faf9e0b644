"""The predictions of a whole file, however large: killed at any moment, the same command goes on,
and what it writes is byte for byte what it would have written at once."""

from __future__ import annotations

import fcntl
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
from onelayer.base.disk import rewrite
from onelayer.base.errors import OneLayerError, Place, UsageError
from onelayer.data.readers import extent
from onelayer.prediction.formats import Form, Predicted, form_of
from onelayer.prediction.predictor import Predictor
from onelayer.prediction.streams import in_chunks, open_input, predict_table
from onelayer.recipe import Columns
from onelayer.tasks import task_to_json
from onelayer.tokens.encodings import Cut

FORMAT = 1
INTERVAL = 1.0
"""Seconds of work that a killed job has to do again, at most."""


class Watch(Protocol):
    """Sees how far a job is."""

    def say(self, remark: str) -> None: ...
    def rows(self, done: int, share: float | None) -> None:
        """So many rows are written, which are that share of the file where it is known."""
        ...


class _Nobody:
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

    Until all is there it lies in ``out.part``, and what of it is whole is said in
    ``out.part.json``. Raises DataError as `predict_table`, UsageError where another process writes
    the same file, OneLayerError where the disk refuses.
    """
    watch = watch or _Nobody()
    table = open_input(file, columns)
    last_line = extent(table)
    form = form_of(form_name, table.schema)
    with _part_of(out, _identity(predictor, file, columns, form_name)) as part:
        if part.rows:
            watch.say(f"{part.rows:,} rows are in {part.path.name} already: resuming from there")
            predictor.cut = part.cut
            form.go_on(part.path)
        rows = predict_table(predictor, table, columns, watch.say, skip=part.rows)
        try:
            for chunk in in_chunks(rows):
                part.append(form, chunk)
                part.cut = predictor.cut
                part.keep(INTERVAL)
                line = chunk[-1].line if chunk else None
                watch.rows(part.rows, line / last_line if line and last_line else None)
        except KeyboardInterrupt:
            part.keep()
            watch.say(f"{part.rows:,} rows are kept in {part.path.name}: the same command resumes")
            raise
        part.finish(form, out)
        return part.rows


def write_stream(stream: BinaryIO, chunks: Iterable[Sequence[Predicted]], form_name: str) -> int:
    """Writes each chunk as soon as it is there; returns the number of rows."""
    if form_name == "parquet":
        raise UsageError("parquet is no text for a terminal", hint="give --out FILE.parquet")
    form, n = form_of(form_name), 0
    for chunk in chunks:
        before = b"" if n else form.begin(chunk)
        stream.write(before + form.body(chunk))
        stream.flush()
        n += len(chunk)
    return n


def write_to(out: Path, chunks: Iterable[Sequence[Predicted]], form_name: str) -> int:
    """Writes predictions of what can't be read again, such as a pipe; returns their number."""
    form = form_of(form_name)
    with _part_of(out, identity="") as part:
        for chunk in chunks:
            part.append(form, chunk)
        part.finish(form, out)
        return part.rows


def _identity(predictor: Predictor, file: str | Path, columns: Columns, form: str) -> str:
    """What the bytes of the output depend on."""
    folder = predictor.path
    assert folder is not None, "a model in training predicts no files"
    model = {
        str(path.relative_to(folder)): digest.of_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    facts = [FORMAT, version("onelayer"), form, asdict(columns), predictor.engine.name]
    facts += [task_to_json(predictor.task), model, digest.of_file(file)]
    return digest.of_text(json.dumps(facts, default=str))


@dataclass(slots=True)
class _Part:
    """An unfinished file, and how much of it is known to be whole."""

    path: Path
    state: Path
    identity: str
    stream: BinaryIO
    rows: int = 0
    cut: Cut = field(default_factory=Cut)
    """What the length limit has cost these rows."""
    kept_at: float = field(default_factory=time.monotonic)

    def recall(self) -> None:
        """Goes back to what an earlier process of the same job left; to nothing where there is no
        such thing, or where it isn't as it was."""
        size = 0
        with suppress(OSError, ValueError, KeyError, TypeError):
            state = json.loads(self.state.read_text(encoding="utf-8"))
            length = os.fstat(self.stream.fileno()).st_size
            if state["identity"] == self.identity and state["size"] <= length:
                self.rows, self.cut, size = state["rows"], Cut(*state["cut"]), state["size"]
        self.stream.truncate(size)
        self.stream.seek(size)

    def append(self, form: Form, rows: Sequence[Predicted]) -> None:
        if not self.rows:
            self.stream.write(form.begin(rows))
        self.stream.write(form.body(rows))
        self.rows += len(rows)

    def keep(self, after: float = 0.0) -> None:
        """Notes what is written, if the last time was so many seconds ago."""
        if not self.identity or not self.rows or time.monotonic() - self.kept_at < after:
            return
        self.stream.flush()
        os.fsync(self.stream.fileno())
        size, cut = self.stream.tell(), astuple(self.cut)
        state = {"identity": self.identity, "rows": self.rows, "size": size, "cut": cut}
        rewrite(self.state, json.dumps(state))
        self.kept_at = time.monotonic()

    def finish(self, form: Form, out: Path) -> None:
        self.stream.flush()
        self.keep()
        whole = form.finish(self.path)
        with open(whole, "rb") as written:
            os.fsync(written.fileno())
        whole.replace(out)
        self.path.unlink(missing_ok=True)
        self.state.unlink(missing_ok=True)


@contextmanager
def _part_of(out: Path, identity: str) -> Iterator[_Part]:
    """The unfinished file of ``out``, for one process at a time."""
    path, state = (out.with_name(out.name + ending) for ending in (".part", ".part.json"))
    try:
        with open(path, "r+b" if path.exists() else "w+b") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                hint = "wait for it, or choose another --out"
                raise UsageError("being written already", place=Place(out), hint=hint) from None
            part = _Part(path, state, identity, stream)
            part.recall()
            yield part
    except OSError as error:
        raise OneLayerError(
            f"can't be written: {error.strerror or error}",
            place=Place(out),
            hint=f"what is in {path.name} is kept: the same command resumes from there"
            if path.exists()
            else "choose another --out",
        ) from error
