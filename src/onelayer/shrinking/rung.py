"""A rung of the ladder below a run: a smaller model, measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from onelayer.checkpoint.export_record import Interval, Speed


@dataclass(frozen=True, slots=True, kw_only=True)
class RungScore:
    """The score of a rung on some rows, and what it loses against the run there."""

    rows: int
    file: str
    """The name of the rows."""
    metric: str
    score: float
    interval: Interval
    """The 95 % interval of the score."""
    lost: float
    """Points that the run scores more; below 0 where the rung is better."""
    lost_interval: Interval
    """The 95 % interval of ``lost``, paired."""
    p: float
    """How likely a difference of at least this size is if both are equally good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rung:
    """A model that a user may take in place of the run, or one to compare with."""

    name: str
    """Short, and the name of its folder: ``3-layers``."""
    what: str
    """What was made of the run, in words."""
    bytes: int
    """All that predicting reads: weights, vocabulary, configuration."""
    speeds: Mapping[int, Speed]
    """By number of threads, from text to answer."""
    dev: RungScore
    test: RungScore | None = None
    model: str | None = None
    """Its bundle within the ladder's folder; None for one that is only compared with."""
    run: str | None = None
    """The run whose weights the bundle has, within the ladder's folder."""
    reference: bool = False
    """Whether it is a simple method to compare with, and no smaller model of the run."""

    @property
    def speed(self) -> Speed:
        """On one thread."""
        return self.speeds[1]
