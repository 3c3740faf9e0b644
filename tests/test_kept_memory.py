"""Memory that a training step frees is there for the next one, and is returned at the end."""

from __future__ import annotations

import ctypes
import resource
import sys
from pathlib import Path

import pytest
import torch

from onelayer.training.kept_memory import kept_memory

PIECES, FLOATS = 20, 2**21  # 160 MiB

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc"
)


def step() -> None:
    pieces = [torch.ones(FLOATS) for _ in range(PIECES)]
    del pieces


def faults() -> int:
    """Pages that the system has provided."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def resident() -> int:
    """Bytes in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_freed_memory_is_used_again() -> None:
    with kept_memory():
        step()
        before, size = faults(), resident()
        step()
        assert (faults() - before) * resource.getpagesize() < PIECES * FLOATS
    assert resident() < size - PIECES * FLOATS * 4 // 2


def test_an_error_leaves_memory_as_usual() -> None:
    sizes = []

    def fail() -> None:
        with kept_memory():
            step()
            sizes.append(resident())
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    assert resident() < sizes[0] - PIECES * FLOATS * 4 // 2
