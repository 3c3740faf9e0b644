"""The rows of a file: held in memory, or read anew each time they are gone through."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Set
from dataclasses import dataclass, field, replace
from typing import Any

from onelayer.errors import DataError, Place
from onelayer.tasks.base import Layout, Task
from onelayer.text.table import Table

FIRST = 5
"""Bad rows that are told of by their lines."""


@dataclass(slots=True)
class Bad:
    """The rows of a file that can't be used: how many, and what is wrong with the first of them."""

    n: int = 0
    first: list[DataError] = field(default_factory=list)

    def add(self, error: DataError) -> None:
        self.n += 1
        insort(self.first, error, key=lambda error: (error.place and error.place.line) or 0)
        del self.first[FIRST:]

    def refuse(self) -> None:
        """One line about all that is wrong: the first case in full, the next ones' lines."""
        if not self.n:
            return
        first, *others = self.first
        if not others:
            hint = first.hint or "mend it, or leave it out with --skip-bad"
            raise DataError(first.message, place=first.place, hint=hint)
        which = ", ".join(str(e.place.line or e.place.column) for e in others if e.place)
        raise DataError(
            f"{first.message}; {self.n - 1:,} more bad rows: {which}" + ", …" * (self.n > FIRST),
            place=first.place,
            hint=first.hint or "mend them, or leave them out with --skip-bad",
        )

    def __len__(self) -> int:
        return self.n


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one file, and what is wrong with those that can't be used."""

    rows: list[Any]
    bad: Bad


@dataclass(frozen=True, slots=True)
class RowStream:
    """A file's labelled rows but for the bad ones: read anew each time they are gone through, one
    row in memory at a time."""

    kind: type[Task]
    table: Table
    layout: Layout
    left_out: Set[Place | None] = frozenset()
    """Rows that only the whole file showed to be bad."""

    def __iter__(self) -> Iterator[Any]:
        rows = _rows(self.kind, self.table, self.layout, True, lambda _: None)
        return (row for row in rows if row.place not in self.left_out)


def read_rows(kind: type[Task], table: Table, layout: Layout, *, labelled: bool = True) -> Rows:
    """The table's records as rows of a task."""
    bad = Bad()
    rows = list(_rows(kind, table, layout, labelled, bad.add))
    left_out = _illegal(kind.check(rows), bad) if labelled else set()
    return Rows([row for row in rows if row.place not in left_out], bad)


def stream_rows(kind: type[Task], table: Table, layout: Layout) -> tuple[RowStream, Bad]:
    """As ``read_rows``, but of labelled rows none is kept: the file is gone through to find the bad
    ones before anything is done with the others."""
    bad = Bad()
    for _ in _rows(kind, table, layout, True, bad.add):
        pass
    every = RowStream(kind, table, layout)
    return replace(every, left_out=_illegal(kind.check(every), bad)), bad


def _rows(
    kind: type[Task],
    table: Table,
    layout: Layout,
    labelled: bool,
    refuse: Callable[[DataError], None],
) -> Iterator[Any]:
    for record in table:
        try:
            row = kind.row(layout.values(record.values), table.place(record), labelled)
        except DataError as error:
            refuse(_in_column(error, layout))
        else:
            yield row


def _illegal(errors: Iterable[DataError], bad: Bad) -> set[Place | None]:
    """Notes the errors, and gives the places of their rows."""
    places = set()
    for error in errors:
        bad.add(error)
        places.add(error.place)
    return places


def _in_column(error: DataError, layout: Layout) -> DataError:
    column = layout.columns.get(str(error.place.column)) if error.place else None
    if error.place and isinstance(column, str):
        error.place = replace(error.place, column=column)
    return error
