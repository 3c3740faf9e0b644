"""The tables of a report: scores, classes, confusions, and what the run was made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from onelayer.evaluation.report.facts import Confusions, Evaluation
from onelayer.evaluation.report.markup import Html, clipped, join, tag

MATRIX = 30
"""Classes up to which the whole confusion matrix is drawn; of more the most frequent confusions."""
SHOWN = 40
"""Lines of a long table that stand open."""
MOST = 500
"""Lines of a table at all."""


def figure(value: Any) -> str:
    """A number as people read it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) > 1):
        return f"{value:,.0f}"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1 or value in (0, 1) else f"{value:,.4g}"


def scores(of: Evaluation) -> Html:
    """Each score beside its interval, in numbers and on a line from 0 to 1 (or 100)."""
    lines = []
    for name, value in of.scores.items():
        low, high = of.intervals.get(name, (math.nan, math.nan))
        interval = f"{figure(low)} to {figure(high)}" if math.isfinite(low + high) else ""
        lines.append(
            tag(
                "tr",
                tag("th", name.replace("_", " "), scope="row"),
                tag("td", figure(value), class_="n"),
                tag("td", interval, class_="n"),
                tag("td", _whisker(value, low, high, _scale(name, of)), class_="whisker"),
            )
        )
    return _table(("score", "value", "95 % interval", ""), lines)


def _scale(name: str, of: Evaluation) -> float | None:
    """What a perfect score is; None for errors, which have no end."""
    if name in ("rmse", "mae", "log_loss", "set_size"):
        return None
    return 100.0 if "em" in of.scores else 1.0


def _whisker(value: float, low: float, high: float, scale: float | None) -> Html:
    if scale is None or not math.isfinite(value + low + high):
        return Html("")
    at, left, right = (100 * min(max(v / scale, 0.0), 1.0) for v in (value, low, high))
    return join(
        [
            tag("i", style=f"left:{left:.2f}%;width:{right - left:.2f}%"),
            tag("b", style=f"left:{at:.2f}%"),
        ]
    )


def by_label(of: Mapping[str, Mapping[str, float]], heading: str) -> Html:
    """A line a class. Where there are many, the rest is folded away."""
    columns = list(next(iter(of.values())))
    lines = [
        tag(
            "tr",
            tag("th", clipped(label), scope="row"),
            *(_bar(column, values[column]) for column in columns),
        )
        for label, values in list(of.items())[:MOST]
    ]
    heads = (heading, *columns)
    more = len(of) - MOST
    note = tag("p", f"{more:,} more are left out.") if more > 0 else Html("")
    rest = lines[SHOWN:]
    folded = (
        tag("details", tag("summary", f"{len(rest):,} more"), _table(heads, rest)) if rest else ""
    )
    return join([_table(heads, lines[:SHOWN]), folded, note])


def _bar(column: str, value: float) -> Html:
    """A cell; one of a share is filled to it."""
    is_share = column in ("precision", "recall", "f1")
    style = f"--share:{value:.4f}" if is_share else None
    said = f"{value:.3f}" if is_share or column == "threshold" else figure(value)
    return tag("td", said, class_="n share" if is_share else "n", style=style)


def confusion_matrix(of: Confusions) -> Html:
    """Every gold class as a line, shaded by where its items went."""
    shares = of.counts / np.maximum(of.counts.sum(axis=1, keepdims=True), 1)
    many = len(of.labels) > 8 or max(map(len, of.labels)) > 16
    heads = [tag("th", tag("span", clipped(label, 30)), scope="col") for label in of.labels]
    lines = []
    for i, label in enumerate(of.labels):
        cells = [
            tag(
                "td",
                f"{count:,}" if count else "·",
                class_="hit" if i == j else "miss",
                style=f"--share:{100 * shares[i, j]:.0f}%",
                title=f"{clipped(label)} taken for {clipped(of.labels[j])}: {count:,}",
            )
            for j, count in enumerate(of.counts[i].tolist())
        ]
        lines.append(tag("tr", tag("th", clipped(label, 30), scope="row"), *cells))
    corner = tag("td", "gold ↓ predicted →", class_="corner")
    head = tag("thead", tag("tr", corner, *heads))
    table = tag("table", head, tag("tbody", *lines), class_="matrix many" if many else "matrix")
    return tag("div", table, class_="scroll", tabindex=0)


def top_confusions(of: Confusions, n: int = 25) -> Html:
    """The most frequent ones, of more classes than a matrix is readable with."""
    off = of.counts * ~np.eye(len(of.labels), dtype=np.bool_)
    order = np.argsort(-off, axis=None, kind="stable")[:n]
    totals = of.counts.sum(axis=1)
    lines = [
        tag(
            "tr",
            tag("th", clipped(of.labels[i]), scope="row"),
            tag("td", clipped(of.labels[j])),
            tag("td", f"{off[i, j]:,}", class_="n"),
            tag("td", f"{off[i, j] / totals[i]:.1%}", class_="n"),
        )
        for i, j in zip(*np.unravel_index(order, off.shape), strict=True)
        if off[i, j]
    ]
    return _table(("gold", "taken for", "rows", "of the class"), lines)


def items(values: Iterable[tuple[str, Any]]) -> Html:
    """Names and what they are; nothing where it is unknown."""
    pairs = (
        join([tag("dt", name.replace("_", " ")), tag("dd", clipped(said, 2000))])
        for name, value in values
        if value is not None and (said := figure(value))
    )
    return tag("dl", *pairs)


def _table(heads: Sequence[str], lines: Sequence[Html]) -> Html:
    cells = (tag("th", head.replace("_", " "), scope="col") for head in heads)
    body = tag("table", tag("thead", tag("tr", *cells)), tag("tbody", *lines))
    return tag("div", body, class_="scroll", tabindex=0)
