"""The labelled files of a run: read in a stream, split, and turned into tokens on the disk."""

from __future__ import annotations

import dataclasses
import json
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.base import digest
from onelayer.base.errors import DataError, Place
from onelayer.data.layout import Layout
from onelayer.data.rows import Rows
from onelayer.data.sketch import Sketch
from onelayer.data.table import Table
from onelayer.recipe import Recipe
from onelayer.tasks import AnyTask, task_from_json, task_to_json
from onelayer.tasks.labelled import usable_rows
from onelayer.tokens.coverage import coverage
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.store import EncodingsWriter, open_encodings
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training.progress import Reporter
from onelayer.training.split import DEV_SHARE, MOST_DEV, Facts, carve
from onelayer.training.token_cache import cached

FORMAT = 3
"""Goes up whenever ``encode``, ``fit``, ``carve`` or the files of an entry change."""
CHUNK = 256
"""Rows turned into tokens at once."""
COVERAGE_SAMPLE = 500
REPORT_EVERY = 0.5
"""Seconds between two reports of progress."""

DECIDING = ("skip_bad", "multi_label", "max_length", "stride", "long", "positions", "span_head")
"""The fields of a recipe that encodings and task depend on; the split depends on the seed."""


@dataclass(frozen=True, slots=True)
class Source:
    """A labelled file of which the first rows were seen, and how its rows become tokens."""

    kind: type[AnyTask]
    layout: Layout
    table: Table
    sha256: str
    """Of the file."""
    recipe: Recipe
    tokenizer: Tokenizer
    limit: int
    """Positions of the model."""
    splits: bool
    """Whether the dev set is split off this file."""

    @property
    def place(self) -> Place:
        return Place(self.table.path)

    def key(self) -> str:
        """A digest of all that the encodings, the split and the fitted task depend on."""
        parts = {
            "versions": [FORMAT, version("onelayer"), version("tokenizers")],
            "content": self.sha256,
            "read as": [self.table.format, self.table.columns, self.table.note],
            "tokenizer": self.tokenizer.digest,
            "task": [self.kind.name, self.layout.to_json(), self.limit],
            "split": self.recipe.seed if self.splits else None,
            "recipe": [getattr(self.recipe, name) for name in DECIDING],
        }
        return digest.of_text(json.dumps(parts))


@dataclass(frozen=True, slots=True)
class Data:
    """What is learned from, mapped from the disk, and the dev rows carved off it, if any."""

    task: AnyTask
    encodings: Encodings
    dev: list[Any]
    key: str
    """A digest of all that these follow from."""
    seen: Sketch
    """The rows of the file, dev rows included."""


def read_data(source: Source, say: Callable[[str], None], reporter: Reporter) -> Data:
    """The file's training rows as encodings: those of an earlier run with the same content, or
    made now. Raises DataError for rows that can't be used."""
    key = source.key()
    made = False

    def make(folder: Path) -> None:
        nonlocal made
        made = True
        remarks: list[str] = []

        def remark(text: str) -> None:
            remarks.append(text)
            say(text)

        try:
            entry = _prepare(source, folder, remark, reporter)
        finally:
            reporter.finish()
        entry["remarks"] = remarks
        _write_entry(folder, entry)

    data, remarks = cached(key, make, lambda folder: _load(source, folder, key), say)
    if not made:
        for text in remarks:
            say(text)
        reporter.say("rows and tokens are those of an earlier run on the same content")
    return data


def _prepare(
    source: Source, folder: Path, say: Callable[[str], None], reporter: Reporter
) -> dict[str, Any]:
    """Goes through the file: for bad rows and the split, for what the training rows decide, and to
    turn them into tokens. Nothing is kept of a row but dev rows and a few bytes."""
    rows, dev, seen = _split(source, say, reporter)
    task, dev_values, sample = _fit(source, rows, dev, _Progress(reporter, "looking", len(rows)))
    if (found := coverage(source.tokenizer, sample)).poor:
        say("warning: " + found.advice())
    train = dataclasses.replace(rows, legal=rows.legal & ~dev)
    counted = _Progress(reporter, "tokenizing", len(train)).through(train)
    chunks = iter(lambda: list(islice(counted, CHUNK)), [])

    def encode(chunk: list[Any]) -> Encodings:
        return task.encode(chunk, source.tokenizer, labelled=True)

    with EncodingsWriter(folder) as writer:
        for encodings in ahead(encode, chunks):
            writer.append(encodings)
    return {
        "task": task_to_json(task),
        "dev": dev_values,
        "seen": seen.to_text(),
        **writer.record(),
    }


