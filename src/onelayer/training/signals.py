"""SIGINT and SIGTERM during training: they wait until the current step is finished and saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class WorkInterrupted(BaseException):
    """A signal came during work that can be repeated."""


class DeferredSignals:
    """Holds the first signal until `deliver`. A second one takes effect at once.

    Only the main thread of a process gets signals: in another thread this does nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._interruptible = False
        self._handlers_before: dict[int, Any] = {}

    def __enter__(self) -> DeferredSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                # A signal that is ignored, as under nohup, stays ignored.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._handlers_before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers_before.items():
            signal.signal(number, handler)
        self._handlers_before.clear()

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            self.__exit__()
            signal.raise_signal(number)
        self.received = number
        if self._interruptible:
            raise WorkInterrupted

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Work that changes nothing, so a signal may end it: raises WorkInterrupted."""
        if self.received is not None:
            raise WorkInterrupted
        self._interruptible = True
        try:
            yield
        finally:
            self._interruptible = False

    def deliver(self) -> None:
        """Raises the signal that was held, now with its usual handler."""
        if self.received is not None:
            signal.raise_signal(self.received)
            raise KeyboardInterrupt  # the handler returned, but the run has to stop
