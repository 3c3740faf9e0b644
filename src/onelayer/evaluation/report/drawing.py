"""Draws SVG pictures for a page. Text stays text, and colours are variables of the style sheet:
one picture fits the light and the dark scheme."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Pictures are drawn in colours that occur nowhere else; `_of_the_page` replaces them by variables.
INK, FAINT, GRID, BLUE, ORANGE = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {
    INK: "var(--ink)",
    FAINT: "var(--faint)",
    GRID: "var(--line)",
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "onelayer",
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GRID,
    "axes.labelcolor": FAINT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": FAINT,
    "ytick.labelcolor": FAINT,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "lines.linewidth": 1.8,
    "text.parse_math": False,
}


UNITS_PER_INCH = 72
"""SVG units of a picture."""


class Picture(NamedTuple):
    """A picture of the page."""

    says: str
    """What it shows, for screen readers."""
    view_box: str
    drawing: Markup
    """SVG elements."""


def svg_picture(
    draw: Callable[[Axes], None],
    says: str,
    *,
    width: float = 5.2,
    height: float = 3.1,
    left: float = 0.14,
) -> Picture:
    """Runs ``draw`` and returns its picture. Sizes are in inches of 72 SVG units; ``left`` is the
    share of the width before the axes."""
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    stream = io.StringIO()
    with _settings():
        from matplotlib.figure import Figure

        figure = Figure(figsize=(width, height), facecolor="none")
        # Fixed margins: a layout that measures the labels draws everything twice.
        axes = figure.add_axes((left, 0.5 / height, 0.98 - left, 1 - 0.65 / height))
        axes.set_facecolor("none")
        draw(axes)
        figure.savefig(stream, format="svg", metadata=nothing)
    return _of_the_page(stream.getvalue(), says)


@contextmanager
def _settings() -> Iterator[None]:
    """matplotlib with our settings, without warnings about fonts: the browser draws the text."""
    log = logging.getLogger("matplotlib")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        import matplotlib

        with matplotlib.rc_context(_SETTINGS), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        log.setLevel(level)


def _of_the_page(svg: str, says: str) -> Picture:
    """The picture without what only a separate file needs: prologue, fonts, group names."""
    found = re.search(r'<svg[^>]* viewBox="([^"]+)"[^>]*>(.*)</svg>', svg, re.DOTALL)
    assert found is not None
    body = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", found[2], flags=re.DOTALL)
    body = re.sub(r'font-family: [^;"]*;? ?', "", body)
    body = re.sub(r' id="[\w.]+_\d+"', "", body)
    body = re.sub("#0[1-5]0[1-5]0[1-5]", lambda colour: _VARIABLES[colour[0]], body)
    return Picture(says, found[1], Markup(body.strip()))
