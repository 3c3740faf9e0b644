"""A cache on the disk whose entries are whole or not there."""

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
STAGED = ".staged-"
MOST_BYTES = 20 * 1024**3
"""Entries that were not used for longest make room beyond this."""
ABANDONED = 24 * 3600
"""Seconds after which a half-written entry is taken for that of a killed process."""


def entries_home() -> Path:
    """Where entries lie. Whoever wants the room back removes the folder."""
    return cache_home() / "tokens"


def cached(
    key: str,
    make: Callable[[Path], None],
    load: Callable[[Path], T],
    say: Callable[[str], None],
) -> T:
    """What ``load`` reads from the entry ``key``, which ``make`` fills if there is none.

    ``load`` raises ValueError, LookupError, TypeError, OSError or OneLayerError for an entry that
    is damaged: it is made anew. Where the cache can't be written, a temporary folder does for this
    once; ``load`` must not need the files' names once it has returned.
    """
    entry = entries_home() / key
    with suppress(ValueError, LookupError, TypeError, OSError, OneLayerError):
        found = load(entry)
        with suppress(OSError):
            os.utime(entry)
        return found
    shutil.rmtree(entry, ignore_errors=True)  # it was damaged
    try:
        _publish(entry, make)
        with suppress(OSError):  # another process may be doing the same
            _make_room(entry)
        return load(entry)
    except OSError as error:
        reason = error.strerror or str(error)
    say(f"warning: {entry.parent} can't be written ({reason}): tokens are not kept for other runs")
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            make(Path(folder))
            return load(Path(folder))
    except OSError as error:
        raise OneLayerError(
            f"no room for the file's tokens: {error.strerror or error}",
            place=Place(tempfile.gettempdir()),
            hint="free some space, or set TMPDIR or XDG_CACHE_HOME to a larger disk",
        ) from error


def _publish(entry: Path, make: Callable[[Path], None]) -> None:
    """Fills a folder of its own, which gets the entry's name when all of it is on the disk."""
    entry.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=STAGED, dir=entry.parent))
    try:
        make(staged)
        sync(staged)
        try:
            staged.rename(entry)
        except OSError:
            if not entry.exists():  # else another process was first, with the same content
                raise
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _make_room(newest: Path) -> None:
    """Removes what was abandoned, and the entries used least recently beyond ``MOST_BYTES``."""
    room = MOST_BYTES
    for folder in sorted(newest.parent.iterdir(), key=_last_used, reverse=True):
        if folder.name.startswith(STAGED):
            if _last_used(folder) < time.time() - ABANDONED:
                shutil.rmtree(folder, ignore_errors=True)
            continue
        room -= sum(file.stat().st_size for file in folder.iterdir())
        if room < 0 and folder != newest:
            shutil.rmtree(folder, ignore_errors=True)


def _last_used(folder: Path) -> float:
    return folder.stat().st_mtime
