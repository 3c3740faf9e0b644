"""The registry of file formats. Each format has a file with its reader, and an entry here."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection
from dataclasses import replace
from itertools import chain
from pathlib import Path

from onelayer.base.errors import DataError, Place
from onelayer.data.column_rules import Column
from onelayer.data.formats.arrow import ARROW, SAVED_FOLDER
from onelayer.data.formats.brat import BRAT, BRAT_TEXT
from onelayer.data.formats.class_names import names_beside
from onelayer.data.formats.conll import CONLL, CONLLU
from onelayer.data.formats.delimited import CSV, NAMED_COLUMNS, TSV
from onelayer.data.formats.fasttext import FASTTEXT
from onelayer.data.formats.file_format import FileFormat, Sample
from onelayer.data.formats.inference_pairs import of_inference_pairs
from onelayer.data.formats.label_studio import of_label_studio
from onelayer.data.formats.lines import LINES, head_lines
from onelayer.data.formats.nested import JSON
from onelayer.data.formats.parquet import PARQUET
from onelayer.data.formats.prodigy import of_prodigy
from onelayer.data.formats.spacy_data import DOCBIN
from onelayer.data.formats.spreadsheet import XLSX
from onelayer.data.formats.token_rows import by_sentence
from onelayer.data.formats.unpacking import (
    DataPath,
    member_name,
    open_unpacked,
    packing_name,
    stored_at,
)
from onelayer.data.in_memory import Source
from onelayer.data.table import Table
from onelayer.recipe import AS_FOUND, Columns, Reading

FORMATS: list[FileFormat] = [
    *(SAVED_FOLDER, BRAT, PARQUET, ARROW, XLSX, DOCBIN, BRAT_TEXT),
    *(FASTTEXT, JSON, CONLLU, CSV, CONLL, TSV, NAMED_COLUMNS, LINES),
]
"""The first format that recognises a file reads it, so surer formats come before less sure ones.
Plain text takes every file and must stay last."""

RESHAPES: list[Callable[[Table], Table | None]] = [
    *(of_prodigy, of_label_studio, of_inference_pairs, by_sentence),
]
"""What else the rows of a table may be, whatever its format. Each function looks at the first rows,
and returns None for a table that isn't its own."""

_OTHER_FILES = {
    b"PK\x03\x04": "a document of an office program",
    b"\xd0\xcf\x11\xe0": "a document of an office program",
    b"%PDF": "a PDF",
}
"""First bytes of files that aren't data files, and what to call them in the error."""

BINARY_MARKS = (b"PAR1", b"ARROW1", *_OTHER_FILES)
"""First bytes of files that have no lines of text."""


def open_table(path: Source, columns: Columns, expected: Collection[Column] = ()) -> Table:
    """Opens a file as the user said that it is to be read; see `read_table`. ``expected`` are the
    columns of a model's training file, by role."""
    asked = columns.asked.values()
    named = [name.strip() for names in asked for name in (names, *names.split(","))]
    known = chain.from_iterable((c,) if isinstance(c, str) else c for c in expected)
    return read_table(path, named=named, expected=tuple(known), reading=columns)


def read_table(
    path: Source,
    *,
    named: Collection[str] = (),
    expected: Collection[str] = (),
    reading: Reading = AS_FOUND,
) -> Table:
    """Opens csv, tsv, xlsx, jsonl, JSON, Parquet, Arrow, CoNLL, CoNLL-U, SQuAD, DREAM, fastText,
    plain text, or a folder of ``save_to_disk``. Files of text may be packed.

    The format follows from the file's name if that is clear, else from its first lines: people
    call a CoNLL file ``test.annotated`` and a tsv ``train.txt``.

    Parameters
    ----------
    path
        The file. Or a table in memory, whose rows may be those of an annotation tool, too.
    named
        Columns that the user asked for; a first row that has one of them is a header.
    expected
        Columns that the file may have, which make a header likely.
    reading
        What the user said of the file.

    Raises
    ------
    DataError
        For a missing or empty file, and for errors in its first lines. Errors further down are
        raised while the table is iterated.
    """
    if isinstance(path, Table):
        return reshaped(path)
    if not isinstance(path, DataPath):
        path = DataPath(str(path), encoding=reading.encoding)
    table = _read(path, named, expected, reading)
    names = {**names_beside(Path(path)), **table.class_names}
    return reshaped(replace(table, class_names=names))


def _read(
    path: DataPath, named: Collection[str], expected: Collection[str], reading: Reading
) -> Table:
    is_folder = _is_folder(path)
    packing = None if is_folder else packing_name(path)
    inside = None if is_folder else member_name(path)
    suffixes = Path(inside or "").suffixes or Path(path).suffixes
    lower = frozenset(suffix.lower() for suffix in suffixes)
    first_bytes = b"" if is_folder else _first_bytes(path)
    sample = Sample(stored_at(path), lower, first_bytes, named, expected, reading)
    for format in FORMATS:
        asked = format.folder if is_folder else format.binary
        if asked and format.recognises(sample):
            if packing is not None:
                message, hint = f"a binary file, packed with {packing}", "unpack it"
                raise DataError(message, place=Place(path), hint=hint)
            table = format.read(sample)
            return table if sample.path == path else replace(table, path=path)
    if is_folder:
        hint = "name a file, or a folder that brat or save_to_disk of datasets wrote"
        raise DataError("a directory, not a data file", place=Place(path), hint=hint)
    for beginning, kind in _OTHER_FILES.items():
        if sample.first_bytes.startswith(beginning):
            hint = "export it to csv in UTF-8, xlsx, jsonl or Parquet"
            raise DataError(f"{kind}, not a data file", place=Place(path), hint=hint)
    sample = replace(sample, path=path)
    head = head_lines(path)
    if not any(line.strip() for line in head):
        raise DataError("the file is empty", place=Place(path), hint="is it the right file?")
    sample = replace(sample, head=head)
    by_lines = (one for one in FORMATS if not (one.binary or one.folder))
    chosen = next(one for one in by_lines if one.recognises(sample))
    return chosen.read(sample)


def reshaped(table: Table) -> Table:
    """A table by what its rows are: those of annotation tools, or single words, become rows that
    can be learned from."""
    found = (reshape(table) for reshape in RESHAPES)
    return next((one for one in found if one is not None), table)


def extent(table: Table) -> int | None:
    """The last line on which a record may begin; None if records have no lines, or many files, or
    if counting them means unpacking the file."""
    first = next(iter(table), None)
    if first is None or first.line is None or first.path is not None:
        return None
    if table.last_line is not None:
        return table.last_line()
    if packing_name(table.path) is not None:
        return None
    with open(stored_at(table.path), "rb") as file:
        blocks = iter(lambda: file.read(1 << 20), b"")
        return 1 + sum(block.count(b"\n") for block in blocks)


def _first_bytes(path: str) -> bytes:
    """The first four bytes of what is in a file."""
    with open_unpacked(path) as file:
        return file.read(4)


def _is_folder(path: str) -> bool:
    """Whether a path is a folder. Raises DataError if it is neither a folder nor a regular file
    that can be read: reading a FIFO would block."""
    try:
        mode = os.stat(stored_at(path)).st_mode
        if stat.S_ISDIR(mode):
            return True
        if not stat.S_ISREG(mode):
            message = "not a regular file, not a data file"
            raise DataError(message, place=Place(path), hint="name a file")
        with open(stored_at(path), "rb"):
            return False
    except FileNotFoundError:
        raise DataError("no such file", place=Place(path), hint="check the path") from None
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror}", place=Place(path)) from None
