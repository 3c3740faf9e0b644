"""A file format: how to recognise its files, and how to read them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from onelayer.data.table import Table
from onelayer.recipe import AS_FOUND, Reading


@dataclass(frozen=True, slots=True)
class Sample:
    """The part of a file by which formats recognise it."""

    path: str
    suffixes: frozenset[str]
    """All suffixes of the file's name, in lower case, with their dots: ``.csv``."""
    first_bytes: bytes
    """The first four bytes; fewer if the file is shorter."""
    named: Collection[str]
    """Columns that the user asked for."""
    expected: Collection[str] = ()
    """Columns that the file may have: those of a model's training file."""
    reading: Reading = AS_FOUND
    """What the user said of the file."""
    head: Sequence[str] = ()
    """The first lines with their line ends, at least one of them not blank. Empty while binary
    formats are asked."""

    @property
    def first_line(self) -> str:
        """The first line that isn't blank."""
        return next(line for line in self.head if line.strip())


@dataclass(frozen=True, slots=True)
class FileFormat:
    """A format of data files."""

    recognises: Callable[[Sample], bool]
    """Whether a file is of this format, by its name or its beginning."""
    read: Callable[[Sample], Table]
    """Opens a file. Raises DataError for errors in the first lines; later ones are raised while the
    table is iterated."""
    folder: bool = False
    """Whether it is a folder of files that belong together."""
    binary: bool = False
    """Whether files have no lines of text, so that only the name and first bytes recognise them."""


@dataclass(frozen=True, slots=True)
class JsonShape:
    """What JSON files of one origin look like, such as SQuAD's or an annotation tool's."""

    fits: Callable[[Any], bool]
    """Whether a file's first value has the shape: the value of its first line, or the first item of
    the array that the document is."""
    read: Callable[[str], Table]
    """Opens a file of the shape. Raises DataError as ``FileFormat.read`` does."""
