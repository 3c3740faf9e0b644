"""One way in: a data file of any of the known formats becomes a table of records."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection
from pathlib import Path

from onelayer.base.errors import DataError, Place
from onelayer.data import nested
from onelayer.data.conll import (
    looks_like_conll,
    looks_like_conllu,
    read_conll,
    read_conllu,
)
from onelayer.data.delimited import read_delimited
from onelayer.data.header import is_known
from onelayer.data.jsonlines import first_line_value, json_items, read_json, read_json_lines
from onelayer.data.lines import head_lines, read_lines, text_lines
from onelayer.data.parquet import parquet_rows, read_parquet
from onelayer.data.table import Table

_PARQUET = {".parquet", ".pq"}
_JSON_LINES = {".jsonl", ".ndjson"}
_JSON = {".json", *_JSON_LINES}
_CONLL = {".conll", ".bio", ".iob", ".iob2", ".bioes", ".bmes", ".bilou"}
_JSON_BEGINNING = re.compile(r'\s*(?:\{\s*(?:"|$)|\[\s*(?:[\[{]|$))')
_MAGIC = {
    b"\x1f\x8b": "gzip-compressed",
    b"PK\x03\x04": "a zip archive or a spreadsheet",
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
}


def read(path: str | Path, *, named: Collection[str] = ()) -> Table:
    """Opens csv, tsv, jsonl, JSON, Parquet, CoNLL, CoNLL-U, SQuAD, DREAM or plain text.

    The file's name decides where it says enough, else its first lines do: owners call a CoNLL file
    ``test.annotated`` and a tsv ``train.txt``.

    Args:
        named: columns that the user asked for; a first row that has one of them is a header.

    Raises:
        DataError: no such file, nothing in it, or what its format's reader finds wrong; here for
            what the first lines show, else while the table is iterated.
    """
    path = str(path)
    magic = _first_bytes(path)
    suffixes = {suffix.lower() for suffix in Path(path).suffixes}
    if magic and (magic.startswith(b"PAR1") or suffixes & _PARQUET):
        return read_parquet(path)
    for beginning, kind in _MAGIC.items():
        if magic.startswith(beginning):
            hint = "unpack or export it to csv, tsv, jsonl or Parquet, in UTF-8"
            raise DataError(f"{kind}, not a data file", place=Place(path), hint=hint)
    head = head_lines(path)
    if not any(line.strip() for line in head):
        raise DataError("the file is empty", place=Place(path), hint="is it the right file?")
    return _read_text(path, suffixes, head, named)


def extent(table: Table) -> int | None:
    """The number of the last line that a record may begin on; None where records have none."""
    first = next(iter(table), None)
    if first is None or first.line is None:
        return None
    if table.format == "parquet":
        return parquet_rows(table.path)
    with open(table.path, "rb") as file:
        blocks = iter(lambda: file.read(1 << 20), b"")
        return 1 + sum(block.count(b"\n") for block in blocks)


def _first_bytes(path: str) -> bytes:
    """Also finds out whether there is a file that can be read: a FIFO would let us wait."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            kind = "a directory" if stat.S_ISDIR(mode) else "not a regular file"
            raise DataError(f"{kind}, not a data file", place=Place(path), hint="name a file")
        with open(path, "rb") as file:
            return file.read(4)
    except FileNotFoundError:
        raise DataError("no such file", place=Place(path), hint="check the path") from None
    except OSError as error:
        raise DataError(f"can't be read: {error.strerror}", place=Place(path)) from None


def _read_text(path: str, suffixes: set[str], head: list[str], named: Collection[str]) -> Table:
    first = next(line for line in head if line.strip())
    if suffixes & _JSON or (_JSON_BEGINNING.match(first) and not suffixes & {".csv", ".tsv"}):
        return _read_json(path, suffixes, head)
    if ".conllu" in suffixes or looks_like_conllu(head):
        return read_conllu(path)
    if ".csv" in suffixes:
        return read_delimited(path, named=named)
    if suffixes & _CONLL or looks_like_conll(head):
        return read_conll(path)
    if ".tsv" in suffixes or _has_tabs(head):
        return read_delimited(path, named=named, prefer="\t")
    if _names_columns(first, named):
        return read_delimited(path, named=named)
    return read_lines(path)


def _read_json(path: str, suffixes: set[str], head: list[str]) -> Table:
    # By its name a file may be lines, of which none may be endless, or a document, which may be
    # one long line.
    value = first_line_value(text_lines(path) if suffixes & _JSON_LINES else head)
    if isinstance(value, dict) and not nested.is_squad(value):
        return read_json_lines(path)
    first = next(json_items(path), None)
    if first and nested.is_squad(first[0]):
        return nested.read_squad(path)
    if first and nested.is_multiple_choice(first[0]):
        return nested.read_multiple_choice(path)
    return read_json(path)


def _has_tabs(head: list[str]) -> bool:
    lines = [line for line in head if line.strip()]
    return sum("\t" in line for line in lines) > len(lines) / 2


def _names_columns(line: str, named: Collection[str]) -> bool:
    """Whether a file of unknown name begins as a csv with names that are well known."""
    cells = [cell.strip().strip('"') for cell in line.split(",")]
    return sum(cell in named or is_known(cell) for cell in cells) > 1
