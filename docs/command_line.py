"""A hook of MkDocs: puts the help of every command into reference/command-line.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

MARKER = "<!-- the help of every command -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page, with the marker replaced by each command's help as the terminal shows it."""
    return markdown.replace(MARKER, _commands()) if MARKER in markdown else markdown


def _commands() -> str:
    names = re.findall(r"^  (\w+) ", _help().partition("Commands")[2].partition("Flags")[0], re.M)
    return "\n".join(f"## {name}\n\n```text\n{_help(name)}```\n" for name in names)


def _help(*command: str) -> str:
    environment = {**os.environ, "NO_COLOR": "1", "COLUMNS": "100"}
    run = [sys.executable, "-m", "onelayer", *command, "--help"]
    return subprocess.run(run, env=environment, check=True, capture_output=True, text=True).stdout
