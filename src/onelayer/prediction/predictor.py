"""A trained model as its users see it: rows in, typed predictions out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

from onelayer.base.errors import DataError, Place, UsageError
from onelayer.base.json_values import to_plain
from onelayer.base.result import Result, Table, score_table
from onelayer.checkpoint.record import ModelRecord
from onelayer.data.layout import Layout
from onelayer.engines.engine import Engine
from onelayer.metrics import Scorer
from onelayer.tasks import TASKS, AnyTask
from onelayer.tasks.protocol import Chunk
from onelayer.tokens.encodings import Cut, Encodings
from onelayer.tokens.tokenizer import Tokenizer

CHUNK = 1024
"""Rows encoded, run and decoded together, long ones beside long ones."""


@dataclass(slots=True, repr=False)
class Predictor(Result):
    """Encodes, runs and decodes. Training's evaluation, ``eval`` and ``predict`` all use it."""

    task: AnyTask
    tokenizer: Tokenizer
    engine: Engine
    layout: Layout
    path: Path | None = None
    """The run's directory; None while it is in training."""
    record: ModelRecord | None = None
    """How the model was made and how good it is; None where transformers saved it."""
    cut: Cut = field(default_factory=Cut)
    """What the length limit has cost so far."""

    def to_json(self) -> dict[str, Any]:
        """Where the model is and how good it is on dev."""
        record = self.record
        found = {
            "run": str(self.path),
            "dev": record and record.dev,
            "seeds": record and record.seeds,
        }
        return {name: to_plain(value) for name, value in found.items() if value is not None}

    def parts(self) -> list[str | Table]:
        parts: list[str | Table] = [f"{self.path or 'a model'}: {self.task.summary}"]
        if self.record and self.record.dev:
            parts += ["dev", score_table(self.record.dev.scores, self.record.dev.intervals)]
        return parts

    def with_guarantees(
        self, *, coverage: float | None = None, abstain: float | None = None
    ) -> Predictor:
        """The same model with more in its predictions: ``label_set``, which holds what is right
        with the chance ``coverage``, and no label where it is too uncertain for at most the share
        ``abstain`` of its answers to be wrong. Raises UsageError where that can't be promised."""
        if coverage is None and abstain is None:
            return self
        if not self.task.promises:
            names = " and ".join(name for name, kind in TASKS.items() if kind.promises)
            it = f"this model is for {self.task.name}"
            raise UsageError(f"--coverage and --abstain are for {names}, and {it}")
        return replace(self, task=self.task.with_guarantees(coverage, abstain))

    def predict(self, inputs: Iterable[Any]) -> list[Any]:
        """One prediction for each input: a text, a tuple such as (text, pair) or
        (question, context), or a dict by column."""
        return list(self.predict_stream(inputs))

    def predict_stream(self, inputs: Iterable[Any]) -> Iterator[Any]:
        """As ``predict``, one chunk at a time."""
        if isinstance(inputs, str):
            raise UsageError("predict takes a list of inputs", hint="predict([text])")
        if isinstance(inputs, Mapping) or hasattr(inputs, "columns"):
            # Iterating over a table gives the names of its columns.
            raise UsageError(
                f"predict takes a list of inputs, not a {type(inputs).__name__}",
                hint="give a column, table['text'], or a list of dicts by column",
            )
        return self.predict_each(self._row(item, i) for i, item in enumerate(inputs, start=1))

    def predict_rows(self, rows: Sequence[Any]) -> list[Any]:
        """Predictions for rows of the task."""
        return self.task.decode(*self.run_rows(rows))

    def run_rows(self, rows: Sequence[Any]) -> Chunk[Any]:
        """Rows of the task with their encodings and logits."""
        encodings = self.task.encode(rows, self.tokenizer, labelled=False)
        self.cut += encodings.cut
        return rows, encodings, self.engine.logits(encodings)

    def run_encoded(self, rows: Sequence[Any], encodings: Encodings) -> Iterator[Chunk[Any]]:
        """The logits of rows that the task has encoded before, one chunk at a time."""
        for start in range(0, len(rows), CHUNK):
            stop = min(start + CHUNK, len(rows))
            part = encodings.part(start, stop)
            yield rows[start:stop], part, self.engine.logits(part)

    def evaluate(self, rows: Iterable[Any]) -> Scorer:
        """The scores on labelled rows, one chunk at a time. The rows are gone through more than
        once; of each a few numbers are kept, for the bootstrap."""
        return self.task.score(rows, self.predict_each(rows))

    def predict_each(self, rows: Iterable[Any]) -> Iterator[Any]:
        """A prediction for each row of the task, one chunk at a time."""
        rows = iter(rows)
        while chunk := list(islice(rows, CHUNK)):
            yield from self.predict_rows(chunk)
            chunk.clear()  # gone before the next one is read

    def _row(self, item: Any, number: int) -> Any:
        names = self.task.columns.inputs
        if isinstance(item, Mapping):
            by_role = {key: value for key, value in item.items() if key in (*names, "id")}
            values = {**by_role, **self.layout.present_in(item).values(item)}
        elif isinstance(item, tuple):
            values = dict(zip(names, item, strict=False))
        elif isinstance(item, (str, list)):
            values = {names[0]: item}
        else:
            raise UsageError(
                f"input {number} is a {type(item).__name__}",
                hint="give a text, a tuple such as (text, pair), or a dict by column",
            )
        return self.row_by_role(values, number)

    def row_by_role(self, values: Mapping[str, Any], number: int) -> Any:
        """The task's row of the values by role of the ``number``-th input. Raises DataError where
        they can't be used."""
        place = Place("input", number)
        if "pair" in self.layout.columns and values.get("pair") is None:
            raise DataError(
                "the model was trained on pairs, and this is one text",
                place=place,
                hint='give (text, pair), or in a pipe {"text": …, "pair": …}',
            )
        return self.task.row(values, place, False)


def is_run(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a model directory."""
    return Path(path).is_dir() and os.path.lexists(Path(path) / "config.json")
