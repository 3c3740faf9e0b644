"""The pictures of a model's report: its learning, lengths, probabilities and errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from onelayer.evaluation.report.drawing import BLUE, FAINT, INK, ORANGE, Picture, svg_picture
from onelayer.evaluation.report.facts import Beliefs, Floats, Learning, Lengths

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

MAX_CURVE_POINTS = 500
"""Of a longer curve, each point is the mean of several steps. More make the page larger."""
MAX_SCATTER_POINTS = 2000


def loss(learning: Learning) -> Picture | None:
    """Each step's loss, and its running mean over a tenth of the run."""
    losses = np.asarray(learning.losses, np.float64)
    if not np.isfinite(losses).any():
        return None

    def draw(axes: Axes) -> None:
        steps, thinned = thin(losses)
        axes.plot(steps, thinned, color=BLUE, alpha=0.3, linewidth=1)
        axes.plot(steps, _running_mean(thinned), color=BLUE)
        _over_steps(axes, len(losses))
        axes.set_ylim(bottom=0)

    return svg_picture(
        draw, f"Training loss over {len(losses):,} steps, from {losses[0]:.3g} to {losses[-1]:.3g}"
    )


def dev_score(learning: Learning) -> Picture | None:
    """The dev score at each evaluation, with the best one marked and its interval as a band: on a
    narrow axis one row more would look like a leap."""
    if not learning.evaluations:
        return None

    def draw(axes: Axes) -> None:
        steps, scores = np.asarray(learning.evaluations).T
        if learning.interval:
            axes.axhspan(*learning.interval, color=BLUE, alpha=0.12, linewidth=0)
        axes.plot(steps, scores, color=BLUE, marker="o", markersize=4)
        best = np.flatnonzero(steps == learning.best_step)
        if best.size:
            at = steps[best[0]], scores[best[0]]
            axes.plot(*at, "o", color=ORANGE, markersize=11, fillstyle="none", markeredgewidth=2)
            axes.annotate(f"{at[1]:.4g}", at, (0, 9), textcoords="offset points", ha="center")
        axes.margins(y=0.2)
        if min(scores.min(), *(learning.interval or (0.0,))) >= 0:
            axes.set_ylim(bottom=max(0.0, axes.get_ylim()[0]))
        _over_steps(axes, max(len(learning.losses), int(steps[-1])))

    scores = learning.evaluations
    says = f"{learning.metric} on dev at {len(scores)} evaluations, last {scores[-1][1]:.4g}"
    if learning.interval:
        low, high = learning.interval
        says += f"; the band is the 95 % interval of the best, {low:.4g} to {high:.4g}"
    return svg_picture(draw, says)


def learning_rate(learning: Learning) -> Picture | None:
    lrs = np.asarray(learning.lrs, np.float64)
    if not lrs.size:
        return None

    power = int(np.floor(np.log10(max(lrs.max(), 1e-12))))

    def draw(axes: Axes) -> None:
        axes.plot(*thin(lrs), color=BLUE)
        axes.yaxis.set_major_formatter(
            lambda value, _: f"{value / 10**power:.3g}e{power}" if value else "0"
        )
        axes.set_ylim(bottom=0)
        _over_steps(axes, len(lrs))

    return svg_picture(draw, f"Learning rate, at most {lrs.max():.2g}")


