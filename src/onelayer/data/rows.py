"""The usable rows of a file, read from the file each time: only a byte per row is in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from onelayer.base.errors import DataError, Place
from onelayer.data.layout import Layout
from onelayer.data.row_kind import RowKind
from onelayer.data.table import LeftOutError, Table
from onelayer.data.values import in_role

BAD_ROWS_KEPT = 5
"""Bad rows whose errors are kept; the others are only counted."""

Look = Callable[[Any], None]
T = TypeVar("T")


def chunks_of(size: int, rows: Iterable[T]) -> Iterator[list[T]]:
    """Lists of ``size`` rows of a stream, each read when it is asked for, and one of the rest."""
    stream = iter(rows)
    while chunk := list(islice(stream, size)):
        yield chunk


@dataclass(slots=True)
class RowsAlike:
    """How many rows have something in common, and where the first of them is."""

    count: int
    first: Place

    def remark(self, what: str) -> str:
        """``3 rows: what, the first at line 7``."""
        rows = "1 row" if self.count == 1 else f"{self.count:,} rows"
        place = self.first
        named = place.column or Path(place.path).name  # such as the id of a question
        where = named if place.line is None else f"line {place.line}"
        return f"{rows}: {what}, the first at {where}"


@dataclass(slots=True)
class Rows:
    """The usable rows of one file, and the errors of the others.

    Each iteration reads the file again, so it may be larger than the memory. ``read_rows`` makes
    this object; it reads the file once or twice to find the unusable rows.
    """

    kind: type[RowKind[Any]]
    table: Table
    layout: Layout
    labelled: bool
    legal: NDArray[np.bool_]
    """(n,) for each readable row, whether it is still valid when compared with all others."""
    bad: list[DataError] = field(default_factory=list)
    """The errors of the first bad rows."""
    n_bad: int = 0
    repaired: dict[str, RowsAlike] = field(default_factory=dict)
    """The rows that were put right while they were read, by what was done."""
    about_labels: list[str] = field(default_factory=list)
    """What is odd about the labels of all rows."""
    refusal: DataError | None = None
    """Why nothing can be learned from the labels, if so."""
    left_out: dict[str, RowsAlike] = field(default_factory=dict)
    """The rows that aren't meant to be used, by the reason."""

    @property
    def remarks(self) -> list[str]:
        """What the user should be told of repaired rows, of those left out, and of labels."""
        left_out = [rows.remark(f"left out, {why}") for why, rows in self.left_out.items()]
        repaired = [rows.remark(what) for what, rows in self.repaired.items()]
        return [*repaired, *left_out, *self.about_labels]

    def __len__(self) -> int:
        return int(np.count_nonzero(self.legal))

    def __iter__(self) -> Iterator[Any]:
        return (row for _, row in self.with_values())

    def with_values(self) -> Iterator[tuple[dict[str, Any], Any]]:
        """Each row with the values by role from which ``Task.row`` made it."""
        readable = self._readable(lambda _: None)
        for legal in self.legal:
            pair = next(readable, None)
            if pair is None:
                hint = "start again when it is complete"
                place = Place(self.table.path)
                raise DataError("the file changed while it was read", place=place, hint=hint)
            if legal:
                yield pair

    def _readable(
        self,
        refuse: Callable[[DataError], None],
        repaired: dict[str, RowsAlike] | None = None,
    ) -> Iterator[tuple[Any, Any]]:
        """The values and rows that can be used; ``repaired`` counts what was put right in them."""
        layout = self.layout if self.labelled else self.layout.without_label()
        for record in self.table:
            place = self.table.place(record)
            try:
                if record.left_out is not None:
                    self.table.refuse_left_out(record)
                if self.labelled and record.void:
                    raise LeftOutError(record.void, place=place)
                values = layout.values(record.values)
                row = self.kind.row(values, place, self.labelled)
            except DataError as error:
                error.place = error.place or in_role(place, "label")
                refuse(error)
                continue
            if repaired is not None and (done := (*record.repairs, *self.kind.repairs(row))):
                _count(repaired, done, row.place)
            yield values, row

    def _note(self, error: DataError) -> None:
        if isinstance(error, LeftOutError):
            _count(self.left_out, [error.message], error.place or Place(self.table.path))
            return
        self.n_bad += 1
        if len(self.bad) < BAD_ROWS_KEPT:
            self.bad.append(in_column(error, self.layout))


def read_rows(
    kind: type[RowKind[Any]],
    table: Table,
    layout: Layout,
    *,
    labelled: bool = True,
    look: Look = lambda _: None,
) -> Rows:
    """Reads the table's records as rows of a task.

    Parameters
    ----------
    kind
        The task.
    table
        The file.
    layout
        Which columns play which roles.
    labelled
        Whether the rows must have gold labels.
    look
        Called with each readable row, to count something while the file is read anyway.
    """
    rows = Rows(kind, table, layout, labelled, np.empty(0, np.bool_))
    census = kind.census() if labelled else None
    n = 0

    def readable() -> Iterator[Any]:
        nonlocal n
        for _, row in rows._readable(rows._note, rows.repaired):
            n += 1
            look(row)
            if census is not None:
                census.see(row)
            yield row

    stream = readable()
    judge = kind.check(stream) if labelled else None
    deque(stream, maxlen=0)  # reads the rest, if the check didn't
    rows.legal = np.ones(n, np.bool_)
    if census is not None:
        rows.about_labels, rows.refusal = list(census.remarks()), census.refusal()
        if rows.refusal:
            rows.refusal.place = Place(table.path)
    if judge is not None:
        _find_illegal(rows, judge)
    return rows


def _count(alike: dict[str, RowsAlike], whats: Iterable[str], place: Place) -> None:
    for what in whats:
        alike.setdefault(what, RowsAlike(0, place)).count += 1


def _find_illegal(rows: Rows, judge: Callable[[Any], DataError | None]) -> None:
    illegal: list[DataError] = []
    for i, row in enumerate(rows):
        if error := judge(row):
            rows.legal[i] = False
            if isinstance(error, LeftOutError):
                _count(rows.left_out, [error.message], error.place or Place(rows.table.path))
                continue
            rows.n_bad += 1
            if len(illegal) < BAD_ROWS_KEPT:
                illegal.append(error)
    in_file = sorted(rows.bad + illegal, key=lambda error: (error.place and error.place.line) or 0)
    rows.bad = in_file[:BAD_ROWS_KEPT]


def refuse_bad(rows: Rows) -> None:
    """Raises DataError if there are bad rows: the first error, and the lines of the next ones."""
    if not rows.bad:
        return
    first, *others = rows.bad
    n_others = rows.n_bad - 1
    if not others:
        hint = first.hint or "correct it, or leave it out with --skip-bad"
        raise DataError(first.message, place=first.place, hint=hint)
    which = ", ".join(str(e.place.line or e.place.column) for e in others if e.place)
    raise DataError(
        f"{first.message}; {n_others:,} more bad rows: {which}" + ", …" * (n_others > len(others)),
        place=first.place,
        hint=first.hint or "correct them, or leave them out with --skip-bad",
    )


def in_column(error: DataError, layout: Layout) -> DataError:
    """The error with the file's column in place of the role."""
    column = layout.columns.get(str(error.place.column)) if error.place else None
    if error.place and isinstance(column, str):
        error.place = replace(error.place, column=column)
    return error
