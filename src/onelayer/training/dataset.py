"""The labelled file of a run: read as a stream, split, and turned into tokens on the disk."""

from __future__ import annotations

import dataclasses
import json
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.base import digest
from onelayer.base.errors import DataError, Place
from onelayer.data.layout import Layout
from onelayer.data.rows import Rows, chunks_of
from onelayer.data.sketch import Sketch
from onelayer.data.table import Table
from onelayer.recipe import Recipe
from onelayer.tasks import AnyTask, task_from_json, task_to_json
from onelayer.tasks.labelled import usable_rows
from onelayer.tokens.coverage import coverage
from onelayer.tokens.encodings import Encodings, Ints
from onelayer.tokens.store import EncodingsWriter, open_encodings
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training.folds import NO_FOLD, folds_for, remarks_on_folds, split_folds
from onelayer.training.progress import Reporter
from onelayer.training.remarks import Remarks
from onelayer.training.split import DEV_SHARE, MAX_DEV_ROWS, SplitKeys, split_dev
from onelayer.training.token_cache import cached

CACHE_FORMAT = 7
"""Raise it whenever ``encode``, ``fit``, the split, the folds or the files of an entry change:
entries of another format aren't read."""
ROWS_PER_CHUNK = 256
"""Rows that are turned into tokens by one call of the tokenizer."""
COVERAGE_SAMPLE_ROWS = 500
"""About how many training rows are checked for characters that the tokenizer doesn't know."""
REPORT_SECONDS = 0.5
"""Seconds between two reports of progress, at least."""

KEYS_FILE = "keys.bin"

ENCODING_FIELDS = (
    "header",
    "delimiter",
    "encoding",
    "skip_bad",
    "multi_label",
    "max_length",
    "stride",
    "long",
    "positions",
    "span_head",
)
"""The fields of a recipe that change the encodings or the task."""


@dataclass(frozen=True, slots=True)
class TrainingSource:
    """An open labelled file, and all that decides how its rows become tokens."""

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
    """Whether the rows to score are split off this file."""

    @property
    def place(self) -> Place:
        return Place(self.table.path)

    def key(self) -> str:
        """A digest of all that the encodings, the split and the fitted task depend on."""
        parts = {
            "versions": [CACHE_FORMAT, version("onelayer"), version("tokenizers")],
            "content": self.sha256,
            "read as": [self.table.format, self.table.columns, self.table.note],
            "tokenizer": self.tokenizer.digest,
            "task": [self.kind.name, self.layout.to_json(), self.limit],
            "split": [self.recipe.seed, self.recipe.folds] if self.splits else None,
            "recipe": [getattr(self.recipe, name) for name in ENCODING_FIELDS],
        }
        return digest.of_text(json.dumps(parts))


@dataclass(frozen=True, slots=True)
class TrainingData:
    """The training rows as encodings, mapped from the disk, and the dev rows."""

    task: AnyTask
    encodings: Encodings
    dev: list[Any]
    """Empty where the training rows are cross-validated."""
    key: str
    """A digest of all that these depend on."""
    seen: Sketch
    """Of the file's rows, dev rows included: tells later whether a row was seen in training."""
    keys: Ints
    """The ``split_key`` of each training row where dev is another file, else empty."""
    rows: Sequence[Any] = ()
    """The training rows where they are cross-validated, else empty."""
    folds: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    """The fold of each of ``rows``, and -1 for one that no fold holds out; empty without folds."""

    @property
    def is_folded(self) -> bool:
        """Whether the training rows are cross-validated, in place of a dev set."""
        return len(self.folds) > 0

    @property
    def n_folds(self) -> int:
        """Folds that are held out; 0 where no row can be."""
        return int(self.folds.max(initial=NO_FOLD)) + 1

    def on_rows(self, numbers: Ints) -> TrainingData:
        """The cross-validated rows of these numbers."""
        return dataclasses.replace(
            self,
            encodings=self.encodings.of_rows(numbers),
            rows=[self.rows[i] for i in numbers.tolist()],
            folds=self.folds[numbers],
        )


