"""The access log: a JSON line a request. It never waits for who reads it."""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from typing import Any

LONGEST = 10_000
"""Lines that may wait for a slow reader; what comes beyond is counted, not kept."""

PAUSE = 0.05
"""Seconds in which lines gather: to wake a thread for each would cost the event loop more than the
rest of the log."""


class AccessLog:
    """Lines are written by a thread of their own, all that there are at once."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._taken, self._written, self._lost = 0, 0, 0
        self._progress = threading.Condition()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, line: dict[str, Any]) -> None:
        """For one thread alone; the line is the journal's from then on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
            self._thread.start()
        if self._taken - self._written >= LONGEST:
            self._lost += 1
            return
        self._taken += 1
        line["time"] = time.time()
        self._lines.put(line)

    def flush(self, seconds: float = 1.0) -> None:
        """Returns when all that was written is out, or when whoever reads it takes too long."""
        self._hurry.set()
        with self._progress:
            self._progress.wait_for(lambda: self._written == self._taken, timeout=seconds)
        self._hurry.clear()

    def _write(self) -> None:
        while True:
            lines = [self._lines.get()]
            while not self._lines.empty():
                lines.append(self._lines.get())
            n, lost, self._lost = len(lines), self._lost, 0
            if lost:
                lines.append({"lost_lines": lost, "time": time.time()})
            try:
                sys.stderr.write("".join(map(_written, lines)))
                sys.stderr.flush()
            except (OSError, ValueError):  # nobody reads any more
                pass
            with self._progress:
                self._written += n
                self._progress.notify_all()
            self._hurry.wait(PAUSE)


def _written(line: dict[str, Any]) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(line.pop("time")))
    return json.dumps({"time": moment, **line}) + "\n"
