"""What a task says of its rows: how a record becomes one, and what is in it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from onelayer.base.errors import DataError, Place

Row = TypeVar("Row")


class RowKind(ABC, Generic[Row]):
    """The half of a task that knows its rows, which are of the type ``Row``. Each of them has a
    ``place``, where it stands in its file."""

    name: ClassVar[str]
    """Of the task, as ``--task`` has it."""

    @classmethod
    @abstractmethod
    def row(cls, values: Mapping[str, Any], place: Place, labelled: bool) -> Row:
        """A row from values by role. Raises DataError where they can't be used."""

    @classmethod
    def check(cls, rows: Iterable[Row]) -> Callable[[Row], DataError | None] | None:
        """Reads labelled rows once and gives a judge of what is wrong with one of them that only
        shows when all are seen; None where nothing can be."""
        return None

    @classmethod
    @abstractmethod
    def texts(cls, row: Row) -> tuple[str, ...]:
        """The texts that the model reads of a row."""

    @classmethod
    def group(cls, row: Row) -> str | None:
        """Rows of one group (a passage) never stand on both sides of a split."""
        return None

    @classmethod
    def stratum(cls, row: Row) -> str | None:
        """Rows of each stratum (a label) are split in the same proportion."""
        return None

    @classmethod
    @abstractmethod
    def gold_text(cls, row: Row) -> str:
        """The gold label of a labelled row in words, for a person who reads through a list."""

    @classmethod
    @abstractmethod
    def gold_key(cls, row: Row) -> Hashable:
        """The gold label of a row as something that equals another one of the same meaning."""

    @classmethod
    def labels_in(cls, row: Row) -> tuple[str, ...]:
        """What is counted of a labelled row: its classes, tags or types of entities; empty where
        there is nothing to count."""
        return ()
