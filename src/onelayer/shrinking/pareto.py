"""The picture of price and speed: which rungs are worth a look, where their names go, and the
picture in characters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

WIDTH, HEIGHT = 78, 15
"""Characters and lines of the picture, without its axis below."""
MARGIN = 8
"""Characters on the left, for the numbers of the axis."""
SIDES = ("right", "left", "middle")
NEAR = 3
"""Lines of names, from that of a point on, in which a name is near it."""


class PricedModel(NamedTuple):
    """A model as a point of the picture."""

    name: str
    texts_per_second: float
    points: float
    """Of its score, compared with the run: below 0 where it loses."""
    sign: str
    """``*`` for the one that was kept, ``o`` for others to choose, ``x`` to compare with."""


def frontier(models: Sequence[PricedModel]) -> list[PricedModel]:
    """Those that no other one beats in both score and speed, the slowest first."""
    found: list[PricedModel] = []
    for one in sorted(models, key=lambda each: (-each.texts_per_second, -each.points)):
        if not found or one.points > found[-1].points:
            found.append(one)
    return found[::-1]


# Names -------------------------------------------------------------------------------------------


class Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: Box) -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


@dataclass(slots=True)
class NamePlaces:
    """Finds places for names beside their points, where they cover no point and no other name.

    Units are the caller's: characters and lines, or parts of an inch. y grows downwards.
    """

    within: Box
    line: float
    """The height of a name."""
    gap: float
    """Between a point and its name."""
    taken: list[Box] = field(default_factory=list)
    lines: list[Box] = field(default_factory=list)
    """What names cover only where there is no other place."""

    def add_point(self, x: float, y: float) -> None:
        half = self.gap / 2
        self.taken.append(Box(x - half, y - self.line / 2, x + half, y + self.line / 2))

    def place(self, x: float, y: float, width: float) -> Box | None:
        """The free place that is nearest to a point; None where the picture is full. It covers a
        line rather than be far away, where it may look like another point's name."""
        far = math.ceil((self.within.bottom - self.within.top) / self.line)
        free_of_all = self.taken + self.lines
        for lines, kept_free in (
            (NEAR, free_of_all),
            (NEAR, self.taken),
            (far, free_of_all),
            (far, self.taken),
        ):
            for box in self._around(x, y, width, lines):
                if self._is_inside(box) and not any(map(box.meets, kept_free)):
                    half = self.gap / 2  # so that two names aren't read as one
                    self.taken.append(box._replace(left=box.left - half, right=box.right + half))
                    return box
        return None

    def _is_inside(self, box: Box) -> bool:
        left, top, right, bottom = self.within
        across = left <= box.left and box.right <= right
        return across and top <= box.top and box.bottom <= bottom

    def _around(self, x: float, y: float, width: float, lines: int) -> Iterator[Box]:
        for away in range(lines):
            for top in {y - self.line / 2 - away * self.line: 0, y + (away - 0.5) * self.line: 0}:
                for side in SIDES[: 2 if away == 0 else 3]:
                    left = {
                        "right": x + self.gap,
                        "left": x - self.gap - width,
                        "middle": x - width / 2,
                    }[side]
                    yield Box(left, top, left + width, top + self.line)


# In characters -----------------------------------------------------------------------------------


def picture_in_text(models: Sequence[PricedModel], metric: str) -> str:
    """Points of the metric compared with the run, against texts a second on a logarithmic axis; the
    dots lead along the frontier. Plain characters, at most 80 a line."""
    return _Characters.of(models).drawn(models, metric) if models else ""


