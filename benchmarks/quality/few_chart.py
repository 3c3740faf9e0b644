"""The picture of few_rows.py: score against rows, onelayer's and the peers'."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

from benchmarks.quality.few_table import OURS, Cell, cells, size_order
from benchmarks.support.few_results import Results
from benchmarks.support.few_sets import FewSet
from benchmarks.support.speed_chart import INK, STYLE
from benchmarks.support.speed_chart import OURS as OUR_COLOUR

LINES = {
    "onelayer": (OURS,),
    "SetFit": ("setfit",),
    "logistic regression": ("lr-embedding",),
    "Trainer, better rate": ("trainer-2e-5", "trainer-5e-5"),
    "TF-IDF": ("tfidf",),
}
"""The lines with their sides; a line of several sides is the better one's, set by set."""
COLOURS = dict(zip(LINES, (OUR_COLOUR, "#c2703d", "#8a8f9c", "#5f9ea0", "#b0a27a"), strict=True))

Grid = dict[str, dict[str, Cell]]
"""Cells by set and size."""


def save_chart(results: Results, sets: Sequence[FewSet], path: Path) -> None:
    """Two panels: the sets that SetFit was measured on with the fewest rows, and the others."""
    grid, sizes = complete(cells(results, sets))
    if not grid:
        raise SystemExit("nothing to draw: no set has results")
    with_setfit = [name for name in grid if grid[name][sizes[0]].scores("setfit")]
    panels = {
        "Single texts": with_setfit,
        "Pairs and many labels": [name for name in grid if name not in with_setfit],
    }
    panels = {title: names for title, names in panels.items() if names}
    plt.rcParams |= STYLE
    figure, axes = plt.subplots(
        1, len(panels), figsize=(8.6, 3), layout="constrained", squeeze=False
    )
    for axis, (title, names) in zip(axes[0], panels.items(), strict=True):
        draw_lines(axis, f"{title}: mean score of {len(names)} sets", grid, names, sizes)
    axes[0][0].legend(frameon=False, labelcolor=INK, loc="lower right", fontsize=8)
    figure.savefig(path, transparent=True, metadata={"Date": None})
    print(f"{path}: {', '.join(grid)}; {', '.join(sizes)}")


def complete(found: Sequence[Cell]) -> tuple[Grid, list[str]]:
    """The cells of ours, or of the first peer before ours was measured, and their sizes.

    A mean over other sets for each size would draw a line that jumps: a size is left out if a set
    lacks it that the smallest size has.
    """
    main = OURS if any(cell.scores(OURS) for cell in found) else "lr-embedding"
    grid: Grid = {}
    for cell in found:
        if cell.scores(main):
            grid.setdefault(cell.few_set.name, {})[cell.size] = cell
    measured = sorted((cell for row in grid.values() for cell in row.values()), key=size_order)
    sizes = list(dict.fromkeys(cell.size for cell in measured))
    grid = {name: row for name, row in grid.items() if sizes[0] in row}
    return grid, [size for size in sizes if all(size in row for row in grid.values())]


def draw_lines(
    axis: Any, title: str, grid: Grid, names: Sequence[str], sizes: Sequence[str]
) -> None:
    """A line has a point where every set has a score."""
    for label, sides in LINES.items():
        points = {}
        for i, size in enumerate(sizes):
            scores = [best_mean(grid[name][size], sides) for name in names]
            known = [score for score in scores if score is not None]
            if len(known) == len(names):
                points[i] = mean(known)
        mine = label == "onelayer"
        axis.plot(
            list(points),
            list(points.values()),
            label=label,
            color=COLOURS[label],
            linewidth=2.4 if mine else 1.4,
            marker="o",
            markersize=4.5 if mine else 3,
            zorder=3 if mine else 2,
        )
    axis.set_xticks(range(len(sizes)), [words(size) for size in sizes])
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(length=0)
    axis.grid(axis="y", color=INK, alpha=0.2, linewidth=0.6)
    axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axis.set_xlabel("labelled rows", color=INK)


def best_mean(cell: Cell, sides: Sequence[str]) -> float | None:
    means = [mean(scores.values()) for side in sides if (scores := cell.scores(side))]
    return max(means, default=None)


def words(size: str) -> str:
    if size == "all":
        return "all"
    return f"{size[:-1]} a class" if size.endswith("c") else f"{int(size):,}"
