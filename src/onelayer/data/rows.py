"""The rows of a file, read again each time: what is kept of them is a few bytes each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.base.errors import DataError, Place
from onelayer.data.layout import Layout
from onelayer.data.row_kind import RowKind
from onelayer.data.table import Table

BAD_ROWS_KEPT = 5
"""Bad rows that are remembered; of the others only how many there are."""

Look = Callable[[Any], None]


@dataclass(slots=True)
class Rows:
    """The rows of one file that can be used, and what is wrong with the others.

    Each iteration reads the file, so that one larger than the memory is no trouble. Made by
    ``read_rows``, which reads it once or twice to find the rows that can't be used.
    """

    kind: type[RowKind[Any]]
    table: Table
    layout: Layout
    labelled: bool
    legal: NDArray[np.bool_]
    """(n,) which of the rows that can be read are right in the light of all the others."""
    bad: list[DataError] = field(default_factory=list)
    """What is wrong with the first bad rows."""
    n_bad: int = 0

    def __len__(self) -> int:
        return int(np.count_nonzero(self.legal))

    def __iter__(self) -> Iterator[Any]:
        return (row for _, row in self.with_values())

    def with_values(self) -> Iterator[tuple[dict[str, Any], Any]]:
        """Each row with the values, by role, that ``Task.row`` made it from."""
        readable = self._readable(lambda _: None)
        for legal in self.legal:
            pair = next(readable, None)
            if pair is None:
                hint = "start again when it is complete"
                place = Place(self.table.path)
                raise DataError("the file changed while it was read", place=place, hint=hint)
            if legal:
                yield pair

    def _readable(self, refuse: Callable[[DataError], None]) -> Iterator[tuple[Any, Any]]:
        for record in self.table:
            values = self.layout.values(record.values)
            try:
                row = self.kind.row(values, self.table.place(record), self.labelled)
            except DataError as error:
                refuse(error)
                continue
            yield values, row

    def _note(self, error: DataError) -> None:
        self.n_bad += 1
        if len(self.bad) < BAD_ROWS_KEPT:
            self.bad.append(_in_column(error, self.layout))


def read_rows(
    kind: type[RowKind[Any]],
    table: Table,
    layout: Layout,
    *,
    labelled: bool = True,
    look: Look = lambda _: None,
) -> Rows:
    """The table's records as rows of a task. ``look`` is shown each row that can be read."""
    rows = Rows(kind, table, layout, labelled, np.empty(0, np.bool_))
    n = 0

    def readable() -> Iterator[Any]:
        nonlocal n
        for _, row in rows._readable(rows._note):
            n += 1
            look(row)
            yield row

    stream = readable()
    judge = kind.check(stream) if labelled else None
    deque(stream, maxlen=0)  # what a check that can find nothing has left
    rows.legal = np.ones(n, np.bool_)
    if judge is not None:
        _find_illegal(rows, judge)
    return rows


def _find_illegal(rows: Rows, judge: Callable[[Any], DataError | None]) -> None:
    illegal: list[DataError] = []
    for i, row in enumerate(rows):
        if error := judge(row):
            rows.legal[i] = False
            rows.n_bad += 1
            if len(illegal) < BAD_ROWS_KEPT:
                illegal.append(error)
    in_file = sorted(rows.bad + illegal, key=lambda error: (error.place and error.place.line) or 0)
    rows.bad = in_file[:BAD_ROWS_KEPT]


def refuse_bad(rows: Rows) -> None:
    """One line about all that is wrong: the first case in full, the next ones' lines."""
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


def _in_column(error: DataError, layout: Layout) -> DataError:
    column = layout.columns.get(str(error.place.column)) if error.place else None
    if error.place and isinstance(column, str):
        error.place = replace(error.place, column=column)
    return error
