"""An unlabelled file: which of its rows may be labelled next, and what a model thinks of them.

The file is read three times: for the keys of its texts (8 bytes a row), for what the model thinks
of the rows that it reads, and for the rows that were chosen. Other rows are never in memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.base.errors import DataError, Place
from onelayer.base.wording import Say, listed, silent
from onelayer.checkpoint.record import files_of_run
from onelayer.data.equal_texts import texts_key
from onelayer.data.in_memory import Source
from onelayer.data.layout import Layout, each_column
from onelayer.data.readers import open_table
from onelayer.data.rows import chunks_of
from onelayer.data.sketch import Sketch
from onelayer.data.table import Record, Table
from onelayer.labelling.diverse_rows import Floats, joined_features
from onelayer.prediction.inputs import input_layout
from onelayer.prediction.predictor import CHUNK, Predictor
from onelayer.prediction.streams import usable_records
from onelayer.prediction.unlabelled_file import UnlabelledFile
from onelayer.recipe import Columns
from onelayer.tokens.encodings import Ints


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A row that may be chosen."""

    number: int
    """Its place among the usable rows of the file, from 0."""
    record: Record
    row: Any
    """Of the task."""


@dataclass(slots=True)
class _Labelled:
    """The rows that have labels already."""

    keys: set[int] = field(default_factory=set)
    sketch: Sketch = field(default_factory=Sketch)

    def has(self, texts: tuple[str, ...]) -> bool:
        return texts_key(texts) in self.keys or self.sketch.has(texts) is True


@dataclass(frozen=True, slots=True)
class Pool:
    """The rows of an unlabelled file from which rows are chosen."""

    file: UnlabelledFile
    say: Say

    @classmethod
    def open(cls, predictor: Predictor, source: Source, columns: Columns, say: Say) -> Pool:
        """Raises DataError for a file that can't be read, UsageError for one whose columns the
        model can't read."""
        return cls(UnlabelledFile.open(predictor, source, columns, say), say)

    @property
    def predictor(self) -> Predictor:
        return self.file.predictor

    @property
    def table(self) -> Table:
        return self.file.table

    @property
    def layout(self) -> Layout:
        return self.file.layout

    @property
    def label_columns(self) -> tuple[str, ...]:
        """The columns of the label: those of the training file, or ``label`` where they had no
        names."""
        named = self.file.columns.label or self.predictor.layout.columns.get("label")
        columns = each_column(named)
        unnamed = any(name.startswith("column") and name[6:].isdigit() for name in columns)
        return ("label",) if unnamed or not columns else columns

    def rows(self, say: Say = silent) -> Iterator[PoolRow]:
        """The rows that the model can read, in order; then remarks on the others."""
        for number, (record, row) in enumerate(self.file.records(say)):
            yield PoolRow(number, record, row)

    def unlabelled(self, labelled: Source | None) -> Ints:
        """The numbers of the rows that may be labelled: the first of those with equal texts, if it
        has a text, no label yet, and is none of the rows that are labelled elsewhere.

        ``labelled`` is a file of such rows; by default the training file of the run, if it is where
        it was, else what the run remembers of it. Raises DataError where no row is left.
        """
        known = self._labelled_rows(labelled)
        kind, seen, free = type(self.predictor.task), set[int](), array("q")
        left_out = {"repeat another row": 0, "are labelled": 0, "have no text": 0}
        n = 0
        for one in self.rows(self.say):
            n += 1
            texts = kind.texts(one.row)
            key = texts_key(texts)
            if self.file.is_blank(one.record):
                left_out["have no text"] += 1
            elif self._has_label(one.record) or known.has(texts):
                left_out["are labelled"] += 1
                seen.add(key)
            elif key in seen:
                left_out["repeat another row"] += 1
            else:
                seen.add(key)
                free.append(one.number)
        counts = [f"{count:,} {why}" for why, count in left_out.items() if count]
        name = Path(self.table.path).name
        self.say(f"{name}: {n:,} rows, {len(free):,} to choose from" + _in_brackets(counts))
        if not free:
            raise DataError(
                "no row to choose from" + (f": {listed(counts)}" if counts else ""),
                place=Place(self.table.path),
                hint="give rows without labels",
            )
        return np.frombuffer(free, np.int64)

    def thoughts(self, numbers: Ints) -> tuple[Floats, Floats]:
        """(B,) how unsure the model is of the rows of these numbers, which ascend, and (B, D) what
        tells them apart."""
        doubts, beliefs, vectors = [], [], []
        for chunk in chunks_of(CHUNK, (row.row for row in self.chosen(numbers))):
            run, read = self.predictor.run_with_vectors(chunk)
            doubt, belief = self.predictor.task.uncertainty(run)
            doubts.append(doubt)
            beliefs.append(np.asarray(belief, dtype=np.float32))
            vectors += [] if read is None else [read]
        features = joined_features(
            np.concatenate(beliefs), np.concatenate(vectors) if vectors else None
        )
        return np.concatenate(doubts), features

    def chosen(self, numbers: Ints) -> Iterator[PoolRow]:
        """The rows of these numbers, which ascend. Raises DataError for a file that has changed."""
        wanted = iter(numbers.tolist())
        number = next(wanted, None)
        for row in self.rows():
            if number is None:
                return
            if row.number == number:
                yield row
                number = next(wanted, None)
        if number is not None:
            place, hint = Place(self.table.path), "start again when it is complete"
            raise DataError("the file changed while it was read", place=place, hint=hint)

    def _has_label(self, record: Record) -> bool:
        values = (record.values.get(name) for name in self.label_columns)
        return any(value not in (None, "") and value == value for value in values)

    def _labelled_rows(self, labelled: Source | None) -> _Labelled:
        """The rows that are labelled in other files."""
        record, path = self.predictor.record, self.predictor.path
        if labelled is not None:
            return _Labelled(set(self._keys_of(labelled)))
        found = files_of_run(path)
        files = [file for file in map(Path, found.values()) if file.exists()]
        if files:
            self.say(f"rows of {listed([file.name for file in files])} count as labelled")
            return _Labelled({key for file in files for key in self._keys_of(file)})
        if record is None or record.seen is None:
            self.say("the training rows are not known: --labelled FILE leaves out those of a file")
            return _Labelled()
        sketch = Sketch.from_text(record.seen)
        if not sketch.is_complete:
            self.say(
                "the training file is not where it was: only a part of its rows are known to be "
                "labelled; --labelled FILE leaves out all of a file"
            )
        return _Labelled(sketch=sketch)

    def _keys_of(self, source: Source) -> Iterator[int]:
        """The keys of the rows of a labelled file, whatever their labels."""
        task = self.predictor.task
        columns = Columns(skip_bad=True)
        table = open_table(source, columns, self.predictor.layout.columns.values())
        layout = input_layout(task, self.predictor.layout, table, {})
        for _, row in usable_records(task, table, layout, columns, self.say):
            yield texts_key(type(task).texts(row))


def _in_brackets(parts: list[str]) -> str:
    return f" ({', '.join(parts)})" if parts else ""
