"""Finds rows with the same texts, in one file or in several, and compares their labels."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.base.wording import clipped, where
from onelayer.data.equal_texts import normalized
from onelayer.data.rows import Rows
from onelayer.tokens.encodings import Ints

MAX_LISTED_GROUPS = 1000
"""Further groups of rows are only counted. Listed ones are kept in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedRow:
    """A row with the same texts as another one."""

    file: str
    line: int | None = None
    id: int | str | None = None
    """The row's id, in formats where lines don't identify rows."""
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RepeatedText:
    """The beginning of a text that several rows have."""

    text: str
    rows: tuple[RepeatedRow, ...]


@dataclass(frozen=True, slots=True)
class Repeats:
    """Counts of repeated rows and texts, and the first groups in full."""

    rows: int
    """Rows of the first file that repeat an earlier row of it."""
    differently_written: int
    """Those that differ from the earlier row in case, spaces or width."""
    conflicting: int
    """Texts with different labels, in one file or in several."""
    conflicts: tuple[RepeatedText, ...]
    across: dict[str, int]
    """By file: the number of rows whose texts are also in another file."""
    shared: tuple[RepeatedText, ...]
    """Texts that are in several files."""


def find_repeats(files: Sequence[Rows]) -> Repeats:
    """Reads the files twice: once to hash every row (32 bytes each), once for the rows to list."""
    hashes = _RowHashes()
    for number, rows in enumerate(files):
        for row in rows:
            hashes.add(number, rows.kind.texts(row), rows.kind.gold_key(row))
    groups = hashes.groups()
    first = groups.file == 0
    again = first & groups.repeats
    across = groups.n_files > 1
    conflicts = groups.n_labels > 1
    return Repeats(
        rows=int(np.count_nonzero(again)),
        differently_written=int(np.count_nonzero(again & ~groups.same_letters)),
        conflicting=int(np.count_nonzero(conflicts)),
        conflicts=_listed(files, groups.row_group, conflicts),
        across={
            str(rows.table.path): int(np.count_nonzero(across[groups.row_group[groups.file == i]]))
            for i, rows in enumerate(files)
        },
        shared=_listed(files, groups.row_group, across),
    )


@dataclass(frozen=True, slots=True)
class _Groups:
    """Groups of rows with the same texts, for N rows and G groups; (N,) unless it says (G,)."""

    file: Ints
    row_group: Ints
    repeats: NDArray[np.bool_]
    """Whether an earlier row of the same file is in the same group."""
    same_letters: NDArray[np.bool_]
    """Whether one of those rows has exactly the same texts."""
    n_files: Ints
    """(G,) The number of files with the text."""
    n_labels: Ints
    """(G,) The number of different labels of the text."""


class _RowHashes:
    """Hashes of 64 bits of each row's texts, exact and normalized, and of its label. In five
    million rows, the chance of any collision is one in a million."""

    def __init__(self) -> None:
        self.file, self.exact, self.normal, self.label = (array("q") for _ in range(4))

    def add(self, file: int, texts: tuple[str, ...], label: object) -> None:
        self.file.append(file)
        self.exact.append(hash(texts))
        self.normal.append(hash(tuple(map(normalized, texts))))
        self.label.append(hash(label))

    def groups(self) -> _Groups:
        file, exact, same, label = (
            np.array(values, np.int64)
            for values in (self.file, self.exact, self.normal, self.label)
        )
        _, row_group = np.unique(same, return_inverse=True)
        n_groups = int(row_group.max(initial=-1)) + 1
        return _Groups(
            file=file,
            row_group=row_group,
            repeats=_seen_before(row_group, file),
            same_letters=_seen_before(exact, file),
            n_files=_n_distinct(row_group, file, n_groups),
            n_labels=_n_distinct(row_group, label, n_groups),
        )


def _seen_before(keys: Ints, file: Ints) -> NDArray[np.bool_]:
    """(N,) Whether an earlier row of the same file has the same key."""
    _, first = np.unique(_paired(keys, file), return_index=True)
    before = np.ones(len(keys), np.bool_)
    before[first] = False
    return before


def _n_distinct(group: Ints, values: Ints, n_groups: int) -> Ints:
    """(G,) The number of different values of each group."""
    _, first = np.unique(_paired(values, group), return_index=True)
    return np.bincount(group[first], minlength=n_groups)


def _paired(keys: Ints, others: Ints) -> Ints:
    """(N,) A number for each pair of a key and another one."""
    numbered = np.unique(keys, return_inverse=True)[1]
    return np.asarray(numbered * (others.max(initial=0) + 1) + others)


def _listed(
    files: Sequence[Rows], row_group: Ints, wanted: NDArray[np.bool_]
) -> tuple[RepeatedText, ...]:
    """The first wanted groups with their rows and labels, in the order of their first rows."""
    if not wanted.any():
        return ()
    found: dict[int, tuple[str, list[RepeatedRow]]] = {}
    for group, (path, row, kind) in zip(row_group.tolist(), _all(files), strict=True):
        if not wanted[group] or (group not in found and len(found) == MAX_LISTED_GROUPS):
            continue
        _, alike = found.setdefault(group, (clipped(" | ".join(kind.texts(row))), []))
        label = clipped(kind.gold_text(row))
        alike.append(RepeatedRow(file=Path(path).name, label=label, **where(row.place)))
    return tuple(RepeatedText(text=text, rows=tuple(rows)) for text, rows in found.values())


def _all(files: Sequence[Rows]) -> Iterator[tuple[str, Any, Any]]:
    for rows in files:
        for row in rows:
            yield rows.table.path, row, rows.kind
