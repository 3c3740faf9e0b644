"""What a reader of files tells of itself: how to recognise its files, and how to read them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from onelayer.data.table import Table


@dataclass(frozen=True, slots=True)
class Sample:
    """What a format is recognised by."""

    path: str
    suffixes: frozenset[str]
    """All suffixes of the name, in lower case, with their dots: ``.csv``."""
    first_bytes: bytes
    """Four; fewer in a shorter file."""
    named: Collection[str]
    """Columns that the user asked for."""
    head: Sequence[str] = ()
    """The first lines with their ends, at least one of them not blank; none for binary formats."""

    @property
    def first_line(self) -> str:
        """The first line that isn't blank."""
        return next(line for line in self.head if line.strip())


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format of data files."""

    recognises: Callable[[Sample], bool]
    """Whether a file is of this format, by its name or by how it begins."""
    read: Callable[[Sample], Table]
    """Raises DataError for what is wrong in the first lines; the table does for the rest."""
    binary: bool = False
    """Whether it is recognised by name and first bytes alone: it has no lines."""
