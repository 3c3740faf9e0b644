"""Locks between processes, and file systems that have none."""

from __future__ import annotations

import errno
import fcntl
from pathlib import Path
from typing import Any

import pytest

from onelayer.base.locks import locked, waiting_for
from onelayer.training.run_store import Store


def test_a_lock_is_taken_once_and_freed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path) as first, locked(path) as second:
        assert (first, second) == (True, False)
    with locked(path) as again:
        assert again


def test_file_system_without_locks_refuses_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with locked(tmp_path / "lock") as taken:
        assert taken
    with waiting_for(tmp_path / "lock"), Store(tmp_path / "run", "identity") as store:
        assert store.lock()
