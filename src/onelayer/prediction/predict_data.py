"""Predictions for a file, an open text stream or a list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from onelayer.base.disk import is_stream
from onelayer.base.errors import UsageError
from onelayer.base.result import Result, Table
from onelayer.base.wording import Say
from onelayer.prediction.formats import OUTPUT_FORMATS
from onelayer.prediction.job import Watch, predict_to, write_stream, write_to
from onelayer.prediction.predictor import Predictor
from onelayer.prediction.streams import in_chunks, predict_file, predict_items, predict_lines
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

    def to_json(self) -> dict[str, Any]:
        made = self.predictions and [one.to_json() for one in self.predictions]
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
    data: str | Path | TextIO | Iterable[Any],
    columns: Columns,
    *,
    out: str | Path | BinaryIO | None,
    format: str | None,
    watch: Watch | None,
    say: Say,
) -> Predictions:
    """Predictions for a file, a stream of lines, or a list; written to ``out``, else returned."""
    suffix = Path(out).suffix.lstrip(".") if isinstance(out, (str, Path)) else ""
    form = format or (suffix if suffix in OUTPUT_FORMATS else "jsonl")
    if isinstance(out, str):
        out = Path(out)
    if isinstance(out, Path) and not is_stream(out) and isinstance(data, (str, Path)):
        n = predict_to(out, predictor, data, columns, form, watch)
        return Predictions(rows=n, out=str(out), cut=_cut(predictor))
    if isinstance(data, (str, Path)):
        chunks = in_chunks(predict_file(predictor, data, columns, say))
    elif columns.asked:
        flag, name = next(iter(columns.asked.items()))
        raise UsageError(
            f"{flag} = {name!r} names a column, and this is no file",
            hint="give JSON objects or dicts with the columns of the training file",
        )
    else:
        predict_each = predict_lines if hasattr(data, "readline") else predict_items
        chunks = predict_each(predictor, data)
    if out is None:
        found = tuple(row.prediction for chunk in chunks for row in chunk)
        return Predictions(rows=len(found), predictions=found, cut=_cut(predictor))
    if isinstance(out, Path):
        n = write_to(out, chunks, form)
        return Predictions(rows=n, out=str(out), cut=_cut(predictor))
    n = write_stream(out, chunks, form)
    return Predictions(rows=n, cut=_cut(predictor))


def _cut(predictor: Predictor) -> str | None:
    return str(predictor.cut) if predictor.cut.tokens else None
