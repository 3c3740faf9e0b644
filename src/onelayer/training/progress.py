"""Reporters: who is told of the progress of a run, and how."""

from __future__ import annotations

import json
import sys
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from onelayer.base.json_values import finite
from onelayer.training.history import RunProgress

STEPS_TOLD, STEPS_TOLD_OF_PART = 50, 10
"""Of about how many steps a log tells: of a run with one model, and of each of several."""


class Reporter(Protocol):
    """Gets the remarks, the steps and the evaluations of a run."""

    def say(self, remark: str) -> None: ...
    def prepare(self, what: str, rows: int, total: int | None) -> None: ...
    def start(self, total_steps: int, part: str) -> None:
        """A model's first step is next. ``part`` says which model of several: ``fold 2 of 5``."""
        ...

    def step(self, progress: RunProgress) -> None: ...
    def evaluated(
        self, epoch: float, scores: dict[str, float], metric: str, best: bool
    ) -> None: ...
    def finish(self) -> None: ...


class Silent:
    """Shows nothing: the default in Python."""

    def say(self, remark: str) -> None: ...
    def prepare(self, what: str, rows: int, total: int | None) -> None: ...
    def start(self, total_steps: int, part: str) -> None: ...
    def step(self, progress: RunProgress) -> None: ...
    def evaluated(
        self, epoch: float, scores: dict[str, float], metric: str, best: bool
    ) -> None: ...
    def finish(self) -> None: ...


class OnceReporter:
    """Passes everything on to another reporter, but a remark only when it is new: for several runs
    on the same rows."""

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter
        self._told: set[str] = set()
        self.prepare, self.start = reporter.prepare, reporter.start
        self.step, self.evaluated, self.finish = reporter.step, reporter.evaluated, reporter.finish

    def say(self, remark: str) -> None:
        if remark not in self._told:
            self._told.add(remark)
            self._reporter.say(remark)


class JsonReporter:
    """A JSON object a line for every remark, every evaluation and some steps of a run."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.every = 1

    def _write(self, **values: Any) -> None:
        print(json.dumps(finite(values), ensure_ascii=False), file=self.stream, flush=True)

    def say(self, remark: str) -> None:
        self._write(event="remark", text=remark)

    def prepare(self, what: str, rows: int, total: int | None) -> None:
        self._write(event=what, rows=rows, of=total)

    def start(self, total_steps: int, part: str) -> None:
        self.every = max(1, total_steps // (STEPS_TOLD_OF_PART if part else STEPS_TOLD))
        self._write(event="start", steps=total_steps, **({"part": part} if part else {}))

    def step(self, progress: RunProgress) -> None:
        if progress.step % self.every == 0:
            self._write(
                event="step",
                step=progress.step,
                loss=round(progress.loss, 4),
                lr=float(f"{progress.lr:.6g}"),
                tokens_per_second=round(progress.tokens_per_second),
            )

    def evaluated(self, epoch: float, scores: dict[str, float], metric: str, best: bool) -> None:
        self._write(event="evaluation", epoch=round(epoch, 2), best=best, dev=scores)

    def finish(self) -> None: ...


class TextReporter:
    """A line of text for every remark, every evaluation and some steps of a run."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stderr
        self.every = 1
        self.total = 0
        self.part = ""

    def _write(self, text: str) -> None:
        print(f"· {' '.join(text.split())}", file=self.stream, flush=True)

    def say(self, remark: str) -> None:
        self._write(remark)

    def prepare(self, what: str, rows: int, total: int | None) -> None:
        self._write(f"{what}: {rows:,} rows{f' of {total:,}' if total else ''}")

    def start(self, total_steps: int, part: str) -> None:
        self.total = total_steps
        self.every = max(1, total_steps // (STEPS_TOLD_OF_PART if part else STEPS_TOLD))
        self.part = f"{part}, " if part else ""

    def step(self, progress: RunProgress) -> None:
        if progress.step % self.every == 0:
            rate = f"{progress.tokens_per_second:,.0f} tokens/s"
            self._write(
                f"{self.part}step {progress.step:,} of {self.total:,}: "
                f"loss {progress.loss:.4g}, {rate}"
            )

    def evaluated(self, epoch: float, scores: dict[str, float], metric: str, best: bool) -> None:
        found = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        when = f"epoch {epoch:.4g}" if epoch else "after the steps of contrast"
        self._write(f"{when}: dev {found}{', the best so far' if best else ''}")

    def finish(self) -> None: ...


class ProgressBar:
    """A progress bar on a terminal: loss, real tokens a second, dev score, time left."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False)
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[state]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.task: TaskID | None = None
        self.score = ""

    def say(self, remark: str) -> None:
        self.console.print(f"· {remark}", markup=False, soft_wrap=True)

    def prepare(self, what: str, rows: int, total: int | None) -> None:
        if self.task is None or self.bar.tasks[-1].description != what:
            self._begin(what, total)
        assert self.task is not None
        self.bar.update(self.task, completed=rows)

    def start(self, total_steps: int, part: str) -> None:
        self._begin(f"training, {part}" if part else "training", total_steps)

    def _begin(self, what: str, total: int | None) -> None:
        if self.task is not None:
            self.bar.remove_task(self.task)
        self.task = self.bar.add_task(what, total=total, state="")
        self.bar.start()

    def step(self, progress: RunProgress) -> None:
        if self.task is not None:
            rate = f"{progress.tokens_per_second:,.0f} tokens/s"
            state = f"loss {progress.loss:.3f}  {rate}{self.score}"
            self.bar.update(self.task, completed=progress.step, state=state)

    def evaluated(self, epoch: float, scores: dict[str, float], metric: str, best: bool) -> None:
        self.score = f"  dev {metric} {scores[metric]:.3g}"
        others = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self.console.print(
            f"  epoch {epoch:.4g}: dev {others}{'  ← best' if best else ''}", markup=False
        )

    def finish(self) -> None:
        self.bar.stop()