def _split(
    source: Source, say: Callable[[str], None], reporter: Reporter
) -> tuple[Rows, NDArray[np.bool_], Sketch]:
    """The rows that can be used, which of them are kept as dev, and a sketch of them all."""
    facts = Facts(source.kind)
    progress = _Progress(reporter, "reading", None)

    def look(row: Any) -> None:
        facts.see(row)
        progress.tick()

    rows = usable_rows(source.kind, source.table, source.layout, source.recipe, say, look)
    if not source.splits:
        return rows, np.zeros_like(rows.legal), facts.sketch
    dev = carve(facts, rows.legal, seed=source.recipe.seed)
    n, n_dev = len(rows), int(np.count_nonzero(dev))
    if not 0 < n_dev < n:
        raise DataError(
            f"too little to train on: {n} rows leave none for a dev set",
            place=source.place,
            hint="add rows (of other passages, for answer), or give a --dev file",
        )
    capped = ", which is enough to choose by" if n * DEV_SHARE > MOST_DEV else ""
    say(f"{n:,} rows: {n - n_dev:,} to train on, {n_dev:,} kept as dev{capped}")
    return rows, dev, facts.sketch


def _fit(
    source: Source, rows: Rows, dev: NDArray[np.bool_], progress: _Progress
) -> tuple[AnyTask, list[Any], list[str]]:
    """The task that the training rows decide, the dev rows' values by role, and a sample of the
    training rows' texts."""
    kind = source.kind
    is_dev = dev[rows.legal]
    step = max(1, int(np.count_nonzero(~is_dev)) // COVERAGE_SAMPLE)
    dev_values: list[Any] = []
    sample: list[str] = []

    def train_rows() -> Iterator[Any]:
        n = 0
        for kept, (values, row) in zip(is_dev, progress.through(rows.with_values()), strict=True):
            if kept:
                dev_values.append([values, row.place.line])
                continue
            if n % step == 0:
                sample.extend(kind.texts(row))
            n += 1
            yield row

    stream = train_rows()
    task = kind.fit(stream, source.tokenizer, source.recipe, source.limit)
    deque(stream, maxlen=0)  # what a task that has nothing to decide has left
    return task, dev_values, sample


def ahead(
    encode: Callable[[list[Any]], Encodings], chunks: Iterable[list[Any]]
) -> Iterator[Encodings]:
    """``encode`` of each chunk, in order. While one is in the tokenizer, which has all cores and
    needs no Python, the next one is read and the last one written."""
    with ThreadPoolExecutor(1) as pool:
        under_way: Future[Encodings] | None = None
        for chunk in chunks:
            following = pool.submit(encode, chunk)
            if under_way is not None:
                yield under_way.result()
            under_way = following
        if under_way is not None:
            yield under_way.result()


def _write_entry(folder: Path, entry: dict[str, Any]) -> None:
    # Values that JSON has no word for, such as Parquet's decimals, read the same as texts.
    body = json.dumps(entry, default=str)
    text = json.dumps({"crc32": zlib.crc32(body.encode()), "entry": body})
    (folder / "entry.json").write_text(text, encoding="utf-8")


def _load(source: Source, folder: Path, key: str) -> tuple[Data, list[str]]:
    """What ``_prepare`` left in a folder, and what it said."""
    written = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
    if zlib.crc32(written["entry"].encode()) != written["crc32"]:
        raise ValueError("entry.json is not as it was written")
    entry = json.loads(written["entry"])
    path = source.table.path
    dev = [source.kind.row(values, Place(path, line), True) for values, line in entry["dev"]]
    data = Data(
        task_from_json(entry["task"]),
        open_encodings(folder, entry),
        dev,
        key,
        Sketch.from_text(entry["seen"]),
    )
    return data, entry["remarks"]


class _Progress:
    """Tells now and then how far a pass through a file is."""

    def __init__(self, reporter: Reporter, what: str, total: int | None) -> None:
        self.reporter, self.what, self.total = reporter, what, total
        self.rows = 0
        self.reported = time.monotonic()

    def tick(self) -> None:
        self.rows += 1
        if self.rows % 256 == 0 and time.monotonic() > self.reported + REPORT_EVERY:
            self.reported = time.monotonic()
            self.reporter.prepare(self.what, self.rows, self.total)

    def through(self, rows: Iterable[Any]) -> Iterator[Any]:
        for row in rows:
            self.tick()
            yield row
