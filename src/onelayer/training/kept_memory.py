"""Memory that is freed and needed again in every step of a training."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress

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
    _return_from(ALL, ALL)
    try:
        yield
    finally:
        _return_from(2 * USUAL, USUAL)
        with suppress(AttributeError):
            ctypes.CDLL(None).malloc_trim(0)


def _return_from(trim: int, large: int) -> None:
    """Sets from how many bytes on memory is returned: at the heap's end, or a piece at once."""
    with suppress(AttributeError, TypeError, OSError):  # musl and other systems have no such choice
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(TRIM, trim)
        mallopt(MAP, large)
