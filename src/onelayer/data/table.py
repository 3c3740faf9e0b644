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
    """A file seen as records. Each iteration reads the file again, so that a file may be larger
    than the memory where its format can be read as a stream.
    """

    path: str
    format: str
    """Its name, for people: ``csv``, ``jsonl``, ``squad``, ..."""
    columns: tuple[str, ...]
    read: Callable[[], Iterator[Record]]
    note: str | None = None
    """What the reader decided for the user, such as ``no header: columns are numbered``."""
    last_line: Callable[[], int] | None = None
    """The number of the last record, where records are numbered but are no lines of text."""

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
