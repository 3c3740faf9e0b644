"""What a verb returns: typed values that print as a short table and go out as JSON."""

from __future__ import annotations

import html
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

from onelayer.base.json_values import to_plain

Table = Sequence[Sequence[str]]
"""Lines of cells, all of one length."""


class Result(ABC):
    """The base of the dataclasses that the public functions return."""

    __slots__ = ()

    def to_json(self) -> dict[str, Any]:
        """As ``--json`` prints it."""
        return dict(to_plain(self))

    @abstractmethod
    def parts(self) -> list[str | Table]:
        """Lines of text, pictures of characters and tables, from top to bottom."""

    def __repr__(self) -> str:
        return "\n".join(one if isinstance(one, str) else text_table(one) for one in self.parts())

    def _repr_html_(self) -> str:
        return "\n".join(
            _html_text(one) if isinstance(one, str) else html_table(one) for one in self.parts()
        )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class HtmlPage(Result):
    """An HTML page that was written. A notebook shows it inline, in a frame of its own."""

    out: str

    def parts(self) -> list[str | Table]:
        return [f"saved {self.out}"]

    def _repr_html_(self) -> str:
        said = Result._repr_html_(self)
        try:
            text = Path(self.out).read_text(encoding="utf-8")
        except OSError:
            return said
        # The sandbox lets nothing of the page reach the notebook; it needs no scripts.
        return (
            f'{said}\n<iframe srcdoc="{html.escape(text)}" title="{html.escape(self.out)}" '
            'sandbox style="width:100%;height:45em;box-sizing:border-box;border:1px solid #8888">'
            "</iframe>"
        )


def text_table(table: Table) -> str:
    """In columns, the first to the left and all others to the right, each as wide as its longest
    cell: piped into a file, nothing is cut and no line is drawn."""
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    grid = Grid.grid(padding=(0, 2))
    for i, _ in enumerate(table[0]):
        grid.add_column(justify="right" if i else "left", no_wrap=True)
    for line in table:
        grid.add_row(*map(Text, line))
    stream = StringIO()
    width = 4 * sum(len(cell) + 2 for line in table for cell in line)
    # In a notebook rich would show the table by itself.
    console = Console(file=stream, width=width, color_system=None, force_jupyter=False)
    console.print(grid)
    return "\n".join(f"  {line.rstrip()}" for line in stream.getvalue().splitlines())


def _html_text(text: str) -> str:
    """A line as a paragraph; several lines are a picture of characters, which keeps its spaces."""
    element = "pre" if "\n" in text else "p"
    return f"<{element}>{html.escape(text)}</{element}>"


def html_table(table: Table) -> str:
    lines = ("".join(f"<td>{html.escape(cell)}</td>" for cell in line) for line in table)
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def short_figure(value: float | None) -> str:
    """Four digits; large whole numbers in full."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) > 1 else f"{value:.4g}"


def signed_figure(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:+.4g}"


def interval_text(bounds: Sequence[float]) -> str:
    """``low to high``; nothing where there is no interval."""
    low, high = bounds
    if math.isnan(low):
        return ""
    return f"{short_figure(low)} to {short_figure(high)}"


def place_text(line: int | None, name: int | str | None) -> str:
    """A row's line, or where lines say nothing, its id."""
    return str(name if line is None else line)


def score_table(
    scores: Mapping[str, float], bounds: Mapping[str, tuple[float, float]]
) -> list[list[str]]:
    """A line for each score, with its interval where it has one."""
    lines = [["", "score", "95 % interval"]]
    for name, score in scores.items():
        lines.append(
            [name, short_figure(score), interval_text(bounds.get(name, (math.nan, math.nan)))]
        )
    return lines
