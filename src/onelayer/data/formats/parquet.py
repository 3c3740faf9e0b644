"""Reads Parquet, batch by batch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from onelayer.base.errors import DataError, Place
from onelayer.data.formats.class_names import names_in_schema
from onelayer.data.formats.file_format import FileFormat, Sample
from onelayer.data.formats.lines import LONGEST
from onelayer.data.table import Record, Table, refuse_wide

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

BATCH_ROWS = 1024
BATCH_BYTES = 64 << 20
"""Bytes of a batch, at most: where texts are long, it has fewer rows."""
CHECKED_ROWS = 1 << 16
"""Rows whose text lengths are checked at once."""
BOMB = 64 << 20
BOMB_RATIO = 200
"""A row group is refused if it unpacks to more than ``BOMB`` bytes and more than ``BOMB_RATIO``
times the file's size. Text hardly compresses to less than a tenth."""


def read_parquet(path: str) -> Table:
    """Opens a Parquet file; a record's line is its row number.

    Raises
    ------
    DataError
        For a file that is damaged or unpacks to far more than text does; for too long texts while
        the table is iterated.
    """
    # Imported here because pyarrow takes a tenth of a second, which other formats don't need.
    import pyarrow.parquet as pq

    def broken(error: Exception) -> DataError:
        """Our error for any that pyarrow raises for damaged bytes, even from inside C++."""
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "is it whole? write it again"
        return DataError(f"not a readable Parquet file: {reason}", place=Place(path), hint=hint)

    def records() -> Iterator[Record]:
        try:
            with (
                pq.ParquetFile(path) as file,
                pq.ParquetFile(path, read_dictionary=texts) as stored,
            ):
                number = 0
                for group in range(file.num_row_groups):
                    longest = _longest_text(stored, group, texts, path)
                    size = min(BATCH_ROWS, max(1, BATCH_BYTES // max(longest, 1)))
                    for batch in file.iter_batches(size, row_groups=[group]):
                        for values in batch.to_pylist():
                            number += 1
                            yield Record(values, number)
        except DataError:
            raise
        except Exception as error:
            raise broken(error) from None

    try:
        with pq.ParquetFile(path) as file:
            schema, rows = file.schema_arrow, file.metadata.num_rows
            texts = _text_columns(file)
            _refuse_bomb(file.metadata, path)
    except DataError:
        raise
    except Exception as error:
        raise broken(error) from None
    refuse_wide(len(schema.names), Place(path))
    return Table(
        path,
        "parquet",
        tuple(schema.names),
        records,
        last_line=lambda: rows,
        class_names=names_in_schema(schema),
        schema=lambda: schema,
    )


def _text_columns(file: pq.ParquetFile) -> list[str]:
    """The paths of all text columns, at any depth."""
    leaves = (file.schema.column(i) for i in range(len(file.schema)))
    return [
        leaf.path
        for leaf in leaves
        if leaf.physical_type == "BYTE_ARRAY" and leaf.logical_type.type != "DECIMAL"
    ]


def _refuse_bomb(about: pq.FileMetaData, path: str) -> None:
    """Raises DataError by the sizes that the row groups state. The columns' own sizes aren't read:
    where they are damaged, pyarrow ends the process."""
    packed = os.path.getsize(path)
    for group in map(about.row_group, range(about.num_row_groups)):
        if group.total_byte_size > max(BOMB, BOMB_RATIO * packed):
            raise DataError(
                f"{packed:,} bytes that unpack to {group.total_byte_size:,}",
                place=Place(path),
                hint="text doesn't compress that well; write the file again from its source",
            )


def _longest_text(file: pq.ParquetFile, group: int, texts: list[str], path: str) -> int:
    """Bytes of the longest text of a row group. It is read in dictionary form: a text that a
    million rows share is there once. Raises DataError for a text of more than ``LONGEST`` bytes."""
    if not texts:
        return 0
    longest = 0
    for batch in file.iter_batches(CHECKED_ROWS, row_groups=[group], columns=texts):
        longest = max(longest, refuse_long_texts(batch, path))
    return longest


def refuse_long_texts(batch: pa.RecordBatch, path: str) -> int:
    """Bytes of a batch's longest text. Raises DataError if it has more than ``LONGEST``."""
    longest = 0
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        longest = max(longest, _longest(column))
        if longest > LONGEST:
            message = f"a text longer than {LONGEST:,} bytes"
            raise DataError(message, place=Place(path, column=name))
    return longest


def _longest(column: pa.Array) -> int:
    """Bytes of the longest text in a column, at any depth."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        return _longest(column.dictionary)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind):
        return _longest(column.values)
    if pa.types.is_struct(kind):
        return max(map(_longest, column.flatten()), default=0)
    is_one = (pa.types.is_string, pa.types.is_large_string)
    is_other = (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_string_view)
    if any(is_text(kind) for is_text in (*is_one, *is_other)):
        return pc.max(pc.binary_length(column)).as_py() or 0
    return 0


def _recognises(sample: Sample) -> bool:
    """By its name or first bytes; not an empty file, for which the error says that it is empty."""
    named = sample.suffixes & {".parquet", ".pq"}
    return sample.first_bytes.startswith(b"PAR1") or bool(sample.first_bytes and named)


PARQUET = FileFormat(_recognises, lambda sample: read_parquet(sample.path), binary=True)