@dataclass(frozen=True, slots=True)
class _Characters:
    """The cells of the picture, and the scales of its axes."""

    cells: list[list[str]]
    slow: float
    fast: float
    low: float
    high: float

    @classmethod
    def of(cls, models: Sequence[PricedModel]) -> _Characters:
        speeds = [math.log10(one.texts_per_second) for one in models]
        points = [one.points for one in models]
        cells = [[" "] * (WIDTH - MARGIN) for _ in range(HEIGHT)]
        pad_x, pad_y = (max(values) - min(values) or 1.0 for values in (speeds, points))
        return cls(
            cells,
            min(speeds) - 0.04 * pad_x,
            max(speeds) + 0.04 * pad_x,
            min(points) - 0.06 * pad_y,
            max(points) + 0.06 * pad_y,
        )

    def drawn(self, models: Sequence[PricedModel], metric: str) -> str:
        unnamed = self._mark(models)
        self._lead(frontier(models))
        numbers = {self.row(value): text for value, text in linear_ticks(self.low, self.high)}
        lines = [f"  points of {metric} compared with the run"]
        for row, cells in enumerate(self.cells):
            number = numbers.get(row, "")
            lines.append(f"{number:>{MARGIN - 2}} {'+' if number else '|'}{''.join(cells)}")
        lines += self._axis()
        lines.append("  texts a second, one thread;  * kept,  o to choose,  x to compare with")
        if unnamed:
            lines.append(f"  without its name: {', '.join(unnamed)}")
        return "\n".join(line.rstrip() for line in lines)

    def column(self, texts_per_second: float) -> int:
        share = (math.log10(texts_per_second) - self.slow) / (self.fast - self.slow)
        return round(min(max(share, 0.0), 1.0) * (WIDTH - MARGIN - 1))

    def row(self, points: float) -> int:
        return round((self.high - points) / (self.high - self.low) * (HEIGHT - 1))

    def _mark(self, models: Sequence[PricedModel]) -> list[str]:
        """Puts signs and names into the cells; returns the names that found no room."""
        width = WIDTH - MARGIN
        places = NamePlaces(Box(0, -0.5, width, HEIGHT - 0.5), line=1, gap=2)
        at = [(self.column(one.texts_per_second), self.row(one.points)) for one in models]
        # Where several are in one cell, the kept one shows.
        for one, (x, y) in sorted(
            zip(models, at, strict=True), key=lambda each: -ord(each[0].sign)
        ):
            self.cells[y][x] = one.sign
            places.add_point(x + 0.5, y)
        unnamed = []
        for one, (x, y) in zip(models, at, strict=True):
            name = one.name[: width - 4]
            box = places.place(x + 0.5, y, len(name))
            if box is None:
                unnamed.append(one.name)
                continue
            left = min(max(math.floor(box.left), 0), width - len(name))
            self.cells[round(box.top + 0.5)][left : left + len(name)] = name
        return unnamed

    def _lead(self, models: Sequence[PricedModel]) -> None:
        """Dots from each point to the next, in cells that are free."""
        at = [(self.column(one.texts_per_second), self.row(one.points)) for one in models]
        for (x, y), (to_x, to_y) in pairwise(at):
            steps = max(abs(to_x - x) // 2, abs(to_y - y), 1)
            for step in range(1, steps):
                share = step / steps
                row, column = round(y + share * (to_y - y)), round(x + share * (to_x - x))
                if self.cells[row][column] == " ":
                    self.cells[row][column] = "."

    def _axis(self) -> list[str]:
        width = WIDTH - MARGIN
        line, numbers = ["-"] * width, [" "] * (width + MARGIN)
        values = log_ticks(10**self.slow, 10**self.fast)
        for value, text in spread_ticks(values, self.column, lambda text: len(text) + 2):
            at = self.column(value)
            start = min(at + MARGIN - len(text) // 2, width + MARGIN - len(text))
            line[at] = "+"
            numbers[start : start + len(text)] = text
        return [" " * (MARGIN - 1) + "+" + "".join(line), "".join(numbers)]


# Axes --------------------------------------------------------------------------------------------


def linear_ticks(low: float, high: float, most: int = 6) -> list[tuple[float, str]]:
    """Round numbers between two values, at most ``most``, each with its text."""
    rough = (high - low) / most
    power = 10 ** math.floor(math.log10(rough))
    step = next(power * times for times in (1, 2, 5, 10) if power * times >= rough)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    ticks = [(n * step, f"{n * step:.{decimals}f}") for n in range(first, last + 1)]
    return [(value, "0" if not float(text) else text) for value, text in ticks]


def spread_ticks(
    values: Sequence[float], at: Callable[[float], float], width: Callable[[str], float]
) -> list[tuple[float, str]]:
    """The values whose numbers don't meet on an axis, each with its text.

    Parameters
    ----------
    values
        In ascending order.
    at
        The middle of a value's number on the axis.
    width
        The width of a text, with a space after it.
    """
    kept: list[tuple[float, str]] = []
    free = -math.inf
    for value in values:
        text = f"{value:,.6g}"
        if at(value) - width(text) / 2 >= free:
            kept.append((value, text))
            free = at(value) + width(text) / 2
    return kept


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between two values; the two values where these are
    fewer."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [times * 10.0**power for power in powers for times in (1, 2, 5)]
    found = [value for value in found if low <= value <= high]
    return found if len(found) > 1 else [float(f"{value:.2g}") for value in (low, high)]
