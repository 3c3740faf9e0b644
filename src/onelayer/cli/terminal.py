"""Prints results on stdout, remarks and progress on stderr."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from onelayer.base.result import Result, Table, text_table

if TYPE_CHECKING:
    from rich.progress import Progress

    from onelayer.training.progress import Reporter


def print_parts(parts: Sequence[str | Table]) -> None:
    for one in parts:
        print(one if isinstance(one, str) else text_table(one))


class RowBar:
    """Shows the progress of a prediction job: a bar on a terminal, else lines of text."""

    SECONDS_BETWEEN_LINES = 30.0

    def __init__(self) -> None:
        self.started_at = self.printed_at = time.monotonic()
        self.first: tuple[int, float] | None = None
        """Rows and share of the file at the first report."""
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
        if self.first is None:
            # Rows of an earlier process don't count for the speed.
            self.first, self.started_at = (done, share or 0.0), now
            return
        first_rows, first_share = self.first
        seconds = max(now - self.started_at, 1e-9)
        state = f"{done:,} rows, {(done - first_rows) / seconds:,.0f} rows/s"
        if share and share > first_share:
            left = timedelta(seconds=round(seconds * (1 - share) / (share - first_share)))
            state += f", {left} left"
        if sys.stderr.isatty():
            self._draw(state, share)
        elif now - self.printed_at > self.SECONDS_BETWEEN_LINES:
            self.printed_at = now
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


def print_result(result: Result, as_json: bool) -> None:
    print_json(result.to_json()) if as_json else print(result)


def say(remark: str) -> None:
    print(f"· {remark}", file=sys.stderr)


def sayer(as_json: bool) -> Callable[[str], None]:
    """Prints remarks to stderr, as text or as JSON lines."""
    return reporter(True).say if as_json else say


def reporter(as_json: bool) -> Reporter:
    """JSON lines with ``--json``, else a bar on a terminal, else lines of text."""
    from onelayer.training.progress import JsonReporter, ProgressBar, TextReporter

    if as_json:
        return JsonReporter()
    return ProgressBar() if sys.stderr.isatty() else TextReporter()
