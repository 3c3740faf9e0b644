"""A cache on the disk. An entry is complete or absent, also after a crash."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from onelayer.base.disk import sync
from onelayer.base.errors import OneLayerError, Place
from onelayer.base.machine import cache_home

T = TypeVar("T")
STAGED_PREFIX = ".staged-"
"""Starts the names of folders that are still being written."""
MAX_CACHE_BYTES = 20 * 1024**3
"""Bytes of all entries. Beyond this the ones that were used least recently are removed."""
ABANDONED_SECONDS = 24 * 3600
"""Age from which an incomplete entry is removed: its process was probably killed."""


def cache_folder() -> Path:
    """Where the entries are. It can be removed at any time to free space."""
    return cache_home() / "tokens"


def cached(
    key: str,
    make: Callable[[Path], None],
    load: Callable[[Path], T],
    say: Callable[[str], None],
) -> tuple[T, bool]:
    """What ``load`` reads from an entry, and whether the entry existed before.

    Parameters
    ----------
    key
        The name of the entry.
    make
        Fills a folder with the entry if there is none.
    load
        Reads the folder. It raises ValueError, LookupError, TypeError, OSError or OneLayerError for
        a damaged entry, which is then made again. It must not need the names of the files after it
        has returned: where the cache can't be written, the folder is a temporary one.
    say
        Is warned where the cache can't be written.
    """
    entry = cache_folder() / key
    with suppress(ValueError, LookupError, TypeError, OSError, OneLayerError):
        found = load(entry)
        with suppress(OSError):
            os.utime(entry)
        return found, True
    shutil.rmtree(entry, ignore_errors=True)  # damaged, if there is one
    try:
        _publish(entry, make)
        with suppress(OSError):  # another process may be doing the same
            _make_room(entry)
        return load(entry), False
    except OSError as error:
        reason = error.strerror or str(error)
    say(f"warning: {entry.parent} can't be written ({reason}): tokens are not kept for other runs")
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            make(Path(folder))
            return load(Path(folder)), False
    except OSError as error:
        raise OneLayerError(
            f"no room for the file's tokens: {error.strerror or error}",
            place=Place(tempfile.gettempdir()),
            hint="free some space, or set TMPDIR or XDG_CACHE_HOME to a larger disk",
        ) from error


def _publish(entry: Path, make: Callable[[Path], None]) -> None:
    """Fills a temporary folder, and renames it to the entry when all of it is on the disk."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=STAGED_PREFIX, dir=entry.parent))
    try:
        make(staged)
        sync(staged)
        try:
            staged.rename(entry)
        except OSError:
            if not entry.exists():  # if it does, another process has written the same content
                raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _make_room(newest: Path) -> None:
    """Removes abandoned folders, and the least recently used entries beyond ``MAX_CACHE_BYTES``."""
    room = MAX_CACHE_BYTES
    for folder in sorted(newest.parent.iterdir(), key=_last_used, reverse=True):
        if folder.name.startswith(STAGED_PREFIX):
            if _last_used(folder) < time.time() - ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)
            continue
        room -= sum(file.stat().st_size for file in folder.iterdir())
        if room < 0 and folder != newest:
            shutil.rmtree(folder, ignore_errors=True)


def _last_used(folder: Path) -> float:
    return folder.stat().st_mtime
