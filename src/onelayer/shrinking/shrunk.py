"""What shrinking a run gives: the ladder of smaller models, measured, and the one to take."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from onelayer.base.disk import as_json, rewrite
from onelayer.base.json_values import from_plain
from onelayer.base.result import Result, Table
from onelayer.shrinking.pareto import PricedModel, frontier, picture_in_text
from onelayer.shrinking.rung import Rung, RungScore

LADDER = "shrink.json"
"""In the ladder's folder: all that was measured."""
MAX_P = 0.05
"""The significance level: a difference with a smaller p-value is called real."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Shrunk(Result):
    """The smaller models below a run, each with its price, and the one that was written."""

    run: str
    folder: str
    """The ladder's folder: a run and a bundle for each rung."""
    baseline: str
    """The rung that speeds are compared with: the run's own int8 bundle."""
    kept: str | None
    """The rung that was written as the result; None where none keeps the budget."""
    model: str | None
    """The bundle that was written."""
    rungs: tuple[Rung, ...]
    budget: str | None = None
    """What was asked for, such as ``2ms``; None for the knee."""
    advice: str
    machine: str
    threads: int
    """The most threads that were measured."""
    versions: Mapping[str, str]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_json`. Raises ValueError for values that it didn't write."""
        made = from_plain(cls, values)
        names = [rung.name for rung in made.rungs]
        for role in ("baseline", "kept"):
            name = getattr(made, role)
            if name not in names and (name, role) != (None, "kept"):
                raise ValueError(f"{role} names no rung: {name!r:.80}")
        return made  # type: ignore[no-any-return]

    @classmethod
    def read(cls, folder: Path) -> Self:
        """From the ladder's folder. Raises OSError and ValueError for a file that can't be read."""
        return cls.from_json(json.loads((folder / LADDER).read_text(encoding="utf-8")))

    def write(self) -> None:
        """Writes ``shrink.json``, in one move. Raises OneLayerError where the disk refuses."""
        rewrite(Path(self.folder, LADDER), as_json(self.to_json()))

    def rung(self, name: str) -> Rung:
        return next(rung for rung in self.rungs if rung.name == name)

    def times(self, rung: Rung, threads: int = 1) -> float:
        """The speed of a rung, in texts a second, as a multiple of the baseline's."""
        own = rung.speeds.get(threads), self.rung(self.baseline).speeds.get(threads)
        if own[0] is None or own[1] is None:
            return math.nan
        return own[0].texts_per_second / own[1].texts_per_second

    @property
    def splits(self) -> Mapping[str, Mapping[str, RungScore]]:
        """``dev`` and, where it was given, ``test``: the score of each rung there, by its name."""
        dev = {rung.name: rung.dev for rung in self.rungs}
        test = {rung.name: rung.test for rung in self.rungs if rung.test}
        return {"dev": dev, **({"test": test} if test else {})}

    @property
    def judged(self) -> Mapping[str, RungScore]:
        """The scores that the picture and the advice show: on test, or without one on dev."""
        return list(self.splits.values())[-1]

    def priced(self) -> list[PricedModel]:
        """The rungs with a score and a speed, as points of a picture."""
        return priced(self.rungs, self.kept)

    def parts(self) -> list[str | Table]:
        asked = f", budget {self.budget}" if self.budget else ""
        head = f"{Path(self.run).name or self.run}, {len(self.rungs)} rungs{asked}"
        kept = f"* {self.kept} is kept" if self.kept else "none is kept"
        parts: list[str | Table] = [f"{head}; {kept}", self.speed_table()]
        for split, scores in self.splits.items():
            one = next(iter(scores.values()))
            rows = f"{one.rows:,} rows"
            parts.append(f"{split}: {one.file}, {rows}; p is that of the paired test with the run")
            parts.append(self.score_table(scores))
        if picture := picture_in_text(self.priced(), next(iter(self.judged.values())).metric):
            parts.append(picture)
        end = f"saved {self.model}" if self.model else f"models and report.html: {self.folder}"
        return [*parts, self.advice, end]

    def speed_table(self) -> list[list[str]]:
        """Bytes and speeds, with two lines of heads."""
        counts = sorted({count for rung in self.rungs for count in rung.speeds})
        above, heads = ["", ""], ["rung", "MB"]
        for count in counts:
            above += ["1 thread" if count == 1 else f"{count} threads", "", ""]
            heads += ["ms a text", "texts/s", "times"]
        lines = [above, heads]
        for rung in self.rungs:
            cells = [self._marked(rung.name), decimal_text(rung.bytes / 1e6)]
            for count in counts:
                speed = rung.speeds.get(count)
                if speed is None:
                    cells += ["–", "–", "–"]
                    continue
                ms, per_second = decimal_text(speed.latency_ms), speed.texts_per_second
                cells += [ms, f"{per_second:,.0f}", decimal_text(self.times(rung, count))]
            lines.append(cells)
        return lines

    def score_table(self, scores: Mapping[str, RungScore]) -> list[list[str]]:
        metric = next(iter(scores.values())).metric
        lines = [["rung", metric, "95 % interval", "points lost", "95 % interval", "p"]]
        for name, one in scores.items():
            cells = [self._marked(name), score_text(one.score), score_interval(one)]
            cells += [points_text(one.lost), points_interval(one), probability_text(one.p)]
            lines.append(cells)
        return lines

    def _marked(self, name: str) -> str:
        return f"{'*' if name == self.kept else ' '} {name}"


def priced(rungs: Sequence[Rung], kept: str | None) -> list[PricedModel]:
    """The rungs with a score and a speed, as points of a picture."""
    found = []
    for rung in rungs:
        sign = "x" if rung.reference else "*" if rung.name == kept else "o"
        one = rung.test or rung.dev
        if math.isfinite(one.lost) and rung.speed.texts_per_second > 0:
            found.append(PricedModel(rung.name, rung.speed.texts_per_second, -one.lost, sign))
    return found


def advice_on(rungs: Sequence[Rung], kept: str, baseline: str, budget: str | None) -> str:
    """What to take and what it costs, in one line: on test where it was given, else on dev."""
    named = {rung.name: rung for rung in rungs}
    rung, speed = named[kept], named[baseline].speed.texts_per_second

    def times(one: Rung) -> str:
        return f"{decimal_text(one.speed.texts_per_second / speed)} x"

    said = f"keep {kept}" if kept == baseline else f"take {kept}"
    said += f" for {budget}" if budget else ""
    if kept != baseline:
        said += f": {times(rung)} the speed of {baseline}, {_price(rung.test or rung.dev)}"
    faster = [one for one in frontier(priced(rungs, kept)) if named[one.name].model]
    after = [one for one in faster if one.texts_per_second > rung.speed.texts_per_second]
    if after:
        further = named[after[0].name]
        lost = points_text((further.test or further.dev).lost)
        said += f"; faster is {further.name}: {times(further)}, {lost} points lost"
    for other in rungs:
        if other.reference and _score(other) >= _score(rung):
            figures = f"{score_text(_score(other))} against {score_text(_score(rung))}"
            said += f"; but {other.name} scores as well ({figures}): take that instead"
    return said


def _score(rung: Rung) -> float:
    return (rung.test or rung.dev).score


def _price(one: RungScore) -> str:
    """Points and whether they are more than chance."""
    if math.isnan(one.p) or math.isnan(one.lost_interval[0]):
        return lost_text(one)
    chance = "a real difference" if one.p < MAX_P else "no real difference"
    return f"{lost_text(one)} ({points_interval(one)}; {chance}, p = {one.p:.2g})"


def lost_text(one: RungScore) -> str:
    """``0.3 points of accuracy lost``, or gained."""
    size = points_text(abs(one.lost))
    gained = one.lost < 0 and size != "0.0"
    return f"{size} points of {one.metric} {'gained' if gained else 'lost'}"


# Figures -----------------------------------------------------------------------------------------


def decimal_text(value: float) -> str:
    """A size, a time or a multiple: two decimals below 1, one below 100, then none."""
    if math.isnan(value):
        return "–"
    return f"{value:,.{2 if value < 0.995 else 1 if value < 99.95 else 0}f}"


def score_text(value: float) -> str:
    """To a tenth of a point: three decimals of a share, one of a score up to 100."""
    return "–" if math.isnan(value) else f"{value:.{3 if abs(value) <= 1 else 1}f}"


def score_interval(one: RungScore) -> str:
    low, high = one.interval
    return "" if math.isnan(low) else f"{score_text(low)} to {score_text(high)}"


def points_text(value: float) -> str:
    """Points of a score, with one decimal; zero has no sign."""
    if math.isnan(value):
        return "–"
    text = f"{value:.1f}"
    return "0.0" if text == "-0.0" else text


def points_interval(one: RungScore) -> str:
    low, high = one.lost_interval
    return "" if math.isnan(low) else f"{points_text(low)} to {points_text(high)}"


def probability_text(p: float) -> str:
    return "–" if math.isnan(p) else f"{p:.2g}"
