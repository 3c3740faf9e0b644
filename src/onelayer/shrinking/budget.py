"""Which rung fits: a budget in milliseconds, bytes or points, and the choice without one."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from onelayer.base.errors import UsageError
from onelayer.evaluation.compare import MAX_P
from onelayer.shrinking.rung import Rung

if TYPE_CHECKING:
    from onelayer.shrinking.shrunk import Shrunk

SMALL_LOSS = 0.5
"""Points that the rung chosen without a budget may lose. If it grows, the choice is faster and its
loss is felt; at 0 only a lucky rung is chosen."""
UNSURE_LOSS = 1.0
"""Points that it may lose where the paired test can't tell that from chance: p is above MAX_P."""

_PART = re.compile(r"([-−]?)\s*(\d+(?:\.\d*)?|\.\d+)\s*([a-zµμ]+)", re.IGNORECASE)
_MILLISECONDS = {"ms": 1.0, "s": 1e3, "us": 1e-3, "µs": 1e-3, "μs": 1e-3}
_BYTES = {"b": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9}
_POINTS = {"pt": 1.0, "pts": 1.0, "point": 1.0, "points": 1.0}
_UNITS = {"ms": _MILLISECONDS, "bytes": _BYTES, "points": _POINTS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What a model may cost; None where there is no limit."""

    ms: float | None = None
    """Milliseconds of a text alone, on one thread."""
    bytes: float | None = None
    """Of all that predicting reads."""
    points: float | None = None
    """Points lost against the run, on the dev rows."""

    @classmethod
    def parse(cls, text: str) -> Budget:
        """The budget of ``2ms``, ``5MB``, ``-1pt``, or of several with commas between them. Raises
        UsageError for another text."""
        if not isinstance(text, str):  # as Python's users may give it: budget=2
            raise _refused(text, "a text with a unit is needed")
        found: dict[str, float] = {}
        for part in text.split(","):
            kind, value = _limit(text, part.strip())
            if kind in found:
                raise _refused(text, f"two limits of one kind, {part.strip()} is the second")
            found[kind] = value
        return cls(**found)

    def excess(self, rung: Rung) -> float:
        """By how much a rung is over the budget, 0 if it keeps it: the doublings of time and size,
        and the points."""
        over = 0.0
        for limit, cost in ((self.ms, rung.speed.latency_ms), (self.bytes, rung.bytes)):
            if limit is not None and cost > limit:
                over += math.log2(cost / limit)
        # A loss that isn't known keeps no limit.
        if self.points is not None and not rung.dev.lost <= self.points:
            over += math.inf if math.isnan(rung.dev.lost) else rung.dev.lost - self.points
        return over

    def __str__(self) -> str:
        parts = []
        if self.ms is not None:
            parts.append(f"{_figure(self.ms)}ms")
        if self.bytes is not None:
            unit, size = ("MB", 1e6) if self.bytes >= 1e6 else ("kB", 1e3)
            parts.append(f"{_figure(self.bytes / size)}{unit}")
        if self.points is not None:
            parts.append(f"-{_figure(self.points)}pt")
        return ",".join(parts)


def _limit(text: str, part: str) -> tuple[str, float]:
    match = _PART.fullmatch(part)
    if match is None:
        raise _refused(text, f"{part!r} is no limit")
    sign, number, unit = match.groups()
    for kind, units in _UNITS.items():
        if (scale := units.get(unit.lower())) is None:
            continue
        value = float(number) * scale
        if kind != "points" and (sign or not value):
            raise _refused(text, f"{part} must be above 0")
        return kind, value
    raise _refused(text, f"unknown unit {unit!r}")


def _refused(text: object, reason: str) -> UsageError:
    hint = "write 2ms (a text, on one thread), 5MB or -1pt, or several: 2ms,-1pt"
    return UsageError(f"--budget {text!r:.80}: {reason}", hint=hint)


class BudgetError(UsageError):
    """A budget that no rung keeps."""

    shrunk: Shrunk | None = None
    """What there is, measured; set where the ladder was written."""


class ChosenRung(NamedTuple):
    """The rung that was chosen, and by which rule, in words."""

    rung: Rung
    why: str


def choose(rungs: Sequence[Rung], budget: Budget | None = None) -> ChosenRung:
    """The rung to take.

    With limits of time or size it is the one with the best dev score that keeps them; with a limit
    of points the fastest one that keeps all limits. Without a budget it is the fastest one that
    loses at most ``SMALL_LOSS`` points, or at most ``UNSURE_LOSS`` where the paired test can't tell
    the loss from chance; if there is none, the one with the best score. Of two that are equal in
    this, the faster, better and smaller one is taken.

    Parameters
    ----------
    rungs
        The ladder; those without a bundle aren't chosen.
    budget
        What the model may cost.

    Raises
    ------
    BudgetError
        If no rung keeps the budget; it names the nearest one, and the budget that this one keeps.
    """
    own = [rung for rung in rungs if rung.model is not None]
    if budget is None:
        return _knee(own)
    kept = [rung for rung in own if not budget.excess(rung)]
    if not kept:
        raise _nothing_fits(own, budget)
    if budget.points is None:
        return ChosenRung(
            min(kept, key=_worst), f"the best score on {own[0].dev.file} within {budget}"
        )
    return ChosenRung(min(kept, key=_slowest), f"the fastest within {budget} on {own[0].dev.file}")


def _knee(own: Sequence[Rung]) -> ChosenRung:
    near = [rung for rung in own if _is_small(rung)]
    file = own[0].dev.file
    rule = (
        f"the fastest that loses at most {SMALL_LOSS:g} points on {file}, or at most "
        f"{UNSURE_LOSS:g} where that may be chance (p > {MAX_P:g})"
    )
    if near:
        return ChosenRung(min(near, key=_slowest), rule)
    return ChosenRung(min(own, key=_worst), f"the best score on {file}; no other is {rule}")


def _is_small(rung: Rung) -> bool:
    lost, p = rung.dev.lost, rung.dev.p
    return lost <= SMALL_LOSS or (lost <= UNSURE_LOSS and p > MAX_P)


def _worst(rung: Rung) -> tuple[float, ...]:
    return -_known(rung.dev.score), rung.speed.latency_ms, rung.bytes


def _slowest(rung: Rung) -> tuple[float, ...]:
    return rung.speed.latency_ms, -_known(rung.dev.score), rung.bytes


def _known(score: float) -> float:
    """A score that isn't defined is worse than all others."""
    return -math.inf if math.isnan(score) else score


def _nothing_fits(own: Sequence[Rung], budget: Budget) -> BudgetError:
    nearest = min(own, key=lambda rung: (budget.excess(rung), _worst(rung)))
    costs = {
        "ms": (budget.ms, nearest.speed.latency_ms),
        "bytes": (budget.bytes, float(nearest.bytes)),
        "points": (budget.points, nearest.dev.lost),
    }
    needed = {
        name: limit if cost <= limit or math.isnan(cost) else _rounded_up(cost)
        for name, (limit, cost) in costs.items()
        if limit is not None
    }
    words = []
    if budget.ms is not None:
        words.append(f"{nearest.speed.latency_ms:.2g} ms")
    if budget.bytes is not None:
        words.append(f"{nearest.bytes / 1e6:.2g} MB")
    if budget.points is not None:
        words.append(f"{nearest.dev.lost:.1f} points lost")
    return BudgetError(
        f"no rung keeps the budget {budget}: the nearest is {nearest.name} with {', '.join(words)}",
        hint=f"it keeps --budget {Budget(**needed)}",
    )


def _rounded_up(value: float) -> float:
    """With two digits, and not less."""
    step = 10.0 ** (math.floor(math.log10(value)) - 1)
    return math.ceil(value / step) * step


def _figure(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"
