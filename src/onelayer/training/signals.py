"""SIGINT and SIGTERM while training: they wait until the step under way is finished and saved."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class BrokenOff(BaseException):
    """A signal came while work was under way that can be done again."""


class HeldSignals:
    """Holds the first signal back until `pass_on`; a second one is for who can't wait.

    Only a process's main thread gets signals: in another one this does nothing.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self._breakable = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> HeldSignals:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                # What nohup has turned off stays off.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._hold)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _hold(self, number: int, _: FrameType | None) -> None:
        if self.received is not None:
            self.__exit__()
            signal.raise_signal(number)
        self.received = number
        if self._breakable:
            raise BrokenOff

    @contextmanager
    def breakable(self) -> Iterator[None]:
        """Work that a signal may break off, by BrokenOff, since it changes nothing."""
        if self.received is not None:
            raise BrokenOff
        self._breakable = True
        try:
            yield
        finally:
            self._breakable = False

    def pass_on(self) -> None:
        """Lets the signal that was held back do what it would have done."""
        if self.received is not None:
            signal.raise_signal(self.received)
            raise KeyboardInterrupt  # whoever handles it otherwise still wants the run to stop
