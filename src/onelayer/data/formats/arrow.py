"""Reads Arrow's own files: Feather, IPC files and streams, and folders of ``save_to_disk``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from onelayer.base.errors import DataError, Place, UsageError
from onelayer.data.formats.class_names import names_in_schema
from onelayer.data.formats.file_format import FileFormat, Sample
from onelayer.data.formats.parquet import BATCH_BYTES, BATCH_ROWS, refuse_long_texts
from onelayer.data.table import Record, Table, refuse_wide

if TYPE_CHECKING:
    import pyarrow as pa

    Reader: TypeAlias = pa.RecordBatchFileReader | pa.RecordBatchStreamReader

FILE_MAGIC = b"ARRO"
FEATHER_V1 = b"FEA1"
STREAM_MARK = b"\xff\xff\xff\xff"
"""The first bytes of an IPC stream: each of its messages begins so."""
STATE_FILE = "state.json"
"""Names the files of a data set in a folder that ``save_to_disk`` wrote."""
SPLITS_FILE = "dataset_dict.json"
"""Names the splits of a folder that holds several data sets, each in a folder of its own."""


def read_arrow(path: str) -> Table:
    """Opens a Feather file, an IPC file or an IPC stream; a record's line is its row number.

    Raises
    ------
    DataError
        For a file that is damaged, and for too long texts while the table is iterated.
    """
    return _table(path, [path])


def read_saved_folder(path: str) -> Table:
    """Opens a folder that ``Dataset.save_to_disk`` of Hugging Face's ``datasets`` wrote.

    Raises
    ------
    DataError
        For a folder that is damaged.
    UsageError
        For a folder with several splits: each is a data set of its own.
    """
    folder = Path(path)
    if (folder / SPLITS_FILE).is_file():
        splits = sorted(part.parent.name for part in folder.glob(f"*/{STATE_FILE}"))
        named = ", ".join(splits) or "none"
        one = folder / (splits or ["train"])[0]
        hint = f"name one, such as {one}"
        raise UsageError(f"a folder of several data sets: {named}", place=Place(path), hint=hint)
    try:
        state = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        files = [str(folder / Path(part["filename"]).name) for part in state["_data_files"]]
        if not files:
            raise ValueError("it names no files")
    except (OSError, ValueError, KeyError, TypeError) as error:
        message = f"{STATE_FILE} doesn't name the files of the data set: {error}"
        hint = "is the folder whole? save it again"
        raise DataError(message, place=Place(path), hint=hint) from None
    return _table(path, files)


def _table(path: str, files: Sequence[str]) -> Table:
    def records() -> Iterator[Record]:
        number = 0
        for file in files:
            for batch in _batches(file):
                for values in batch.to_pylist():
                    number += 1
                    yield Record(values, number)

    def rows() -> int:
        return sum(batch.num_rows for file in files for batch in _batches(file))

    schema = _schema(files[0])
    refuse_wide(len(schema.names), Place(path))
    return Table(
        path,
        "arrow",
        tuple(schema.names),
        records,
        last_line=rows,
        class_names=names_in_schema(schema),
        schema=lambda: schema,
    )


def _schema(path: str) -> pa.Schema:
    with _opened(path) as reader:
        return reader.schema


def _batches(path: str) -> Iterator[pa.RecordBatch]:
    """The rows of a file in batches of bounded size, each checked for damage."""
    with _opened(path) as reader:
        for whole in _whole_batches(reader):
            whole.validate(full=True)
            refuse_long_texts(whole, path)
            rows = max(1, whole.num_rows)
            size = min(BATCH_ROWS, max(1, BATCH_BYTES * rows // max(whole.nbytes, 1)))
            yield from (whole.slice(start, size) for start in range(0, whole.num_rows, size))


def _whole_batches(reader: Reader) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa

    if isinstance(reader, pa.RecordBatchFileReader):
        return map(reader.get_batch, range(reader.num_record_batches))
    return iter(reader)


@contextmanager
def _opened(path: str) -> Iterator[Reader]:
    """A reader of the file; any error that pyarrow raises for damaged bytes becomes ours."""
    import pyarrow as pa

    try:
        with pa.OSFile(path) as file:
            magic = file.read(len(FILE_MAGIC))
            file.seek(0)
            opens = pa.ipc.open_file if magic == FILE_MAGIC else pa.ipc.open_stream
            with opens(file) as reader:
                yield reader
    except DataError:
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        hint = "is it whole? write it again"
        message = f"not a readable Arrow file: {reason}"
        raise DataError(message, place=Place(path), hint=hint) from None


def _recognises(sample: Sample) -> bool:
    if sample.first_bytes == FEATHER_V1:
        raise DataError(
            "Feather of version 1, which pyarrow can't read as a stream",
            place=Place(sample.path),
            hint="write it again: DataFrame.to_feather(FILE) writes version 2",
        )
    return sample.first_bytes in (FILE_MAGIC, STREAM_MARK)


def _is_saved(sample: Sample) -> bool:
    folder = Path(sample.path)
    return any((folder / name).is_file() for name in (STATE_FILE, SPLITS_FILE))


ARROW = FileFormat(_recognises, lambda sample: read_arrow(sample.path), binary=True)
SAVED_FOLDER = FileFormat(_is_saved, lambda sample: read_saved_folder(sample.path), folder=True)
