"""One tree of errors. Each is one line for the user: what was wrong, where, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Place:
    """A spot in a file, printed as ``file:line:column`` with as much of it as is known."""

    path: str | Path
    line: int | None = None
    """1-based, as editors count."""
    column: int | str | None = None
    """A 1-based character position, or the name of a table's column."""

    def __str__(self) -> str:
        parts = (self.path, self.line, self.column)
        return ":".join(str(part) for part in parts if part is not None)


class OneLayerError(Exception):
    """The root of all: something failed that the user can't correct.

    ``message`` says what was wrong, ``place`` where, ``hint`` what to do about it.
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
    """A command or a call that asks for something which can't be had."""

    exit_code = 2
    http_status = 400


class DataError(OneLayerError):
    """A data file or a row that can't be used as it is."""

    exit_code = 2
    http_status = 422


class CheckpointError(OneLayerError):
    """A model directory that can't be read: missing, damaged, or of no known family."""

    exit_code = 2
