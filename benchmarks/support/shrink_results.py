"""The results of shrink.py: a line of JSON for each ladder, and the table that is made of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

from onelayer.base.json_values import from_plain, to_plain
from onelayer.shrinking.rung import Rung

GOALS = ((2.0, 0.5), (4.0, 2.0), (15.0, 5.0))
"""The least multiple of the speed of the run's int8 bundle, and the most points lost for it."""
ABOVE_COUNTS = 3.0
"""Points that the fastest of them is to be above TF-IDF with a linear model."""
SMALL_BYTES, SMALL_LOSS = 3e6, 2.0
"""The most bytes of the smallest rung, and the most points lost for it."""


@dataclass(frozen=True, kw_only=True)
class LadderResult:
    """A run's ladder, as `onelayer.shrink` measured it."""

    set: str
    seed: int
    model: str
    rows: int
    """Rows of the training file."""
    commit: str
    baseline: str
    """The rung that speeds are compared with: the run's own int8 bundle."""
    kept: str
    """The rung that was chosen without a budget."""
    rungs: tuple[Rung, ...]
    counted: float | None
    """The test score of scikit-learn's TF-IDF and linear model; None for tasks without one."""
    train_seconds: float | None
    """None where the run was there already."""
    shrink_seconds: float
    machine: str

    @property
    def identity(self) -> tuple[str, int, str, int]:
        """Of two results with the same identity the later one counts."""
        return self.set, self.seed, self.model, self.rows

    def rung(self, name: str) -> Rung:
        return next(rung for rung in self.rungs if rung.name == name)

    def times(self, name: str, threads: int) -> float:
        """The texts a second of a rung, as a multiple of the baseline's."""
        speeds = [self.rung(each).speeds.get(threads) for each in (name, self.baseline)]
        if speeds[0] is None or speeds[1] is None:
            return math.nan
        return speeds[0].texts_per_second / speeds[1].texts_per_second


Ladders = dict[tuple[str, int, str, int], LadderResult]


def newest(out: Path) -> Ladders:
    """The results in a file, by their identity."""
    if not out.exists():
        return {}
    lines = out.read_text(encoding="utf-8").splitlines()
    found: Iterable[LadderResult] = (from_plain(LadderResult, json.loads(line)) for line in lines)
    return {result.identity: result for result in found}


def append(result: LadderResult, out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(to_plain(result)) + "\n")


@dataclass(frozen=True)
class Cell:
    """One rung of one set, over the seeds."""

    set: str
    model: str
    rows: int
    name: str
    seeds: Sequence[LadderResult]

    @property
    def rungs(self) -> list[Rung]:
        return [result.rung(self.name) for result in self.seeds]

    @property
    def reference(self) -> bool:
        return self.rungs[0].reference

    @property
    def megabytes(self) -> float:
        return mean(rung.bytes for rung in self.rungs) / 1e6

    def times(self, threads: int) -> float:
        return mean(result.times(self.name, threads) for result in self.seeds)

    @property
    def lost(self) -> list[float]:
        """Points lost against the run on the test rows, by seed."""
        return [(rung.test or rung.dev).lost for rung in self.rungs]

    @property
    def above_counts(self) -> list[float]:
        """Points above scikit-learn's linear model on the test rows."""
        return [
            100 * ((result.rung(self.name).test or result.rung(self.name).dev).score - counted)
            for result in self.seeds
            if (counted := result.counted) is not None
        ]

    def line(self) -> list[str]:
        scores = [rung.test or rung.dev for rung in self.rungs]
        surely = sum(score.p < 0.05 for score in scores)
        most = max(self.rungs[0].speeds)
        kept = sum(result.kept == self.name for result in self.seeds)
        return [
            f"{self.set} ({self.rows:,})",
            self.name + ("" if not kept else f" *{kept}"),
            f"{self.megabytes:.1f}",
            f"{mean(rung.speeds[1].latency_ms for rung in self.rungs):.3f}",
            f"{self.times(1):.2f}",
            "–" if most == 1 else f"{self.times(most):.2f}",
            spread([100 * score.score for score in scores]),
            spread([rung.dev.lost for rung in self.rungs]),
            spread(self.lost),
            f"{surely} of {len(scores)}",
            spread(self.above_counts, "+") if self.above_counts else "–",
        ]


