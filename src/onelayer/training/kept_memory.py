"""Memory that is freed and needed again in every step of a training."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRIM, MAP = -1, -3
"""``M_TRIM_THRESHOLD`` and ``M_MMAP_THRESHOLD`` of glibc's ``mallopt``."""
ALL = 2**31 - 1
USUAL = 2**25
"""Bytes from which on memory is returned at once: the most that glibc chooses by itself."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Meanwhile the process keeps freed memory, if its C library is glibc, and then returns it.

    A step frees gradients and activations that the next step needs again. Returned to the system,
    they come back as thousands of pages that it has to clear first.
    """
    library = glibc()
    if library is None:
        yield
        return
    _return_from(library, ALL, ALL)
    try:
        yield
    finally:
        _return_from(library, 2 * USUAL, USUAL)
        library.malloc_trim(0)


def _return_from(library: ctypes.CDLL, trim: int, large: int) -> None:
    """Sets from how many bytes on memory is returned: at the heap's end, or a piece at once."""
    library.mallopt(TRIM, trim)
    library.mallopt(MAP, large)


def glibc() -> ctypes.CDLL | None:
    """The process's C library, if it is glibc. Others, as musl, don't have the choice."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
