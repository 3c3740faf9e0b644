"""The page of a ladder: what each smaller model costs and brings, with a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from onelayer.base.disk import rewrite
from onelayer.evaluation.report.document import Section, render
from onelayer.evaluation.report.drawing import (
    BLUE,
    FAINT,
    INK,
    ORANGE,
    UNITS_PER_INCH,
    Picture,
    svg_picture,
)
from onelayer.evaluation.report.markup import clip, templates
from onelayer.shrinking.pareto import (
    Box,
    NamePlaces,
    PricedModel,
    frontier,
    log_ticks,
    spread_ticks,
)
from onelayer.shrinking.rung_card import write_rung_cards
from onelayer.shrinking.shrunk import Shrunk, decimal_text, lost_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PAGE = "report.html"
"""In the ladder's folder."""
SIZE = 5.6, 4.2
"""Inches of the picture."""
LETTER, LINE = 6.2, 14.0
"""The width of a letter on average and the height of a line, in units of the picture."""


class LadderLines(NamedTuple):
    """A table with a line for each rung."""

    heads: Sequence[str]
    lines: Sequence[tuple[str, Sequence[str]]]
    kept: str | None
    note: str = ""


class Bar(NamedTuple):
    """The 95 % interval of a model's points."""

    model: PricedModel
    low: float
    high: float


def write_ladder(shrunk: Shrunk) -> None:
    """Writes ``shrink.json`` and ``report.html`` into the ladder's folder, each in one move, and
    adds the price to the bundles' cards. Raises OneLayerError where the disk refuses."""
    write_rung_cards(shrunk)
    shrunk.write()
    rewrite(Path(shrunk.folder, PAGE), ladder_page(shrunk))


def ladder_page(shrunk: Shrunk) -> str:
    """``report.html``. The same ladder gives the same bytes."""
    document = templates("onelayer.shrinking").get_template("ladder.html.jinja")
    kept = shrunk.rung(shrunk.kept) if shrunk.kept else None
    return render(
        document,
        _ladder_sections(shrunk),
        shrunk=shrunk,
        name=Path(shrunk.run).name or shrunk.run,
        times=decimal_text(shrunk.times(kept)) if kept else None,
        lost=lost_text(kept.test or kept.dev) if kept else None,
    )


def _ladder_sections(shrunk: Shrunk) -> Iterator[Section]:
    yield Section("Size and speed", "lines", _speeds(shrunk))
    for split in shrunk.splits:
        yield Section(f"Scores on {split}", "lines", _scores(shrunk, split))
    if models := shrunk.priced():
        one = next(iter(shrunk.judged.values()))
        title = (
            f"Points of {one.metric.replace('_', ' ')} compared with the run, on {clip(one.file)}"
        )
        note = (
            "Farther right is faster, farther up is better. The line leads along the models that "
            "no other one beats in both. Upright lines are 95 % intervals of the difference to the "
            "run on the same rows."
        )
        yield Section("Price", "price", (title, price_picture(shrunk, models), note))
    whats = {rung.name: rung.what for rung in shrunk.rungs}
    yield Section("What each rung is", "described", whats)
    facts = {"machine": shrunk.machine, "run": shrunk.run, "result": shrunk.model or "none"}
    yield Section("How it was measured", "described", {**facts, **shrunk.versions})


def _speeds(shrunk: Shrunk) -> LadderLines:
    _, heads, *lines = shrunk.speed_table()
    counts = sorted({count for rung in shrunk.rungs for count in rung.speeds})
    named = ["1 thread" if count == 1 else f"{count} threads" for count in counts for _ in range(3)]
    titles = [f"{head}, {on}" for head, on in zip(heads[2:], named, strict=True)]
    note = (
        "From text to answer, tokenizing and decoding included; all models took turns. "
        f"Times: as a multiple of the texts a second of {shrunk.baseline}."
    )
    return _table([*heads[:2], *titles], lines, shrunk, note)


def _scores(shrunk: Shrunk, split: str) -> LadderLines:
    scores = shrunk.splits[split]
    heads, *lines = shrunk.score_table(scores)
    one = next(iter(scores.values()))
    note = (
        f"{one.rows:,} rows of {clip(one.file)}. Points lost and their interval are paired: run "
        "and rung answer the same rows. p: how likely a difference of at least this size is if "
        "both are equally good."
    )
    return _table(heads, lines, shrunk, note)


def _table(
    heads: Sequence[str], lines: Sequence[Sequence[str]], shrunk: Shrunk, note: str
) -> LadderLines:
    named = [(line[0].removeprefix("*").strip(), line[1:]) for line in lines]
    return LadderLines(heads, named, shrunk.kept, note)


