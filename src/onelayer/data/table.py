"""What every reader of a file returns: a table of records that know their line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from onelayer.base.errors import DataError, Place

if TYPE_CHECKING:
    from onelayer.data.dataframes import Container

MOST_COLUMNS = 1000
"""A file with more columns is refused: column inference looks at each of them."""


class LeftOutError(DataError):
    """A row that isn't meant to be used, such as one that nobody has labelled yet. It is left out
    and counted; the file has no error there. The message is the reason, the same for all such rows.
    """


@dataclass(slots=True)  # not frozen: a frozen one takes three times as long to make
class Record:
    """One row of a file, by column name, and the 1-based line on which it begins."""

    values: Mapping[str, Any]
    line: int | None = None
    void: str | None = None
    """Why its label isn't to be learned, such as an annotation that was rejected; the reason is
    the same for all such records. Its texts are predicted as any others."""
    repairs: tuple[str, ...] = ()
    """What the reader put right, in words that are the same for all records of this kind."""
    left_out: str | None = None
    """Why the record is no row at all, such as a header that comes again."""
    path: str | None = None
    """Its file, where the table is a folder of several."""


@dataclass(frozen=True, slots=True)
class Table:
    """A file seen as records. Each iteration reads the file again, so that a file may be larger
    than the memory where its format can be read as a stream.
    """

    path: str
    format: str
    """The format's name: ``csv``, ``jsonl``, ``squad``, ..."""
    columns: tuple[str, ...]
    read: Callable[[], Iterator[Record]]
    note: str | None = None
    """What the reader decided for the user, such as ``no header: columns are numbered``."""
    last_line: Callable[[], int] | None = None
    """Counts the records of a format in which a record's ``line`` is its number."""
    kept_columns: tuple[str, ...] | None = None
    """The columns that are copied next to a prediction; None: all. A format that repeats a long
    passage in each of its records names the other columns."""
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By column, what the numbers 0, 1, ... in it stand for, where the file says so."""
    schema: Callable[[], Any] | None = None
    """Reads the Arrow schema of the columns; None where the format has no types."""
    container: Container | None = None
    """The object that holds the rows; None for a file. ``path`` is then the name of its type."""

    def __iter__(self) -> Iterator[Record]:
        return self.read()

    def refuse_left_out(self, record: Record) -> None:
        """Raises LeftOutError for a record that isn't meant to be a row."""
        if record.left_out is not None:
            raise LeftOutError(record.left_out, place=self.place(record))

    def head(self, rows: int) -> list[Mapping[str, Any]]:
        """The values of the first rows, up to one that can't be read."""
        found: list[Mapping[str, Any]] = []
        try:
            for record in islice(self, rows):
                if record.left_out is None:
                    found.append(record.values)
        except DataError:
            pass  # it is told where the rows are used
        return found

    def place(self, record: Record, column: str | None = None) -> Place:
        """Where a record stands, for error messages."""
        in_memory = self.container is not None
        return Place(record.path or self.path, record.line, column, in_memory=in_memory)

    def place_at(self, line: int | None) -> Place:
        """Where the record of a line stands."""
        return self.place(Record({}, line))


def refuse_wide(columns: int, place: Place) -> None:
    """Raises DataError for a table of more than ``MOST_COLUMNS`` columns."""
    if columns > MOST_COLUMNS:
        raise DataError(
            f"{columns:,} columns, and at most {MOST_COLUMNS:,} are read",
            place=place,
            hint="keep only the columns with texts and labels",
        )
