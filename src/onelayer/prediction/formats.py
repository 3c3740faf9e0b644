"""The files that predictions are written as. Each grows row by row, and goes on where it ended."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from onelayer.base.errors import DataError, UsageError
from onelayer.tasks.predictions import BasePrediction

if TYPE_CHECKING:
    import pyarrow as pa


class Predicted(NamedTuple):
    """A row's own columns, what the model says of it, and the line on which it began."""

    values: dict[str, Any]
    prediction: BasePrediction
    line: int | None = None


GROUP = 64
"""Batches of rows that a reader of Parquet unpacks together."""


class Form(Protocol):
    """A format, as bytes that follow one another."""

    def begin(self, rows: Sequence[Predicted]) -> bytes:
        """What stands before the rows, of which these are the first."""
        ...

    def go_on(self, part: Path) -> None:
        """Learns from what was written what `begin` decided then."""
        ...

    def body(self, rows: Sequence[Predicted]) -> bytes: ...

    def finish(self, part: Path) -> Path:
        """The finished file, which is all that was written, or is made of it beside it."""
        ...


class JsonLines:
    """An object a line: the row's columns, and ``prediction``."""

    def begin(self, rows: Sequence[Predicted]) -> bytes:
        return b""

    def go_on(self, part: Path) -> None: ...

    def body(self, rows: Sequence[Predicted]) -> bytes:
        return b"".join(_json_line(row) for row in rows)

    def finish(self, part: Path) -> Path:
        return part


class Csv:
    """The row's columns, ``prediction`` for a spreadsheet, and ``prediction_json`` with all."""

    def __init__(self) -> None:
        self.columns: list[str] = []

    def begin(self, rows: Sequence[Predicted]) -> bytes:
        self.columns = list(_flat(rows[0])) if rows else []
        return self._written([dict(zip(self.columns, self.columns, strict=True))])

    def go_on(self, part: Path) -> None:
        with part.open(encoding="utf-8", newline="") as text:
            self.columns = next(csv.reader(text), [])

    def body(self, rows: Sequence[Predicted]) -> bytes:
        return self._written(map(_flat, rows))

    def _written(self, rows: Any) -> bytes:
        if not self.columns:
            return b""
        text = io.StringIO(newline="")
        table = csv.DictWriter(text, self.columns, extrasaction="ignore", lineterminator="\n")
        table.writerows(rows)
        return _utf8(text.getvalue())

    def finish(self, part: Path) -> Path:
        return part


class Parquet:
    """As `Csv`, with types: those of a Parquet file that was read, else those that the first rows
    show. Until the end it is a stream of Arrow's record batches: a Parquet file can't go on."""

    def __init__(self, known: pa.Schema | None = None) -> None:
        self.known = {field.name: field.type for field in known or ()}
        self.schema: pa.Schema | None = None

    def begin(self, rows: Sequence[Predicted]) -> bytes:
        import pyarrow as pa

        flat = [_flat(row) for row in rows]
        names = list(flat[0]) if flat else ["prediction", "prediction_json"]
        kinds = [_kind(self.known.get(name), [row[name] for row in flat]) for name in names]
        self.schema = pa.schema(list(zip(names, kinds, strict=True)))
        return bytes(self.schema.serialize())

    def go_on(self, part: Path) -> None:
        import pyarrow as pa

        with pa.OSFile(str(part)) as written:
            self.schema = pa.ipc.read_schema(written)

    def body(self, rows: Sequence[Predicted]) -> bytes:
        import pyarrow as pa

        assert self.schema is not None, "begin or go_on comes first"
        flat = [_flat(row) for row in rows]
        columns = [_column([row.get(field.name) for row in flat], field) for field in self.schema]
        batch = pa.record_batch(columns, schema=self.schema)
        return bytes(batch.serialize())

    def finish(self, part: Path) -> Path:
        import pyarrow as pa
        import pyarrow.parquet as pq

        whole = part.with_name(part.name + ".whole")
        with pa.OSFile(str(part)) as written, pa.ipc.open_stream(written) as batches:
            schema = batches.schema
            with pq.ParquetWriter(whole, schema) as writer:
                while group := list(islice(batches, GROUP)):
                    writer.write_table(pa.Table.from_batches(group))
        return whole


FORMS: dict[str, type[Form]] = {"jsonl": JsonLines, "csv": Csv, "parquet": Parquet}


def form_of(name: str, schema: Callable[[], pa.Schema] | None = None) -> Form:
    """The format of a name. ``schema`` reads the types of the input's columns, which Parquet keeps;
    None where the input has no types."""
    if name not in FORMS:
        raise UsageError(f"no format {name!r}", hint=f"one of {', '.join(FORMS)}")
    if name == "parquet" and schema is not None:
        return Parquet(schema())
    return FORMS[name]()


def _json_line(row: Predicted) -> bytes:
    values = {**row.values, "prediction": row.prediction.to_json()}
    return _utf8(json.dumps(values, ensure_ascii=False, default=str) + "\n")


def _flat(row: Predicted) -> dict[str, Any]:
    inputs = {
        name: json.dumps(value, ensure_ascii=False, default=str)
        if isinstance(value, (list, dict))
        else value
        for name, value in row.values.items()
    }
    details = json.dumps(row.prediction.to_json(), ensure_ascii=False)
    return {**inputs, "prediction": row.prediction.headline, "prediction_json": details}


def _utf8(text: str) -> bytes:
    # Half a surrogate pair, which a label may hold, has no UTF-8; JSON calls it by its backslash
    # form, too.
    return text.encode(errors="backslashreplace")


def _kind(known: pa.DataType | None, values: Sequence[Any]) -> pa.DataType:
    """The type of a column: the one it had, or that of all these values; texts hold the rest."""
    import pyarrow as pa

    if known is not None and not pa.types.is_nested(known):
        return known
    kinds = {type(value) for value in values if value is not None}
    numbers = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    return numbers.get(next(iter(kinds)), pa.string()) if len(kinds) == 1 else pa.string()


def _column(values: list[Any], field: pa.Field) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
        values = [None if value is None else _utf8(_said(value)).decode() for value in values]
    try:
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise DataError(
            f"column {field.name!r} began as {field.type}: {error}",
            hint="write jsonl, where each row has its own types",
        ) from None


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