def throughput(learning: Learning) -> Picture | None:
    """Tokens per second. A point of several steps is their tokens divided by their time."""
    tokens, seconds = (
        np.asarray(values, np.float64) for values in (learning.tokens, learning.seconds)
    )
    if not tokens.size or tokens.size != seconds.size or not (seconds > 0).all():
        return None
    mean = tokens.sum() / seconds.sum()

    def draw(axes: Axes) -> None:
        steps, some = thin(tokens)
        rates = some / thin(seconds)[1]
        axes.plot(steps, rates, color=BLUE, alpha=0.3, linewidth=1)
        axes.plot(steps, _running_mean(rates), color=BLUE)
        axes.axhline(mean, color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_ylim(bottom=0)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        _over_steps(axes, len(tokens))

    return svg_picture(draw, f"Throughput, {mean:,.0f} tokens a second on average")


def lengths(of: Lengths) -> Picture:
    """A histogram on a logarithmic axis, so that tweets and books fit into one picture."""
    there = np.flatnonzero(of.counts[1:]) + 1
    first, last = min(int(there[0]), of.limit), max(int(there[-1]), of.limit)

    def draw(axes: Axes) -> None:
        from matplotlib.ticker import LogLocator, MaxNLocator

        edges = np.round(np.geomspace(first, last + 1, 32)).astype(np.int64)
        # The limit is an edge, so that each bar is on one side of it.
        edges = np.unique([*edges, of.limit + 1])
        sums = np.concatenate([[0], np.cumsum(of.counts)])
        heights = np.diff(sums[np.minimum(edges, len(of.counts))])
        over = edges[:-1] > of.limit
        for some, colour in ((~over, BLUE), (over, ORANGE)):
            left, width = edges[:-1][some], np.diff(edges)[some]
            axes.bar(left, heights[some], width, align="edge", color=colour)
        axes.axvline(of.limit + 1, color=INK, linewidth=1.4, linestyle=(0, (4, 3)))
        axes.set_xscale("log", base=2, subs=[])
        axes.set_xlim(first * 0.9, last * 1.1 + 1)
        axes.margins(y=0.16)  # room for the limit's name
        if last < 4 * first:
            axes.xaxis.set_major_locator(LogLocator(2, subs=(1, 1.25, 1.5, 1.75)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
        right = of.limit**2 > first * last  # right of the middle of the axis
        axes.annotate(
            f"limit {of.limit:,}",
            (of.limit + 1, 1),
            (-4 if right else 4, -2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            ha="right" if right else "left",
            va="top",
        )
        axes.grid(axis="x", visible=False)
        axes.set_xlabel("tokens")

    return svg_picture(
        draw, f"How many sequences have how many tokens, the limit being {of.limit:,}"
    )


def reliability(beliefs: Beliefs) -> Picture:
    """A reliability diagram with 95 % intervals (Wilson 1927): on the diagonal, the predicted
    probability is the share that is correct."""

    def draw(axes: Axes) -> None:
        low, high = _wilson(beliefs.true, beliefs.counts)
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        axes.vlines(beliefs.believed, low, high, color=BLUE, linewidth=1.4)
        axes.plot(beliefs.believed, beliefs.true, color=BLUE, linewidth=1)
        sizes = 12 + 80 * beliefs.counts / beliefs.counts.max()
        axes.scatter(beliefs.believed, beliefs.true, sizes, color=BLUE, linewidths=0, zorder=3)
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_aspect("equal")
        axes.set_xlabel("probability that the model gave")
        axes.set_ylabel("share that was true")

    return svg_picture(
        draw, "Share that was true, for each probability that the model gave", height=4.2
    )


def scatter(gold: Floats, predicted: Floats) -> Picture:
    def draw(axes: Axes) -> None:
        step = -(-len(gold) // MAX_SCATTER_POINTS)
        low = min(gold.min(), predicted.min())
        high = max(gold.max(), predicted.max())
        axes.plot([low, high], [low, high], color=FAINT, linewidth=1, linestyle=(0, (4, 3)))
        axes.plot(
            gold[::step],
            predicted[::step],
            "o",
            color=BLUE,
            alpha=0.45,
            markersize=4,
            markeredgewidth=0,
        )
        _short_numbers(axes.xaxis)
        _short_numbers(axes.yaxis)
        axes.set_xlabel("gold")
        axes.set_ylabel("predicted")

    says = f"Predicted against gold numbers of {len(gold):,} rows"
    return svg_picture(draw, says, height=4.2, left=0.2)  # room for −100000 and the axis's name


def residuals(gold: Floats, predicted: Floats) -> Picture:
    def draw(axes: Axes) -> None:
        from matplotlib.ticker import MaxNLocator

        axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
        heights, edges = np.histogram(predicted - gold, bins=30)
        axes.bar(edges[:-1], heights, np.diff(edges), align="edge", color=BLUE)
        axes.axvline(0, color=INK, linewidth=1.4, linestyle=(0, (4, 3)))
        axes.grid(axis="x", visible=False)
        _short_numbers(axes.xaxis)
        axes.set_xlabel("predicted − gold")

    return svg_picture(draw, "How many rows are off by how much", height=4.2)


def _short_numbers(axis: Axis) -> None:
    """Few numbers, so that large ones don't meet. matplotlib's own formatter would put a common
    factor outside of the picture."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(4))
    axis.set_major_formatter(lambda value, _: _short(value))


def _short(value: float) -> str:
    digits = f"{value:.10g}"
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.9e}".split("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        digits = min(f"{mantissa}e{int(exponent)}", digits, key=len)
    return digits.replace("-", "−")


def _over_steps(axes: Axes, n: int) -> None:
    """Gives every curve of a run the same axis, so that they can be compared."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(-0.02 * n, 1.04 * n)
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.set_xlabel("step")


def thin(values: NDArray[np.float64]) -> tuple[Floats, Floats]:
    """Steps, counted from 1, and values; for a long curve the means of `MAX_CURVE_POINTS` bins."""
    n = len(values)
    steps = np.arange(1, n + 1, dtype=np.float64)
    if n <= MAX_CURVE_POINTS:
        return steps, values
    starts = np.arange(MAX_CURVE_POINTS) * n // MAX_CURVE_POINTS
    sizes = np.diff([*starts, n])
    return np.add.reduceat(steps, starts) / sizes, np.add.reduceat(values, starts) / sizes


def _running_mean(values: Floats) -> Floats:
    """The mean of a tenth of the values around each value, fewer near both ends."""
    half = len(values) // 20
    known = np.isfinite(values)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    at = np.arange(len(values))
    # The window is symmetric also near the ends, or a steep fall would start too low.
    low = at - np.minimum(half, at)
    high = np.minimum(at + np.minimum(half, at) + 1, len(values))
    n = counts[high] - counts[low]
    return np.where(n, (sums[high] - sums[low]) / np.maximum(n, 1), np.nan)


def _wilson(share: Floats, n: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """The 95 % score interval of a share of ``n`` (Wilson 1927)."""
    z = 1.96
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return middle - half, middle + half
