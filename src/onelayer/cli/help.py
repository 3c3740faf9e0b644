"""Prints the help of the command line."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence

Sections = Mapping[str, Sequence[tuple[str, str]]]
"""By heading: names and their texts."""


def print_help(usage: str, about: str, sections: Sections) -> None:
    """Prints two columns, in colour on a terminal unless NO_COLOR is set."""
    colours = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    colours = colours and not os.environ.get("NO_COLOR")
    bold, cyan, end = ("\033[1m", "\033[36m", "\033[0m") if colours else ("", "", "")
    width = min(shutil.get_terminal_size().columns, 100)
    left = min(28, 4 + max(len(name) for rows in sections.values() for name, _ in rows))
    print(f"{bold}Usage:{end} {usage}\n\n{textwrap.fill(about, width)}")
    for heading, rows in sections.items():
        print(f"\n{bold}{textwrap.fill(heading, width)}{end}")
        for name, text in rows:
            lines = textwrap.wrap(text, max(width - left, 20))
            first = [] if len(name) + 3 > left else lines[:1]
            print(f"  {cyan}{name}{end}{' ' * (left - len(name) - 2)}{''.join(first)}".rstrip())
            for line in lines[len(first) :]:
                print(" " * left + line)
