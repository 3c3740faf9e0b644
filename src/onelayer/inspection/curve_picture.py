"""Draws a learning curve into a file."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from onelayer.base.disk import check_output, rewrite
from onelayer.base.errors import Place, UsageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from onelayer.inspection.learning_curve import LearningCurve

SUFFIXES = (".svg", ".png", ".pdf")
MEASURED, EXPECTED = "#2f6db5", "#c8701a"


def check_picture(out: Path) -> None:
    """Raises UsageError for a picture that can't be written."""
    if out.suffix.lower() not in SUFFIXES:
        kinds = "an .svg, .png or .pdf"
        raise UsageError("no picture's name", place=Place(out), hint=f"name {kinds} file")
    check_output(out)


def write_picture(curve: LearningCurve, out: Path) -> None:
    """Draws the points and what is expected of more rows, each with its interval. Raises
    OneLayerError where the disk refuses."""
    import matplotlib
    from matplotlib.figure import Figure

    stream = BytesIO()
    kind = out.suffix.lower()[1:]
    undated = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}
    # The same curve leaves the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": "onelayer", "text.parse_math": False}):
        figure = Figure(figsize=(6.4, 4), layout="constrained")
        axes = figure.add_subplot()
        _draw(curve, axes)
        figure.savefig(stream, format=kind, dpi=150, metadata=undated[kind])
    rewrite(out, stream.getvalue())


def _draw(curve: LearningCurve, axes: Axes) -> None:
    known = [
        (point.rows, point.score, *(point.interval or (point.score, point.score)))
        for point in curve.points
        if point.score is not None
    ]
    for colour, style, name, points in (
        (MEASURED, "o-", "cross-validated", known),
        (EXPECTED, "o--", "expected", [(e.rows, e.score, e.low, e.high) for e in curve.expected]),
    ):
        if not points:
            continue
        rows, scores, low, high = zip(*points, strict=True)
        axes.plot(rows, scores, style, color=colour, markersize=5, label=name)
        axes.vlines(rows, low, high, color=colour, alpha=0.5)
    ticks = sorted({point.rows for point in curve.points} | {one.rows for one in curve.expected})
    axes.set_xscale("log", base=2)
    axes.set_xticks(ticks, [f"{rows:,}" for rows in ticks])
    axes.minorticks_off()
    axes.set_xlabel("training rows")
    axes.set_ylabel(curve.metric)
    axes.set_title(Path(curve.file).name, loc="left")
    axes.grid(axis="y", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="lower right")
