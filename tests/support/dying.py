"""A process that dies at a disk operation of one's choice, without another process."""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from onelayer.base import disk

OPERATIONS = ("rename", "replace", "link", "mkdir", "unlink", "rmdir", "fsync", "chmod", "chown")
"""Functions of ``os`` that change a disk. pathlib and shutil call them, too."""
WRITING = frozenset("wax+")


class Killed(BaseException):
    """Stands for the death of the process."""


class Death:
    """Raises `Killed` at the nth disk operation and at each later one, so that nothing is cleaned
    up. A file that is opened to be written counts twice: before it is made, and when it is empty.
    """

    def __init__(self, at: int) -> None:
        self.at = at
        self.armed = True
        """Whether operations count."""
        self.done = 0

    def step(self) -> None:
        if not self.armed:
            return
        if self.done >= self.at:
            raise Killed
        self.done += 1

    def before(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **more: Any) -> Any:
            self.step()
            return function(*arguments, **more)

        return called

    def opening(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def called(file: Any, mode: str = "r", *arguments: Any, **more: Any) -> Any:
            if not WRITING & set(mode):
                return function(file, mode, *arguments, **more)
            self.step()
            opened = function(file, mode, *arguments, **more)
            try:
                self.step()
            except Killed:
                opened.close()
                raise
            return opened

        return called


@contextmanager
def dying(at: int) -> Iterator[Death]:
    """Within the block the process dies at its disk operation ``at``, counted from 0. The block
    ends there; `Death.done` tells whether it got that far."""
    death = Death(at)
    with pytest.MonkeyPatch.context() as patch:
        for name in OPERATIONS:
            patch.setattr(os, name, death.before(getattr(os, name)))
        patch.setattr(disk, "_exchange", death.before(disk._exchange))
        opening = death.opening(io.open)
        patch.setattr(io, "open", opening)
        patch.setattr(builtins, "open", opening)
        with suppress(Killed):
            yield death


def every_death(work: Callable[[], object]) -> Iterator[int]:
    """Runs ``work`` again and again: it dies at its first disk operation, at its second one, and so
    on until it doesn't die. Yields after each death; what the caller does then is not disturbed."""
    at = 0
    while True:
        survived = False
        with dying(at):
            work()
            survived = True
        if survived:
            return
        yield at
        at += 1
