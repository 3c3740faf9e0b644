"""Parquet, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator

from onelayer.errors import DataError, Place
from onelayer.text.table import Record, Table

BATCH_ROWS = 1024


def read_parquet(path: str) -> Table:
    """A Parquet file; the line of a record is its row number."""
    # pyarrow takes a tenth of a second to import, which readers of text needn't wait for.
    import pyarrow as pa
    import pyarrow.parquet as pq

    def broken(error: Exception) -> DataError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "is it whole? write it again"
        return DataError(f"not a readable Parquet file: {reason}", place=Place(path), hint=hint)

    def records() -> Iterator[Record]:
        try:
            with pq.ParquetFile(path) as file:
                number = 0
                for batch in file.iter_batches(batch_size=BATCH_ROWS):
                    for values in batch.to_pylist():
                        number += 1
                        yield Record(values, number)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise broken(error) from None

    try:
        with pq.ParquetFile(path) as file:
            columns, rows = tuple(file.schema_arrow.names), file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise broken(error) from None
    if not rows:
        raise DataError("no rows", place=Place(path), hint="add at least one row")
    return Table(path, "parquet", columns, records)
