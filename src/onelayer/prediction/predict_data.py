"""Predictions for a file, an open text stream or a list."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from os.path import isfile
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from onelayer.base.disk import is_stream
from onelayer.base.errors import UsageError
from onelayer.base.result import Result, Table
from onelayer.base.wording import Say
from onelayer.data.dataframes import Container
from onelayer.data.in_memory import (
    TableLike,
    container_of_list,
    one_split,
    tabular,
)
from onelayer.data.readers import open_table
from onelayer.prediction.formats import PredictedRow, form_of, prediction_json
from onelayer.prediction.job import Watch, predict_to, write_stream, write_to
from onelayer.prediction.pipes import predict_pipe
from onelayer.prediction.predictor import Predictor
from onelayer.prediction.streams import in_chunks, predict_file, predict_items, predict_table
from onelayer.recipe import Columns


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Predictions(Result):
    """The predictions of a model, in the order of the rows."""

    rows: int
    predictions: tuple[Any, ...] | None = None
    """Typed predictions, such as `Label`; None if they were written."""
    out: str | None = None
    """The file that they were written to."""
    cut: str | None = None
    """How many tokens the length limit cut off, in words."""
    container: Container | None = field(default=None, compare=False)
    """The table that the rows were in; None for files and streams."""
    lines: tuple[int, ...] = field(default=(), compare=False)
    """The number of each predicted row in the table, from 1."""

    def to_frame(self) -> Any:
        """The rows that were given with their predictions, as the same kind of table.

        The new columns are those of a csv or Parquet file of predictions: ``prediction``, and
        ``prediction_json`` with all details. A pandas DataFrame or Series keeps its index. Rows
        that ``skip_bad`` left out are missing.

        Raises
        ------
        UsageError
            If the rows were in a file, or have no columns.
        """
        if self.container is None or self.predictions is None:
            hint = "give a DataFrame, a Dataset or a list of dicts, and no out"
            raise UsageError("these predictions belong to no table in memory", hint=hint)
        added = {
            "prediction": [one.headline for one in self.predictions],
            "prediction_json": [prediction_json(one) for one in self.predictions],
        }
        return self.container.extended([line - 1 for line in self.lines], added)

    def to_json(self) -> dict[str, Any]:
        made = self.predictions and [one.to_json() for one in self.predictions]
        values = {"rows": self.rows, "predictions": made, "out": self.out, "cut": self.cut}
        return {name: value for name, value in values.items() if value is not None}

    def parts(self) -> list[str | Table]:
        where = f" in {self.out}" if self.out else ""
        parts: list[str | Table] = [f"{self.rows:,} predictions{where}"]
        if self.predictions:
            parts.append([[str(i), str(p.headline)] for i, p in enumerate(self.predictions[:10])])
        return parts


def predict_data(
    predictor: Predictor,
    data: str | Path | TextIO | BinaryIO | Iterable[Any] | TableLike,
    columns: Columns,
    *,
    out: str | Path | BinaryIO | None,
    format: str | None,
    watch: Watch | None,
    say: Say,
) -> Predictions:
    """Predictions for a file, a stream of lines, or a list; written to ``out``, else returned."""
    form = format or (form_of(out) if isinstance(out, (str, Path)) else "jsonl")
    if isinstance(out, str):
        out = Path(out)
    if isinstance(out, Path) and not is_stream(out) and isinstance(data, (str, Path)):
        n = predict_to(out, predictor, data, columns, form, watch)
        return Predictions(rows=n, out=str(out), cut=_cut(predictor))
    chunks, container = _predicted(predictor, data, columns, say)
    if out is None:
        found = [row for chunk in chunks for row in chunk]
        return Predictions(
            rows=len(found),
            predictions=tuple(row.prediction for row in found),
            cut=_cut(predictor),
            container=container,
            lines=tuple(row.line or i for i, row in enumerate(found, start=1)),
        )
    if isinstance(out, Path):
        n = write_to(out, chunks, form)
        return Predictions(rows=n, out=str(out), cut=_cut(predictor))
    n = write_stream(out, chunks, form)
    return Predictions(rows=n, cut=_cut(predictor))


def _predicted(
    predictor: Predictor, data: Any, columns: Columns, say: Say
) -> tuple[Iterator[list[PredictedRow]], Container | None]:
    """The predicted rows in chunks, and the table in memory that the predictions belong to."""
    if isinstance(data, (str, Path)):
        return in_chunks(predict_file(predictor, data, columns, say)), None
    if hasattr(data, "readline"):
        return predict_pipe(predictor, data, columns, say), None
    table = tabular(one_split(data))
    if table is not None:
        read = open_table(table, columns, predictor.layout.columns.values())
        container = table.container if read.format == table.format else None  # else other rows
        return in_chunks(predict_table(predictor, read, columns, say)), container
    if isinstance(data, (list, tuple)) and data and isinstance(data[0], str) and isfile(data[0]):
        say(f"{data[0]!r} is read as a text; to read the file give its path, not a list")
    return predict_items(predictor, data, columns), container_of_list(data)


def _cut(predictor: Predictor) -> str | None:
    return str(predictor.cut) if predictor.cut.tokens else None
