"""The file formats of predictions. Each can be written chunk by chunk and resumed after a stop."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from onelayer.base.errors import DataError, Place, UsageError
from onelayer.data.rows import chunks_of
from onelayer.tasks.predictions import BasePrediction

if TYPE_CHECKING:
    import pyarrow as pa


class PredictedRow(NamedTuple):
    """A row's own columns, its prediction, and the line of the input where it starts."""

    values: dict[str, Any]
    prediction: BasePrediction
    line: int | None = None


BATCHES_PER_ROW_GROUP = 64
"""Record batches in a row group of a Parquet file, which readers decompress as a whole."""


class OutputFormat(Protocol):
    """Turns predicted rows into the bytes of a file."""

    def begin(self, rows: Sequence[PredictedRow]) -> bytes:
        """The bytes before the first rows, which are ``rows``."""
        ...

    def resume(self, part: Path) -> None:
        """Reads from an unfinished file what `begin` decided for it."""
        ...

    def body(self, rows: Sequence[PredictedRow]) -> bytes:
        """The bytes of some rows."""
        ...

    def finish(self, part: Path) -> Path:
        """The path of the finished file: ``part`` itself, or a file made from it next to it."""
        ...


class JsonlOutput:
    """A JSON object per line: the row's columns, and ``prediction``."""

    def begin(self, rows: Sequence[PredictedRow]) -> bytes:
        return b""

    def resume(self, part: Path) -> None: ...

    def body(self, rows: Sequence[PredictedRow]) -> bytes:
        return b"".join(_json_line(row) for row in rows)

    def finish(self, part: Path) -> Path:
        return part


class CsvOutput:
    """The row's columns, ``prediction`` as one value, and ``prediction_json`` with all details."""

    def __init__(self) -> None:
        self.columns: list[str] = []

    def begin(self, rows: Sequence[PredictedRow]) -> bytes:
        self.columns = list(_flat(rows[0])) if rows else []
        return self._written([dict(zip(self.columns, self.columns, strict=True))])

    def resume(self, part: Path) -> None:
        with part.open(encoding="utf-8", newline="") as text:
            self.columns = next(csv.reader(text), [])

    def body(self, rows: Sequence[PredictedRow]) -> bytes:
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


class ParquetOutput:
    """The columns of `CsvOutput` with types: those of the Parquet file that was read, else those of
    the first rows.

    A Parquet file can't be resumed. The unfinished file is a stream of Arrow record batches, from
    which `finish` makes the Parquet file.
    """

    def __init__(self, known: pa.Schema | None = None) -> None:
        self.known = {field.name: field.type for field in known or ()}
        self.schema: pa.Schema | None = None

    def begin(self, rows: Sequence[PredictedRow]) -> bytes:
        import pyarrow as pa

        flat = [_flat(row) for row in rows]
        names = list(flat[0]) if flat else [*self.known, "prediction", "prediction_json"]
        kinds = [_kind(self.known.get(name), [row[name] for row in flat]) for name in names]
        self.schema = pa.schema(list(zip(names, kinds, strict=True)))
        return bytes(self.schema.serialize())

    def resume(self, part: Path) -> None:
        import pyarrow as pa

        with pa.OSFile(str(part)) as written:
            self.schema = pa.ipc.read_schema(written)

    def body(self, rows: Sequence[PredictedRow]) -> bytes:
        import pyarrow as pa

        assert self.schema is not None, "call begin or resume first"
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
                for group in chunks_of(BATCHES_PER_ROW_GROUP, batches):
                    writer.write_table(pa.Table.from_batches(group))
        return whole


OUTPUT_FORMATS: dict[str, type[OutputFormat]] = {
    "jsonl": JsonlOutput,
    "csv": CsvOutput,
    "parquet": ParquetOutput,
}


NOT_WRITTEN = frozenset({".xlsx", ".xls", ".ods", ".feather", ".arrow", ".tsv", ".gz", ".zip"})
"""Suffixes of files that we don't write, and that other programs would open in vain."""


def form_of(out: str | Path) -> str:
    """The format that a file's name asks for; jsonl unless its suffix is that of another one.

    Raises UsageError for a suffix that promises what isn't written.
    """
    suffix = Path(out).suffix.lower()
    if suffix in NOT_WRITTEN:
        names = ", ".join(f".{name}" for name in OUTPUT_FORMATS)
        hint = f"name it {names}, or choose with --format"
        raise UsageError(f"no {suffix} files are written", place=Place(out), hint=hint)
    name = suffix.removeprefix(".")
    return name if name in OUTPUT_FORMATS else "jsonl"


def output_format(name: str, schema: Callable[[], pa.Schema] | None = None) -> OutputFormat:
    """The format of a name. ``schema`` reads the column types of the input, which Parquet keeps; it
    is None if the input has none. Raises UsageError for an unknown name."""
    if name not in OUTPUT_FORMATS:
        raise UsageError(f"no format {name!r}", hint=f"one of {', '.join(OUTPUT_FORMATS)}")
    if name == "parquet" and schema is not None:
        return ParquetOutput(schema())
    return OUTPUT_FORMATS[name]()


def prediction_json(prediction: BasePrediction) -> str:
    """A prediction with all details, as JSON text."""
    return json.dumps(prediction.to_json(), ensure_ascii=False)


def _json_line(row: PredictedRow) -> bytes:
    values = {**row.values, "prediction": row.prediction.to_json()}
    return _utf8(json.dumps(values, ensure_ascii=False, default=str) + "\n")


def _flat(row: PredictedRow) -> dict[str, Any]:
    inputs = {
        name: json.dumps(value, ensure_ascii=False, default=str)
        if isinstance(value, (list, dict))
        else value
        for name, value in row.values.items()
    }
    details = prediction_json(row.prediction)
    return {**inputs, "prediction": row.prediction.headline, "prediction_json": details}


def _utf8(text: str) -> bytes:
    # A label may hold half a surrogate pair, which UTF-8 can't encode: write it as a backslash
    # escape, as JSON does.
    return text.encode(errors="backslashreplace")


def _kind(known: pa.DataType | None, values: Sequence[Any]) -> pa.DataType:
    """The type of a column: that in the input, else the common type of the values, else text."""
    import pyarrow as pa

    if known is not None and pa.types.is_dictionary(known):
        known = known.value_type  # a stream of batches can't hold a dictionary that grows
    if known is not None and not pa.types.is_nested(known):
        return known
    kinds = {type(value) for value in values if value is not None}
    numbers = {bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    return numbers.get(next(iter(kinds)), pa.string()) if len(kinds) == 1 else pa.string()


def _column(values: list[Any], field: pa.Field) -> pa.Array:
    import pyarrow as pa

    if pa.types.is_string(field.type) or pa.types.is_large_string(field.type):
        values = [None if value is None else _utf8(_as_text(value)).decode() for value in values]
    try:
        return pa.array(values, field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise DataError(
            f"column {field.name!r} is {field.type} in the first rows: {error}",
            hint="write jsonl, where types may differ by row",
        ) from None


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