def read_data(source: TrainingSource, remarks: Remarks) -> TrainingData:
    """The file's training rows as encodings.

    They come from the cache if an earlier run has read the same content in the same way. Raises
    DataError for rows that can't be used.
    """
    key = source.key()
    (data, remarks_then), was_cached = cached(
        key,
        lambda folder: _make_entry(source, folder, remarks),
        lambda folder: _load_entry(source, folder, key),
        remarks.say,
    )
    if was_cached:
        # What was remarked on these rows holds for this run, too.
        remarks.say_all(remarks_then)
        remarks.reporter.say("rows and tokens are those of an earlier run on the same content")
    return data


def _make_entry(source: TrainingSource, folder: Path, remarks: Remarks) -> None:
    """Fills a folder with the encodings, and with ``entry.json`` for all else that is known."""
    n_remarks = len(remarks.told)
    try:
        entry = _prepare(source, folder, remarks)
    finally:
        remarks.reporter.finish()
    entry["remarks"] = remarks.told[n_remarks:]
    # Types that JSON doesn't have, such as Parquet's decimals, read the same as strings.
    body = json.dumps(entry, default=str)
    text = json.dumps({"crc32": zlib.crc32(body.encode()), "entry": body})
    (folder / "entry.json").write_text(text, encoding="utf-8")


def _prepare(source: TrainingSource, folder: Path, remarks: Remarks) -> dict[str, Any]:
    """Reads the file three times: to find bad rows and split, to fit the task, and to tokenize.

    Memory holds the dev rows and a few bytes of each other row, however large the file is. With
    folds all rows are there, because each is scored.
    """
    reporter = remarks.reporter
    split = _split(source, remarks)
    rows, keys = split.rows, split.keys
    progress = _PassProgress(reporter, "looking", len(rows))
    task, kept_values, sample = _fit(source, split, progress)
    if (found := coverage(source.tokenizer, sample)).poor:
        remarks.say("warning: " + found.advice())
    train = dataclasses.replace(rows, legal=rows.legal & ~split.dev)
    counted = _PassProgress(reporter, "tokenizing", len(train)).through(train)
    chunks = chunks_of(ROWS_PER_CHUNK, counted)

    def encode(chunk: list[Any]) -> Encodings:
        return task.encode(chunk, source.tokenizer, labelled=True)

    if not source.splits:
        np.unique(np.frombuffer(keys.groups, np.int64)[rows.legal]).tofile(folder / KEYS_FILE)
    with EncodingsWriter(folder) as writer:
        for encodings in encode_ahead(encode, chunks):
            writer.append(encodings)
    return {
        "task": task_to_json(task),
        "kept": kept_values,
        "folds": split.folds[rows.legal].tolist() if split.is_folded else [],
        "seen": keys.sketch.to_text(),
        **writer.record(),
    }


@dataclass(frozen=True, slots=True)
class _Split:
    """The rows that can be used, and which of them are scored by what."""

    rows: Rows
    keys: SplitKeys
    dev: NDArray[np.bool_]
    """(n,) whether each row is kept as dev."""
    folds: Ints
    """(n,) each row's fold; empty without folds."""

    @property
    def is_folded(self) -> bool:
        return len(self.folds) > 0

    @property
    def kept(self) -> NDArray[np.bool_]:
        """(n,) whether each row is kept in memory, to be scored."""
        return self.rows.legal if self.is_folded else self.dev


def _split(source: TrainingSource, remarks: Remarks) -> _Split:
    keys = SplitKeys(source.kind)
    progress = _PassProgress(remarks.reporter, "reading", None)

    def on_row(row: Any) -> None:
        keys.add(row)
        progress.tick()

    rows = usable_rows(source.kind, source.table, source.layout, source.recipe, remarks.say, on_row)
    if rows.refusal is not None:
        raise rows.refusal
    usable, seed, none = rows.legal, source.recipe.seed, np.zeros_like(rows.legal)
    if not source.splits:
        return _Split(rows, keys, none, np.empty(0, np.int64))
    if n_folds := folds_for(len(rows), source.recipe.folds):
        folds = split_folds(keys, usable, n_folds, seed=seed)
        remarks.say_all(remarks_on_folds(keys, usable, folds))
        return _Split(rows, keys, none, folds)
    dev = split_dev(keys, usable, seed=seed)
    n, n_dev = len(rows), int(np.count_nonzero(dev))
    if not 0 < n_dev < n:
        raise DataError(
            f"too little to train on: {n} rows leave none for a dev set",
            place=source.place,
            hint="add rows (of other passages, for answer), give a --dev file, or leave out "
            "--folds 0",
        )
    capped = ", which is enough to choose by" if n * DEV_SHARE > MAX_DEV_ROWS else ""
    remarks.say(f"{n:,} rows: {n - n_dev:,} to train on, {n_dev:,} kept as dev{capped}")
    remarks.say_all(keys.remarks_on(usable, dev))
    return _Split(rows, keys, dev, np.empty(0, np.int64))


