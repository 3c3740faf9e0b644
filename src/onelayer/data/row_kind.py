"""The part of a task that knows its rows: how to make one from a record, and what it holds."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from onelayer.base.errors import DataError, Place
from onelayer.data.table import LeftOutError as LeftOutError

Row = TypeVar("Row")
SeenRow = TypeVar("SeenRow", contravariant=True)


class Census(Protocol[SeenRow]):
    """Sees each row of a file that can be used, and knows what is odd about their labels."""

    def see(self, row: SeenRow) -> None: ...

    def remarks(self) -> Iterable[str]:
        """Lines for the user, once all rows are seen."""
        ...

    def refusal(self) -> DataError | None:
        """Why nothing can be learned from these labels, if so; without a place."""
        ...


class RowKind(ABC, Generic[Row]):
    """What a task knows about its rows, which are of the type ``Row``. Every row has a ``place``,
    its position in its file."""

    name: ClassVar[str]
    """The task's name, as given to ``--task``."""
    group_noun: ClassVar[str | None] = None
    """What a ``group`` is called, in the plural; None for a task without groups."""

    @classmethod
    @abstractmethod
    def row(cls, values: Mapping[str, Any], place: Place, labelled: bool) -> Row:
        """Makes a row from values by role. Raises DataError for values that can't be used, and
        LeftOutError for a row that isn't meant to be."""

    @classmethod
    def repairs(cls, row: Row) -> Iterable[str]:
        """What was put right in a row while it was made, in words that are the same for all rows
        of this kind: users are told once, with the number of rows."""
        return ()

    @classmethod
    def census(cls) -> Census[Row] | None:
        """Who looks at the labels of all rows; None where nothing about them can be odd."""
        return None

    @classmethod
    def check(cls, rows: Iterable[Row]) -> Callable[[Row], DataError | None] | None:
        """Looks for errors that only show when all labelled rows are known, such as tags that break
        the scheme of the file. Returns a function that gives a row's error, or None if no row can
        have one."""
        return None

    @classmethod
    @abstractmethod
    def texts(cls, row: Row) -> tuple[str, ...]:
        """A row's texts that the model reads."""

    @classmethod
    def group(cls, row: Row) -> str | None:
        """A row's group, such as a passage: all its rows go to the same side of a split."""
        return None

    @classmethod
    def stratum(cls, row: Row) -> str | None:
        """A row's stratum, such as its label: each stratum is split in the same proportion."""
        return None

    @classmethod
    @abstractmethod
    def gold_text(cls, row: Row) -> str:
        """A labelled row's gold label in words, for lists of rows."""

    @classmethod
    @abstractmethod
    def gold_key(cls, row: Row) -> Hashable:
        """A labelled row's gold label in a form in which equal labels compare equal."""

    @classmethod
    def labels_in(cls, row: Row) -> tuple[str, ...]:
        """A labelled row's classes, tags or entity types; empty for tasks without."""
        return ()

    @classmethod
    def classes(cls, row: Row) -> Iterable[str]:
        """Those of ``labels_in`` that a score is about: both sides of a split should have each."""
        return cls.labels_in(row)