HEAD = [
    *("set (train rows)", "rung", "MB", "ms a text", "times int8, 1 thread", "times int8, all"),
    *("test score", "dev points lost", "test points lost", "p < 0.05", "above TF-IDF"),
]


def cells(results: Iterable[LadderResult]) -> list[Cell]:
    """The rungs of each set and model in the order of their ladders."""
    by_set: dict[tuple[str, str, int], list[LadderResult]] = {}
    for result in results:
        by_set.setdefault((result.set, result.model, result.rows), []).append(result)
    found = []
    for (name, model, rows), seeds in by_set.items():
        for rung in dict.fromkeys(rung.name for result in seeds for rung in result.rungs):
            has = [result for result in seeds if rung in (each.name for each in result.rungs)]
            found.append(Cell(name, model, rows, rung, has))
    return found


def print_table(results: Sequence[LadderResult]) -> None:
    """Markdown: means ± standard deviations over the seeds, and what is reached of the goals."""
    found = cells(results)
    for model in dict.fromkeys(cell.model for cell in found):
        print(f"\n{model}; `*n`: chosen without a budget, in n of the seeds\n")
        print_rows(HEAD, (cell.line() for cell in found if cell.model == model))
        print()
        head = ["set (train rows)", "goal", "reached", "by"]
        print_rows(head, reached([cell for cell in found if cell.model == model]))
    for result in results:
        trained = "" if result.train_seconds is None else f"training {result.train_seconds:.0f} s, "
        print(
            f"\n{result.set}, seed {result.seed}: {trained}shrinking {result.shrink_seconds:.0f} s"
            f" for {result.rows:,} rows; {result.commit}",
            end="",
        )
    print("\n")
    for line in sorted({result.machine for result in results}):
        print(line)


def reached(found: Sequence[Cell]) -> Iterator[list[str]]:
    """For each set and goal the rung that comes closest to it."""
    for key in dict.fromkeys((cell.set, cell.rows) for cell in found):
        own = [cell for cell in found if (cell.set, cell.rows) == key and not cell.reference]
        for times, points in GOALS:
            fast = [cell for cell in own if cell.times(1) >= times]
            goal = f">= {times:g} times for <= {points:g} points"
            yield [f"{key[0]} ({key[1]:,})", goal, *_best(fast, points)]
        if above := [cell for cell in own if cell.times(1) >= GOALS[-1][0] and cell.above_counts]:
            best = max(above, key=lambda cell: mean(cell.above_counts))
            over = mean(best.above_counts)
            goal = f"that one >= {ABOVE_COUNTS:g} points above TF-IDF"
            yield [f"{key[0]} ({key[1]:,})", goal, _yes(over >= ABOVE_COUNTS), f"{over:+.1f}"]
        small = [cell for cell in own if cell.megabytes * 1e6 <= SMALL_BYTES]
        goal = f"<= {SMALL_BYTES / 1e6:g} MB for <= {SMALL_LOSS:g} points"
        smallest = min(own, key=lambda cell: cell.megabytes)
        missed = f"the smallest, {smallest.name}, has {smallest.megabytes:.1f} MB"
        yield [f"{key[0]} ({key[1]:,})", goal, *_best(small, SMALL_LOSS, missed)]


def _best(fit: Sequence[Cell], points: float, none: str = "no rung is as fast") -> tuple[str, str]:
    if not fit:
        return "no", none
    best = min(fit, key=lambda cell: mean(cell.lost))
    said = f"{best.name}: {best.times(1):.1f} times, {mean(best.lost):.1f} points"
    return _yes(mean(best.lost) <= points), said


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "no"


def spread(values: Sequence[float], sign: str = "") -> str:
    shown = f"{mean(values):{sign}.1f}"
    return shown if len(values) < 2 else f"{shown} ± {stdev(values):.1f}"


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print("|", " | ".join(columns), "|")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("|", " | ".join(row), "|")
