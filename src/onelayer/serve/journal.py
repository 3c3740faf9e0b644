"""The access log: a JSON line a request. It never waits for who reads it."""

from __future__ import annotations

import json
import queue
import sys
import threading
from typing import Any

LONGEST = 10_000
"""Lines that may wait for a slow reader; what comes beyond is counted, not kept."""


class Journal:
    """Lines are written by a thread of their own, all that there are at once."""

    def __init__(self) -> None:
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue(LONGEST)
        self._lost = 0
        self._thread: threading.Thread | None = None

    def write(self, line: dict[str, Any]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
            self._thread.start()
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._lost += 1

    def flush(self, seconds: float = 1.0) -> None:
        """Returns when all that was written is out, or when whoever reads it takes too long."""
        with self._lines.all_tasks_done:
            self._lines.all_tasks_done.wait_for(
                lambda: not self._lines.unfinished_tasks, timeout=seconds
            )

    def _write(self) -> None:
        while True:
            lines = [self._lines.get()]
            while not self._lines.empty():
                lines.append(self._lines.get_nowait())
            lost, self._lost = self._lost, 0
            if lost:
                lines.append({"lost_lines": lost})
            try:
                sys.stderr.write("".join(json.dumps(line) + "\n" for line in lines))
                sys.stderr.flush()
            except (OSError, ValueError):  # nobody reads any more
                pass
            for _ in range(len(lines) - bool(lost)):
                self._lines.task_done()
