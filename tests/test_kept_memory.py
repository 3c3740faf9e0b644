"""Memory that a training step frees is there for the next one, and is returned at the end."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch

from onelayer.training.kept_memory import glibc, kept_memory

PIECES, FLOATS = 20, 2**21  # 160 MiB

needs_glibc = pytest.mark.skipif(glibc() is None, reason="not glibc")


def step() -> None:
    pieces = [torch.ones(FLOATS) for _ in range(PIECES)]
    del pieces


def faults() -> int:
    """Pages that the system has provided."""
    after_name = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return int(after_name[7])  # "minflt"


def resident() -> int:
    """Bytes in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE


@needs_glibc
def test_freed_memory_is_used_again() -> None:
    with kept_memory():
        step()
        before, size = faults(), resident()
        step()
        assert (faults() - before) * mmap.PAGESIZE < PIECES * FLOATS
    assert resident() < size - PIECES * FLOATS * 4 // 2


@needs_glibc
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


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_other_systems_keep_memory_as_they_do(
    platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has no library of the process at all: asking for it raises TypeError."""

    def none(name: str | None) -> None:
        raise TypeError(name)

    monkeypatch.setattr("onelayer.training.kept_memory.sys.platform", platform)
    monkeypatch.setattr("onelayer.training.kept_memory.ctypes.CDLL", none)
    with kept_memory():
        step()
