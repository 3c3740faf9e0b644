"""The access log: a JSON line per request. A thread writes it, so a slow reader blocks no request.

Why not ``logging.handlers.QueueHandler``: it wakes its listener for each line, and then the event
loop waits for Python's lock. On two cores a line took the loop 40 microseconds; here it takes
three. Lines are made when they come: many at once would hold the lock for a millisecond.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from functools import lru_cache

MAX_QUEUED_LINES = 10_000
"""Lines that may wait for a slow reader. Further ones are dropped and counted."""

WRITE_INTERVAL = 0.05
"""Seconds for which lines are collected, so that the thread wakes once for all of them."""


class AccessLog:
    """Writes lines to stderr, many at a time."""

    def __init__(self) -> None:
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._accepted, self._written, self._dropped = 0, 0, 0
        self._progress = threading.Condition()
        self._flushing = threading.Event()
        self._thread: threading.Thread | None = None

    def write(self, members: str) -> None:
        """Queues a line, or drops it if too many are queued. Call it from one thread only.

        ``members`` are those of a JSON object, without its braces; the time is added.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="access log", daemon=True)
            self._thread.start()
        if self._accepted - self._written >= MAX_QUEUED_LINES:
            self._dropped += 1
            return
        self._accepted += 1
        self._lines.put(f'{{"time": "{_written(int(time.time()))}", {members}}}\n')

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
                now = _written(int(time.time()))
                lines.append(f'{{"time": "{now}", "lost_lines": {dropped}}}\n')
            try:
                sys.stderr.write("".join(lines))
                sys.stderr.flush()
            except (OSError, ValueError):  # the reader has closed the pipe
                pass
            with self._progress:
                self._written += count
                self._progress.notify_all()
            self._flushing.wait(WRITE_INTERVAL)


@lru_cache(maxsize=2)
def _written(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(second))
