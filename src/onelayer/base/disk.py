"""What is on the disk is whole: a directory, or a file, gets its name when all of it is there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from onelayer.base.errors import OneLayerError, Place


def publish(target: Path, write: Callable[[Path], None]) -> None:
    """Lets ``write`` fill a directory, then puts it at ``target`` in one move.

    All is on disk before it has the name, so a reader sees the old directory or the new one, and
    a crash leaves no half of either. One process at a time may publish to a ``target``.
    Raises OneLayerError where the disk refuses; then ``target`` is as it was.
    """
    target = target.resolve()
    staged, old = (target.with_name(f".{target.name}.{kind}") for kind in ("staged", "old"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(target, staged, old)
        staged.mkdir()
        write(staged)
        sync(staged)
        _swap(staged, target, old)
        _sync_one(target.parent)
    except (OSError, SafetensorError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise OneLayerError(
            f"can't be written: {reason}",
            place=Place(target),
            hint="nothing was changed; free some space or choose another --out",
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def rewrite(path: Path, text: str) -> None:
    """Replaces or adds a file of a published directory, in one move.

    Raises OneLayerError where the disk refuses; the old file then stands.
    """
    staged = path.with_name(f".{path.name}.staged")
    try:
        write_text(staged, text)
        _sync_one(staged)
        staged.replace(path)
        _sync_one(path.parent)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise OneLayerError(f"can't be written: {error.strerror}", place=Place(path)) from error


def as_json(data: Mapping[str, Any]) -> str:
    """As files of a model directory have it."""
    return json.dumps(data, ensure_ascii=False, indent=2) + "\n"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    write_text(path, as_json(data))


def write_text(path: Path, text: str) -> None:
    # A lone surrogate in a label has no UTF-8; its backslash form is what JSON calls it, too.
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def _clear_leftovers(target: Path, staged: Path, old: Path) -> None:
    """Clears what a killed process left: its half-written files, or a swap it didn't finish."""
    shutil.rmtree(staged, ignore_errors=True)
    if old.exists() and not target.exists():
        old.rename(target)
    shutil.rmtree(old, ignore_errors=True)


def _swap(staged: Path, target: Path, old: Path) -> None:
    if not target.exists():
        staged.rename(target)
        return
    target.rename(old)
    try:
        staged.rename(target)
    except BaseException:
        old.rename(target)
        raise


def sync(folder: Path) -> None:
    """Waits until every file of ``folder`` and the folders themselves are on the disk."""
    for root, _, files in os.walk(folder):
        for name in files:
            _sync_one(Path(root, name))
        _sync_one(Path(root))


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
