"""A trained model: rows in, typed predictions out."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.base.disk import restore
from onelayer.base.errors import CheckpointError, DataError, Place, UsageError
from onelayer.base.json_values import to_plain
from onelayer.base.result import HtmlPage, Result, Table, score_table
from onelayer.base.text_offsets import CODE_POINTS, OffsetUnit, check_offset_unit
from onelayer.checkpoint.record import ModelRecord
from onelayer.data.in_memory import one_split, tabular
from onelayer.data.layout import Layout
from onelayer.data.readers import reshaped
from onelayer.data.rows import chunks_of, in_column
from onelayer.data.table import Table as DataTable
from onelayer.engines.engine import Engine, RowEngine, RowModel, VectorEngine
from onelayer.metrics import Scorer
from onelayer.prediction.inputs import input_layout, item_values, items_of
from onelayer.tasks import TASKS, AnyTask, task_from_json, task_to_json
from onelayer.tasks.logits import Logits
from onelayer.tasks.protocol import Chunk
from onelayer.tokens.encodings import Cut, Encodings, segment_means
from onelayer.tokens.tokenizer import Tokenizer

CHUNK = 1024
"""Rows that are encoded, run and decoded together. In a larger chunk more rows have about the same
length, which is faster, but it takes more memory."""


@dataclass(slots=True, repr=False)
class Predictor(Result):
    """Encodes rows, runs the model and decodes predictions, in training and in every command."""

    task: AnyTask
    tokenizer: Tokenizer
    engine: Engine
    layout: Layout
    path: Path | None = None
    """The run's directory; None while it is in training."""
    record: ModelRecord | None = None
    """How the model was trained and its scores; None if transformers saved it."""
    cut: Cut = field(default_factory=Cut)
    """The tokens that the length limit has cut off so far."""
    offset_unit: OffsetUnit = CODE_POINTS
    """What the starts and ends of predicted spans count."""
    _row_model: tuple[AnyTask, RowModel | None] | None = field(default=None, compare=False)
    """The engine's own model for a task, if it has one; made when first needed."""

    def to_json(self) -> dict[str, Any]:
        """The model's directory and its scores on dev or of cross-validation."""
        record = self.record
        found = {
            "run": str(self.path),
            "dev": record and record.dev,
            "seeds": record and record.seeds,
        }
        return {name: to_plain(value) for name, value in found.items() if value is not None}

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and pickles hold the path of the model, which is loaded again from there. Raises
        UsageError while the model is in training."""
        from onelayer.prediction.load import load

        if self.path is None:
            hint = "save it first: finetune returns a model with a path"
            raise UsageError("a model without a directory can't be copied", hint=hint)
        engine = None if self.record and self.record.export is None else self.engine.name
        state = task_to_json(self.task), self.offset_unit
        return load, (self.path.absolute(), engine), state

    def __setstate__(self, state: tuple[dict[str, Any], OffsetUnit]) -> None:
        """Restores what `with_guarantees` and `with_offsets` decided."""
        self.task, self.offset_unit = task_from_json(state[0]), state[1]

    def parts(self) -> list[str | Table]:
        parts: list[str | Table] = [f"{self.path or 'a model'}: {self.task.summary}"]
        if self.record and self.record.dev:
            dev = self.record.dev
            parts += [dev.on, score_table(dev.scores, dev.intervals), *dev.caveats]
        return parts

    def report(self) -> HtmlPage:
        """The report that training left with the run: learning curves, scores, worst mistakes. A
        notebook shows it inline. Raises UsageError for a model without one."""
        page = (self.path or Path()) / "report.html"
        if self.path is None or not page.is_file():
            hint = "write one for labelled rows: onelayer.report(run, file)"
            raise UsageError("the model has no report", place=Place(page), hint=hint)
        return HtmlPage(out=str(page))

    def with_guarantees(
        self, *, coverage: float | None = None, abstain: float | None = None
    ) -> Predictor:
        """The same model with guarantees for its predictions.

        Parameters
        ----------
        coverage
            Each prediction gets a ``label_set`` that holds the right label with this probability,
            for rows like dev's and on average over dev sets.
        abstain
            Doubtful rows get no label: in at least 90 % of dev sets at most this share of the
            labels is then wrong, for rows like dev's.

        Raises
        ------
        UsageError
            If the task or the number of dev rows allows no such guarantee.
        """
        if coverage is None and abstain is None:
            return self
        if not self.task.promises:
            names = " and ".join(name for name, kind in TASKS.items() if kind.promises)
            it = f"this model is for {self.task.name}"
            raise UsageError(f"--coverage and --abstain are for {names}, and {it}")
        return replace(self, task=self.task.with_guarantees(coverage, abstain))

    def with_offsets(self, unit: OffsetUnit) -> Predictor:
        """The same model with the starts and ends of its predictions counted in this unit.

        Parameters
        ----------
        unit
            ``codepoint`` as Python counts, ``utf16`` as Java and JavaScript do, or ``utf8``: bytes.

        Raises
        ------
        UsageError
            For an unknown unit, and if the task predicts no spans.
        """
        check_offset_unit(unit)
        if unit != CODE_POINTS and not self.task.has_offsets:
            names = " and ".join(name for name, kind in TASKS.items() if kind.has_offsets)
            raise UsageError(f"--offsets is for {names}, and this model is for {self.task.name}")
        return replace(self, offset_unit=unit)

    def predict(self, inputs: Iterable[Any]) -> list[Any]:
        """Predict for a list of inputs.

        Parameters
        ----------
        inputs
            Texts, tuples such as (text, pair) or (question, context), or dicts by column; or a
            table, such as a DataFrame, whose columns are found as a file's are.

        Returns
        -------
        list
            A typed prediction for each input, such as `Label`.

        Raises
        ------
        UsageError, DataError
            For inputs of another type, and an input that can't be used.
        """
        return list(self.predict_stream(inputs))

    def predict_stream(self, inputs: Iterable[Any]) -> Iterator[Any]:
        """As `predict`, for any number of inputs: one chunk is in memory at a time."""
        if not hasattr(inputs, "readline") and (table := tabular(one_split(inputs))) is not None:
            return self.predict_each(self._table_rows(reshaped(table)))
        return self.predict_each(self.row_of(item, i) for i, item in enumerate(items_of(inputs), 1))

    def predict_rows(self, rows: Sequence[Any]) -> list[Any]:
        """Predictions for rows of the task."""
        model = self.row_model()
        if model is not None and (found := model.predict(rows)) is not None:
            predictions = found.predictions
            self.cut += found.cut
        else:
            predictions = self.task.decode(*self.run_rows(rows))
        return self.in_offset_unit(rows, predictions)

    def ready_row_model(self) -> RowModel | None:
        """As `row_model`, but None where it would have to be made first."""
        made = self._row_model
        return made[1] if made is not None and made[0] is self.task else None

    def row_model(self) -> RowModel | None:
        """The engine's own model for the task, which predicts as `encode`, the engine and `decode`
        do together; None where it has none."""
        if self._row_model is None or self._row_model[0] is not self.task:
            self._row_model = self.task, self._made_row_model()
        return self._row_model[1]

    def _made_row_model(self) -> RowModel | None:
        if isinstance(self.engine, RowEngine):
            with suppress(CheckpointError):
                return self.engine.row_model(self.task, self.tokenizer, self.layout)
        return None

    def in_offset_unit(self, rows: Sequence[Any], predictions: list[Any]) -> list[Any]:
        """Predictions of these rows with starts and ends in the unit of this predictor."""
        if self.offset_unit == CODE_POINTS:
            return predictions
        pairs = zip(rows, predictions, strict=True)
        return [self.task.in_offset_unit(row, one, self.offset_unit) for row, one in pairs]

    def run_rows(self, rows: Sequence[Any]) -> Chunk[Any]:
        """Rows of the task with their encodings and logits."""
        encodings = self.task.encode(rows, self.tokenizer, labelled=False)
        self.cut += encodings.cut
        return rows, encodings, self.logits(encodings)

    def run_with_vectors(
        self, rows: Sequence[Any]
    ) -> tuple[Chunk[Any], NDArray[np.float32] | None]:
        """As `run_rows`, and (B, D) the mean of the vectors that the output layer reads of each
        row; None where the engine gives none."""
        if not isinstance(self.engine, VectorEngine):
            return self.run_rows(rows), None
        encodings = self.task.encode(rows, self.tokenizer, labelled=False)
        self.cut += encodings.cut
        logits, of_examples = self.engine.logits_and_vectors(encodings)
        sizes = np.diff(np.searchsorted(encodings.cu_examples, encodings.cu_rows))
        return (rows, encodings, self._finite(logits)), segment_means(of_examples, sizes)

    def logits(self, encodings: Encodings) -> Logits:
        """The engine's logits. Raises CheckpointError where one of them is no finite number."""
        return self._finite(self.engine.logits(encodings))

    def _finite(self, logits: Logits) -> Logits:
        if not np.isfinite(logits).all():
            raise CheckpointError(
                "its answers are not finite numbers",
                place=Place(self.path) if self.path is not None else None,
                hint="its weights are damaged, or its training diverged: lower --lr",
            )
        return logits

    def run_encoded(self, rows: Sequence[Any], encodings: Encodings) -> Iterator[Chunk[Any]]:
        """The logits of encoded rows, one chunk at a time."""
        for start in range(0, len(rows), CHUNK):
            stop = min(start + CHUNK, len(rows))
            part = encodings.part(start, stop)
            yield rows[start:stop], part, self.logits(part)

    def evaluate(self, rows: Iterable[Any]) -> Scorer:
        """The scores on labelled rows, which are iterated over more than once. One chunk is in
        memory at a time; a few numbers per row are kept for the bootstrap."""
        return self.task.score(rows, self.predict_each(rows))

    def predict_each(self, rows: Iterable[Any]) -> Iterator[Any]:
        """A prediction for each row of the task, one chunk at a time."""
        for chunk in chunks_of(CHUNK, rows):
            yield from self.predict_rows(chunk)
            chunk.clear()  # free it before the next one is read

    def _table_rows(self, table: DataTable) -> Iterator[Any]:
        layout = input_layout(self.task, self.layout, table, {})
        for record in table:
            try:
                yield self.task.row(layout.values(record.values), table.place(record), False)
            except DataError as error:
                raise in_column(error, layout) from None

    def row_of(self, item: Any, number: int) -> Any:
        """The task's row of an input; ``number`` counts from 1. Raises as `predict`."""
        roles = self.task.columns.inputs
        if self.record is not None:  # else nothing is known of its training
            roles = tuple(r for r in roles if r != "pair" or r in self.layout.columns)
        return self.row_by_role(item_values(item, number, roles, self.layout), number)

    def row_by_role(self, values: Mapping[str, Any], number: int) -> Any:
        """The task's row of an input's values by role; ``number`` counts from 1. Raises DataError
        if they can't be used."""
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
    if not isinstance(path, (str, os.PathLike)):
        return False
    restore(Path(path))
    return Path(path).is_dir() and os.path.lexists(Path(path) / "config.json")
