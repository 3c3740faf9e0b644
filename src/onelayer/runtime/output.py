"""Predictions as jsonl, csv or parquet."""

from __future__ import annotations

import csv
import dataclasses
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from onelayer.errors import OneLayerError, Place, UsageError
from onelayer.plain import finite
from onelayer.runtime.files import Predicted
from onelayer.tasks.choose import Choice
from onelayer.tasks.labels import Label, Labels
from onelayer.tasks.regress import Value
from onelayer.tasks.tag import Tagged
from onelayer.text.tags import OUTSIDE

FORMATS = ("jsonl", "csv", "parquet")
PARQUET_ROWS = 4096


def write_predictions(rows: Iterable[Predicted], out: Path | None, form: str) -> int:
    """Writes to a file, or to stdout where ``out`` is None; returns the number of rows.

    A file gets its name only when it is whole: until then it is ``NAME.part``.
    """
    if form not in FORMATS:
        raise UsageError(f"no format {form!r}", hint=f"one of {', '.join(FORMATS)}")
    if out is None:
        if form == "parquet":
            raise UsageError("parquet is no text for a terminal", hint="give --out FILE.parquet")
        return _write_text(rows, sys.stdout, form)
    part = out.with_name(out.name + ".part")
    try:
        if form == "parquet":
            n = _write_parquet(rows, part)
        else:
            with part.open("w", encoding="utf-8", newline="") as stream:
                n = _write_text(rows, stream, form)
        part.replace(out)
    except OSError as error:
        raise OneLayerError(f"can't be written: {error.strerror}", place=Place(out)) from error
    finally:
        part.unlink(missing_ok=True)
    return n


def to_json(prediction: Any) -> dict[str, Any]:
    """A prediction as JSON has it: a tagged text's words as texts, numbers to the seven digits
    that fp32 has; without the fields that were not asked for."""
    unasked = {f.name for f in dataclasses.fields(prediction) if f.default is None}
    values = {
        name: value
        for name, value in dataclasses.asdict(prediction).items()
        if value is not None or name not in unasked
    }
    if isinstance(prediction, Tagged):
        values["words"] = [prediction.text[start:end] for start, end in prediction.words]
    return dict(_to_seven_digits(finite(values)))


def _to_seven_digits(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.7g}")
    if isinstance(value, dict):
        return {key: _to_seven_digits(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_seven_digits(item) for item in value]
    return value


def headline(prediction: Any) -> str | float:
    """The one thing that a spreadsheet wants of a prediction."""
    match prediction:
        case Label():
            return prediction.label or ""
        case Labels():
            return ";".join(prediction.labels)
        case Value():
            return float(f"{prediction.value:.7g}")
        case Tagged(entities=()):
            return " ".join(prediction.tags) if set(prediction.tags) != {OUTSIDE} else ""
        case Tagged():
            return "; ".join(f"{entity.text} [{entity.label}]" for entity in prediction.entities)
        case Choice():
            return prediction.option
    return str(prediction.text)


def _flat(row: Predicted) -> dict[str, Any]:
    inputs = {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else value
        for name, value in row[0].items()
    }
    details = json.dumps(to_json(row[1]), ensure_ascii=False)
    return {**inputs, "prediction": headline(row[1]), "prediction_json": details}


def _write_text(rows: Iterable[Predicted], stream: TextIO, form: str) -> int:
    n = 0
    table = None
    for row in rows:
        n += 1
        if form == "jsonl":
            values = {**row[0], "prediction": to_json(row[1])}
            stream.write(json.dumps(values, ensure_ascii=False, default=str) + "\n")
            continue
        values = _flat(row)
        if table is None:
            table = csv.DictWriter(stream, list(values), extrasaction="ignore", lineterminator="\n")
            table.writeheader()
        table.writerow(values)
    stream.flush()
    return n


def _write_parquet(rows: Iterable[Predicted], part: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    n = 0
    chunk: list[dict[str, Any]] = []

    def flush() -> None:
        nonlocal writer, n
        table = pa.Table.from_pylist(chunk, schema=writer.schema if writer else None)
        writer = writer or pq.ParquetWriter(part, table.schema)
        writer.write_table(table)
        n += len(chunk)
        chunk.clear()

    for row in rows:
        chunk.append(_flat(row))
        if len(chunk) == PARQUET_ROWS:
            flush()
    if chunk or writer is None:
        flush()
    if writer is not None:
        writer.close()
    return n
