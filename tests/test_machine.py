"""Cores and instructions of the machine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onelayer.base import machine


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("150000 100000", 2),
        ("100000 100000", 1),
        ("20000 100000", 1),
        ("9900000 100000", 3),
        ("max 100000", 3),
        ("?", 3),
        (None, 3),
    ],
)
def test_cpu_quota_limits_the_cores(
    quota: str | None, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 2, 5}, raising=False)
    monkeypatch.setattr(machine, "QUOTA", tmp_path / "cpu.max")
    if quota is not None:
        machine.QUOTA.write_text(quota + "\n")
    assert machine.cores() == expected


def test_cpu_instructions_are_listed() -> None:
    found = machine.instructions()
    assert not any(" " in name for name in found)
    if Path("/proc/cpuinfo").exists() and os.uname().machine == "x86_64":
        assert "sse2" in found