def _fit(
    source: TrainingSource, split: _Split, progress: _PassProgress
) -> tuple[AnyTask, list[Any], list[str]]:
    """Fits the task on the training rows.

    Returns it with the values by role and the lines of the rows to keep, and a sample of the
    training texts.
    """
    kind, rows = source.kind, split.rows
    n_train = int(np.count_nonzero(rows.legal & ~split.dev))
    step = max(1, n_train // COVERAGE_SAMPLE_ROWS)
    kept_values: list[Any] = []
    sample: list[str] = []

    def train_rows() -> Iterator[Any]:
        n = 0
        counted = progress.through(rows.with_values())
        flags = zip(split.dev[rows.legal], split.kept[rows.legal], strict=True)
        for (is_dev, is_kept), (values, row) in zip(flags, counted, strict=True):
            if is_kept:
                kept_values.append([values, row.place.line])
            if is_dev:
                continue
            if n % step == 0:
                sample.extend(kind.texts(row))
            n += 1
            yield row

    stream = train_rows()
    task = kind.fit(stream, source.tokenizer, source.recipe, source.limit)
    deque(stream, maxlen=0)  # read to the end: a task may have looked at a few rows only
    return task, kept_values, sample


def encode_ahead(
    encode: Callable[[list[Any]], Encodings], chunks: Iterable[list[Any]]
) -> Iterator[Encodings]:
    """Yields ``encode`` of each chunk, in order.

    The tokenizer works without Python's lock. While it has a chunk, the next one is read and the
    last one is written.
    """
    with ThreadPoolExecutor(1) as pool:
        current: Future[Encodings] | None = None
        for chunk in chunks:
            following = pool.submit(encode, chunk)
            if current is not None:
                yield current.result()
            current = following
        if current is not None:
            yield current.result()


def _load_entry(source: TrainingSource, folder: Path, key: str) -> tuple[TrainingData, list[str]]:
    """What ``_make_entry`` left in a folder, and the remarks of that time. Raises for damage."""
    wrapped = json.loads((folder / "entry.json").read_text(encoding="utf-8"))
    if zlib.crc32(wrapped["entry"].encode()) != wrapped["crc32"]:
        raise ValueError("entry.json is not as it was written")
    entry = json.loads(wrapped["entry"])
    place = source.table.place_at
    kept = [source.kind.row(values, place(line), True) for values, line in entry["kept"]]
    folds = np.array(entry["folds"], np.int64)
    data = TrainingData(
        task_from_json(entry["task"]),
        open_encodings(folder, entry),
        [] if len(folds) else kept,
        key,
        Sketch.from_text(entry["seen"]),
        np.empty(0, np.int64) if source.splits else np.fromfile(folder / KEYS_FILE, np.int64),
        kept if len(folds) else [],
        folds,
    )
    return data, entry["remarks"]


class _PassProgress:
    """Reports every ``REPORT_SECONDS`` how many rows of a file are read."""

    def __init__(self, reporter: Reporter, what: str, total: int | None) -> None:
        self.reporter, self.what, self.total = reporter, what, total
        self.rows = 0
        self.reported = time.monotonic()

    def tick(self) -> None:
        self.rows += 1
        if self.rows % 256 == 0 and time.monotonic() > self.reported + REPORT_SECONDS:
            self.reported = time.monotonic()
            self.reporter.prepare(self.what, self.rows, self.total)

    def through(self, rows: Iterable[Any]) -> Iterator[Any]:
        for row in rows:
            self.tick()
            yield row
