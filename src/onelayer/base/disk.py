"""Atomic writes: a directory or file gets its name only when it is complete on the disk."""

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
    """Writes a directory and puts it at ``target`` in one move.

    Everything is on the disk before the directory gets its name, so a reader sees the old
    directory or the new one, and a crash never leaves half of one. Only one process at a time may
    publish to a ``target``.

    Parameters
    ----------
    target
        The directory to create or replace.
    write
        Fills the directory that it is given.

    Raises
    ------
    OneLayerError
        Where the disk refuses; ``target`` is then unchanged.
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

    Raises OneLayerError where the disk refuses; the old file is then unchanged.
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
    """JSON as in the files of a model directory: indented, not escaped to ASCII."""
    return json.dumps(data, ensure_ascii=False, indent=2) + "\n"


def write_json(path: Path, data: Mapping[str, Any]) -> None:
    """Writes a JSON file of a model directory."""
    write_text(path, as_json(data))


def write_text(path: Path, text: str) -> None:
    """Writes a text file in UTF-8 with line feeds."""
    # A lone surrogate in a label has no UTF-8 form, so it is written as JSON escapes it.
    path.write_text(text, encoding="utf-8", errors="backslashreplace", newline="\n")


def _clear_leftovers(target: Path, staged: Path, old: Path) -> None:
    """Removes what a killed process left: half-written files, or an unfinished swap."""
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
