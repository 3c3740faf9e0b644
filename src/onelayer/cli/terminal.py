"""What a command prints: results on stdout, remarks on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from onelayer.base.result import Table, text_table

if TYPE_CHECKING:
    from rich.progress import Progress

    from onelayer.training.progress import Reporter


def print_parts(parts: Sequence[str | Table]) -> None:
    for one in parts:
        print(one if isinstance(one, str) else text_table(one))


class RowBar:
    """How far a file's rows are: a bar on a terminal, a line now and then elsewhere."""

    EVERY = 30.0
    """Seconds between two lines."""

    def __init__(self) -> None:
        self.begun = self.said_at = time.monotonic()
        self.before: tuple[int, float] | None = None
        self.bar: Progress | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar:
            self.bar.stop()

    def say(self, remark: str) -> None:
        if self.bar:
            self.bar.console.print(f"· {remark}", markup=False, soft_wrap=True)
        else:
            say(remark)

    def rows(self, done: int, share: float | None) -> None:
        now = time.monotonic()
        if self.before is None:
            # What an earlier process did says nothing of this one's speed.
            self.before, self.begun = (done, share or 0.0), now
            return
        first, first_share = self.before
        seconds = max(now - self.begun, 1e-9)
        state = f"{done:,} rows, {(done - first) / seconds:,.0f} rows/s"
        if share and share > first_share:
            left = timedelta(seconds=round(seconds * (1 - share) / (share - first_share)))
            state += f", {left} left"
        if sys.stderr.isatty():
            self._draw(state, share)
        elif now - self.said_at > self.EVERY:
            self.said_at = now
            say(state)

    def _draw(self, state: str, share: float | None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        if self.bar is None:
            columns = (TextColumn("predicting"), BarColumn(), TextColumn("{task.description}"))
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self.bar.add_task("", total=1.0)
            self.bar.start()
        task = self.bar.tasks[0]
        self.bar.update(task.id, description=state, completed=share or 0.0, total=share and 1.0)


def print_json(value: Any) -> None:
    print(json.dumps(value, ensure_ascii=False))


def say(remark: str) -> None:
    print(f"· {remark}", file=sys.stderr)


def sayer(as_json: bool) -> Callable[[str], None]:
    """Says remarks as text, or as JSON lines where a program listens."""
    return reporter(True).say if as_json else say


def reporter(as_json: bool) -> Reporter:
    """JSON lines with ``--json``; else a bar on a terminal, and lines of text elsewhere."""
    from onelayer.training.progress import JsonReporter, ProgressBar, TextReporter

    if as_json:
        return JsonReporter()
    return ProgressBar() if sys.stderr.isatty() else TextReporter()
