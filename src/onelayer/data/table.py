"""What every reader gives: a table of records that know the line they came from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from onelayer.base.errors import DataError, Place

MOST_COLUMNS = 1000


@dataclass(frozen=True, slots=True)
class Record:
    """One row of a file, by column name, and the 1-based line on which it begins."""

    values: Mapping[str, Any]
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """A file seen as records. It can be iterated again and again; each time reads the file anew,
    so that a file larger than the memory is no trouble where its format can be read in a stream.
    """

    path: str
    format: str
    """``csv``, ``tsv``, ``jsonl``, ``json``, ``parquet``, ``lines``, ``conll``, ``conllu``,
    ``squad`` or ``multiple-choice``."""
    columns: tuple[str, ...]
    read: Callable[[], Iterator[Record]]
    note: str | None = None
    """What the reader decided for the user, such as ``no header: columns are numbered``."""

    def __iter__(self) -> Iterator[Record]:
        return self.read()

    def place(self, record: Record, column: str | None = None) -> Place:
        return Place(self.path, record.line, column)


def refuse_wide(columns: int, place: Place) -> None:
    """Raises DataError for more columns than a table of texts has: each is looked into."""
    if columns > MOST_COLUMNS:
        raise DataError(
            f"{columns:,} columns, and more than {MOST_COLUMNS:,} are not read",
            place=place,
            hint="keep those of the texts and labels",
        )
