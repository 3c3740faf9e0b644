"""What a model suggests as the label of a row, for people who label it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class SuggestedSpan:
    """The characters ``start:end`` of a text, counted in code points, and their label."""

    start: int
    end: int
    text: str
    label: str


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A label that a model suggests."""

    cell: Any
    """In a cell of a table, in a form in which training reads it as a label."""
    names: tuple[str, ...] = ()
    """Where names are chosen: those that the model would choose."""
    number: float | None = None
    """Where a number is given."""
    spans: tuple[SuggestedSpan, ...] = ()
    """Where parts of a text are marked."""


@dataclass(frozen=True, slots=True)
class Labelling:
    """What people do who label a row: choose names, give a number, or mark parts of a text."""

    kind: Literal["choices", "number", "spans"]
    names: tuple[str, ...] = ()
    """To choose among, or to mark with."""
    several: bool = False
    """Whether a row may get several names."""
