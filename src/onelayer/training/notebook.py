"""The progress of a run in a notebook: one cell output that is updated in place.

IPython's ``display`` with an id works in Jupyter, Colab and VS Code, without widgets.
"""

from __future__ import annotations

import html
import sys
from typing import Any

from onelayer.training.history import RunProgress
from onelayer.training.progress import Reporter, Silent

UPDATES = 100
"""Updates of the bar in a run, at most: each is a message to the browser."""
STYLE = "font:13px/1.5 system-ui,sans-serif;white-space:pre-wrap"


class NotebookBar:
    """A progress bar with the remarks and evaluations above it."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.bar: str | None = None
        self.handle: Any = None
        self.total = self.every = 1
        self.score = ""
        self.what = "training"

    def say(self, remark: str) -> None:
        self.lines.append(f"· {' '.join(remark.split())}")
        self._show()

    def prepare(self, what: str, rows: int, total: int | None) -> None:
        of = f" of {total:,}" if total else ""
        self._draw(f"{what}: {rows:,} rows{of}", rows, total)

    def start(self, total_steps: int, part: str) -> None:
        self.total, self.every = total_steps, max(1, total_steps // UPDATES)
        self.what = f"training, {part}" if part else "training"
        self._draw(f"{self.what}: 0 of {total_steps:,} steps", 0, total_steps)

    def step(self, progress: RunProgress) -> None:
        if progress.step % self.every and progress.step != self.total:
            return
        rate = f"{progress.tokens_per_second:,.0f} tokens/s"
        done = f"{self.what}: {progress.step:,} of {self.total:,} steps"
        text = f"{done}, loss {progress.loss:.3f}, {rate}{self.score}"
        self._draw(text, progress.step, self.total)

    def evaluated(self, epoch: float, scores: dict[str, float], metric: str, best: bool) -> None:
        self.score = f", dev {metric} {scores[metric]:.3g}"
        found = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self.lines.append(f"  epoch {epoch:.4g}: dev {found}{'  ← best' if best else ''}")
        self._show()

    def finish(self) -> None:
        self.bar = None
        self._show()

    def _draw(self, text: str, done: int, total: int | None) -> None:
        value = f' value="{done}" max="{total}"' if total else ""
        label = html.escape(text, quote=True)
        self.bar = f'<progress aria-label="{label}"{value} style="width:20em"></progress> {label}'
        self._show(text)

    def _show(self, text: str = "") -> None:
        """Sends the whole output. Where there is no HTML, the last lines are shown as text."""
        from IPython.display import display

        body = "\n".join([*map(html.escape, self.lines), *([self.bar] if self.bar else [])])
        data = {
            "text/html": f'<div style="{STYLE}">{body}</div>',
            "text/plain": "\n".join([*self.lines, *([text] if text else [])]),
        }
        if self.handle is None:
            self.handle = display(data, raw=True, display_id=True)
        else:
            self.handle.update(data, raw=True)


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def default_reporter() -> Reporter:
    """What a call from Python gets that names no reporter: a bar in a notebook, else silence."""
    return NotebookBar() if in_notebook() else Silent()
