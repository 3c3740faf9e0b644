"""The table of few_rows.py: every side's scores, and how far ours is from the best peer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import mean, stdev

from benchmarks.support.few_results import Result, Results
from benchmarks.support.few_sets import FewSet

OURS = "ours"
SLOWEST = "setfit"
"""The peer whose spread and time the goals of few_rows.py name."""


@dataclass(frozen=True)
class Margin:
    """Ours minus the best peer, over the seeds that both have."""

    peer: str
    value: float
    error: float
    """The standard error of ``value``, from the differences of the seeds; nan for one seed."""

    @property
    def is_below(self) -> bool:
        """Whether ours is worse by more than one standard error, or at all after one seed."""
        return self.value < 0 if math.isnan(self.error) else self.value < -self.error

    def __str__(self) -> str:
        error = "" if math.isnan(self.error) else f" ± {self.error:.1f}"
        return f"{self.value:+.1f}{error}"


@dataclass
class Cell:
    """The results of one set and size: by side, by seed."""

    few_set: FewSet
    size: str
    rows: int
    test_rows: int
    runs: dict[str, dict[int, Result]] = field(default_factory=dict)

    def scores(self, side: str) -> dict[int, float]:
        """The set's metric by seed. Empty if the side was left out, or was too slow."""
        return {
            seed: result.scores[self.few_set.metric]
            for seed, result in self.runs.get(side, {}).items()
            if result.scores is not None
        }

    def margin(self) -> Margin | None:
        """The peer with the highest mean is the best one, each over the seeds that ours has."""
        ours = self.scores(OURS)
        shared = {
            side: {seed: score for seed, score in self.scores(side).items() if seed in ours}
            for side in self.runs
            if side != OURS
        }
        shared = {side: scores for side, scores in shared.items() if scores}
        if not shared:
            return None
        peer, theirs = max(shared.items(), key=lambda each: mean(each[1].values()))
        differences = [ours[seed] - score for seed, score in theirs.items()]
        error = math.nan
        if len(differences) > 1:
            error = stdev(differences) / math.sqrt(len(differences))
        return Margin(peer, mean(differences), error)

    def shown(self, side: str) -> str:
        scores = list(self.scores(side).values())
        if scores:
            return spread(scores)
        return "too slow" if self.runs.get(side) else "–"

    def spread_ratio(self) -> float | None:
        """Our standard deviation over the seeds, as a share of SetFit's."""
        ours, theirs = (list(self.scores(side).values()) for side in (OURS, SLOWEST))
        if min(len(ours), len(theirs)) < 3 or not stdev(theirs):
            return None
        return stdev(ours) / stdev(theirs)

    def time_ratio(self) -> float | None:
        """Our seconds as a share of SetFit's, over the seeds that both have."""
        both = self.scores(OURS).keys() & self.scores(SLOWEST).keys()
        if not both:
            return None
        ours, theirs = (
            sum(self.runs[side][seed].seconds for seed in both) for side in (OURS, SLOWEST)
        )
        return ours / theirs


def cells(results: Results, sets: Iterable[FewSet]) -> list[Cell]:
    """In the order of ``sets``, small sizes first."""
    by_name = {each.name: each for each in sets}
    order = {name: i for i, name in enumerate(by_name)}
    found: dict[tuple[str, str, str, int], Cell] = {}
    for result in results.values():
        if result.set not in by_name:
            continue
        key = (result.set, result.size, result.model, result.test_rows)
        few_set = by_name[result.set]
        cell = found.setdefault(key, Cell(few_set, result.size, result.rows, result.test_rows))
        cell.runs.setdefault(result.side, {})[result.seed] = result
    return sorted(found.values(), key=lambda cell: (order[cell.few_set.name], cell.rows))


def print_table(results: Results, sets: Sequence[FewSet], sides: Sequence[str]) -> None:
    """Markdown: scores are means ± standard deviations over the seeds."""
    found = cells(results, sets)
    columns = ["set", "train rows", "test rows", "metric", *sides, "ours − best peer", "best peer"]
    print_rows(columns, (table_row(cell, sides) for cell in found))
    print()
    columns = ["half", "size", "comparisons", "mean margin", "below by more than an error"]
    print_rows([*columns, "deviation / SetFit's", "seconds / SetFit's"], summary(found))
    for cell in found:
        if (margin := cell.margin()) and margin.is_below:
            where = f"{cell.few_set.name} ({cell.few_set.half}), {cell.size}"
            print(f"\nBelow: {where}: {margin} against {margin.peer}.")
    for line in sorted({result.machine for result in results.values()}):
        print(f"\n{line}")


def table_row(cell: Cell, sides: Sequence[str]) -> list[str]:
    margin = cell.margin()
    return [
        cell.few_set.name,
        cell.size if cell.size.isdigit() else f"{cell.size} ({cell.rows:,})",
        f"{cell.test_rows:,}",
        cell.few_set.metric,
        *(cell.shown(side) for side in sides),
        *((str(margin), margin.peer) if margin else ("–", "–")),
    ]


def summary(found: Sequence[Cell]) -> Iterator[list[str]]:
    """A line for each size of each half, and one for each half."""
    for half in ("choose", "confirm"):
        of_half = [cell for cell in found if cell.few_set.half == half]
        for size in dict.fromkeys(cell.size for cell in sorted(of_half, key=size_order)):
            yield from summed(half, size, [cell for cell in of_half if cell.size == size])
        yield from summed(half, "all sizes", of_half)


def size_order(cell: Cell) -> tuple[bool, bool, int]:
    digits = cell.size.rstrip("c")
    return (cell.size == "all", cell.size.isdigit(), int(digits) if digits.isdigit() else 0)


def summed(half: str, size: str, chosen: Sequence[Cell]) -> Iterator[list[str]]:
    margins = [margin for cell in chosen if (margin := cell.margin())]
    if not margins:
        return
    ratios = ([cell.spread_ratio() for cell in chosen], [cell.time_ratio() for cell in chosen])
    yield [
        *(half, size, str(len(margins))),
        f"{mean(margin.value for margin in margins):+.1f}",
        str(sum(margin.is_below for margin in margins)),
        *(geometric([ratio for ratio in each if ratio]) for each in ratios),
    ]


def geometric(ratios: Sequence[float]) -> str:
    return f"{math.exp(mean(map(math.log, ratios))):.2f}" if ratios else "–"


def spread(scores: Sequence[float]) -> str:
    shown = f"{mean(scores):.1f}"
    return shown if len(scores) < 2 else f"{shown} ± {stdev(scores):.1f}"


def print_rows(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print("|", " | ".join(columns), "|")
    print("|" + "---|" * len(columns))
    for row in rows:
        print("|", " | ".join(row), "|")