def price_picture(shrunk: Shrunk, models: Sequence[PricedModel]) -> Picture:
    """Speed on a logarithmic axis against points compared with the run, with paired intervals."""
    scores = shrunk.judged
    bounds = [tuple(-end for end in scores[one.name].lost_interval) for one in models]
    bars = [Bar(one, low, high) for one, (high, low) in zip(models, bounds, strict=True)]
    bars = [bar for bar in bars if math.isfinite(bar.low + bar.high)]

    def draw(axes: Axes) -> None:
        speeds = [one.texts_per_second for one in models]
        ends = [one.points for one in models] + [end for _, *both in bars for end in both]
        low, high = min(ends), max(ends)
        pad = 0.06 * ((high - low) or 1.0)
        axes.set_xscale("log", subs=[])
        axes.set_xlim(min(speeds) / 1.25, max(speeds) * 1.25)
        axes.set_ylim(low - pad, high + pad)
        _number_axis(axes)
        axes.axhline(0, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        along = frontier(models)
        xs, ys = [one.texts_per_second for one in along], [one.points for one in along]
        axes.plot(xs, ys, color=BLUE, linewidth=1, alpha=0.5)
        for one, bottom, top in bars:
            axes.vlines(one.texts_per_second, bottom, top, color=_colour(one), alpha=0.45)
        for one in models:
            mark = "X" if one.sign == "x" else "o"
            size = 10 if one.sign == "*" else 7
            at = one.texts_per_second, one.points
            axes.plot(*at, mark, color=_colour(one), markersize=size, markeredgewidth=0)
        _name(axes, models, bars)
        axes.set_xlabel("texts a second, one thread")

    metric = next(iter(scores.values())).metric
    told = (
        f"{one.name} {one.texts_per_second:,.0f} and {one.points:+.1f}"
        for one in sorted(models, key=lambda one: one.texts_per_second)
    )
    says = f"Texts a second, and points of {metric} compared with the run: {'; '.join(told)}"
    return svg_picture(draw, says, width=SIZE[0], height=SIZE[1])


def _colour(one: PricedModel) -> str:
    return {"*": ORANGE, "o": BLUE, "x": FAINT}[one.sign]


def _number_axis(axes: Axes) -> None:
    """Round numbers on the axis of speeds, as far apart as their texts are wide."""
    low, high = axes.get_xlim()
    width = UNITS_PER_INCH * SIZE[0] * axes.get_position().width

    def at(value: float) -> float:
        return width * math.log(value / low) / math.log(high / low)

    ticks = spread_ticks(log_ticks(low, high), at, lambda text: LETTER * len(text) + 8)
    axes.set_xticks([value for value, _ in ticks], [text for _, text in ticks])
    axes.minorticks_off()


def _name(axes: Axes, models: Sequence[PricedModel], bars: Sequence[Bar]) -> None:
    """Writes each name next to its point, where it covers no other one."""
    width, height = (UNITS_PER_INCH * inches for inches in SIZE)
    area = axes.get_position()
    left, top = area.x0 * width, (1 - area.y1) * height
    right, bottom = area.x1 * width, (1 - area.y0) * height

    def place(texts_per_second: float, points: float) -> tuple[float, float]:
        """In units of the picture, from its upper left corner."""
        shown = axes.transData.transform((texts_per_second, points))
        x, y = axes.transAxes.inverted().transform(shown)
        return left + x * (right - left), bottom - y * (bottom - top)

    places = NamePlaces(Box(left, top, right, bottom), line=LINE, gap=9)
    for one, low, high in bars:
        (x, y_low), (_, y_high) = (place(one.texts_per_second, end) for end in (low, high))
        places.lines.append(Box(x - 2, y_high, x + 2, y_low))
    level = place(models[0].texts_per_second, 0)[1]
    places.lines.append(Box(left, level - 1, right, level + 1))
    along = [place(one.texts_per_second, one.points) for one in frontier(models)]
    for (x, y), (to_x, to_y) in pairwise(along):
        for share in (step / 40 for step in range(41)):
            here = x + share * (to_x - x), y + share * (to_y - y)
            places.lines.append(Box(here[0] - 1, here[1] - 1, here[0] + 1, here[1] + 1))
    at = [place(one.texts_per_second, one.points) for one in models]
    for x, y in at:
        places.add_point(x, y)
    for one, (x, y) in zip(models, at, strict=True):
        name = clip(one.name, 30)
        box = places.place(x, y, LETTER * len(name))
        if box is None:
            continue  # the table and the text for screen readers have it
        middle = (box.left + box.right) / 2, (box.top + box.bottom) / 2
        axes.annotate(
            name,
            (middle[0] / width, 1 - middle[1] / height),
            xycoords="figure fraction",
            ha="center",
            va="center",
            color=INK,
            weight="bold" if one.sign == "*" else "normal",
        )
