"""A published directory appears complete or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from onelayer.base.disk import publish
from onelayer.base.errors import OneLayerError


def write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def test_failed_publish_keeps_the_old_directory(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "best"
    publish(target, lambda folder: write_text(folder / "a", "first"))
    publish(target, lambda folder: write_text(folder / "a", "second"))
    assert (target / "a").read_text() == "second"

    def fill_the_disk(folder: Path) -> None:
        write_text(folder / "a", "third")
        raise OSError(28, "No space left on device")

    def stumble(folder: Path) -> None:
        write_text(folder / "a", "third")
        raise KeyboardInterrupt

    with pytest.raises(OneLayerError, match="No space left on device"):
        publish(target, fill_the_disk)
    with pytest.raises(KeyboardInterrupt):
        publish(target, stumble)
    assert (target / "a").read_text() == "second"
    assert [path.name for path in target.parent.iterdir()] == ["best"]


def test_publish_restores_the_directory_after_a_killed_process(tmp_path: Path) -> None:
    (tmp_path / ".best.staged").mkdir()
    (tmp_path / ".best.old").mkdir()
    write_text(tmp_path / ".best.old" / "a", "the last good one")

    def fail(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OneLayerError):
        publish(tmp_path / "best", fail)
    assert (tmp_path / "best" / "a").read_text() == "the last good one"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]
