"""Our errors. Each prints one line: where, what is wrong, and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Place:
    """A spot in a file, printed as ``file:line:column``; parts that aren't known are left out. A
    spot in an object of Python is printed as ``row 3 of the DataFrame, column 'text'``."""

    path: str | Path
    line: int | None = None
    """1-based, as editors count."""
    column: int | str | None = None
    """A 1-based character position, or the name of a table's column."""
    in_memory: bool = False
    """Whether the rows are in an object of Python, and ``path`` is the name of its type."""

    def __str__(self) -> str:
        if self.in_memory and self.line is not None:
            column = f", column {self.column!r}" if self.column is not None else ""
            return f"row {self.line:,} of the {self.path}{column}"
        parts = (self.path, self.line, self.column)
        return ":".join(str(part) for part in parts if part is not None)


class OneLayerError(Exception):
    """The base class of all our errors; by itself a failure that isn't the user's fault.

    Parameters
    ----------
    message
        What is wrong.
    place
        Where.
    hint
        How to fix it: a flag, a command, or what to write instead.
    """

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(
        self, message: str, *, place: Place | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        where = f"{self.place}: " if self.place else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}{self.message}{hint}"


class UsageError(OneLayerError):
    """A command or a call that asks for something impossible."""

    exit_code = 2
    http_status = 400


class DataError(OneLayerError):
    """A data file or a row that can't be used as it is."""

    exit_code = 2
    http_status = 422


class CheckpointError(OneLayerError):
    """A model directory that can't be read: missing, damaged, or of no known family."""

    exit_code = 2


class FirstProcessFailedError(OneLayerError):
    """In one of several processes that train together: the first one has failed, and says why."""
