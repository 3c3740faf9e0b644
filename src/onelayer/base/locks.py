"""Locks that keep other processes from the same files. The system frees a lock when its process
ends, in whatever way.

Some network file systems have no locks. There a lock counts as taken: one process alone, which is
the rule, must not be refused.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


def lock(file: IO[Any]) -> bool:
    """Locks an open file until it is closed; returns False if another process has locked it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no locks there
        pass
    return True


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Locks a file that is only there for that; gives False if another process has locked it.

    Raises OSError where the file can't be written.
    """
    with path.open("w") as file:
        yield lock(file)


@contextmanager
def waiting_for(path: Path) -> Iterator[None]:
    """Locks a file that is only there for that, when no other process has it locked.

    Raises OSError where the file can't be written.
    """
    with path.open("w") as file:
        with suppress(OSError):  # no locks there
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
