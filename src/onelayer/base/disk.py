"""Writes: a directory or file gets its name only when it is complete on the disk.

What a user names as an output keeps what it is: a link is followed, a pipe or device is written
into, and a file or directory that is replaced keeps its mode and owner.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import shutil
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from onelayer.base.errors import OneLayerError, Place, UsageError

# Directories -------------------------------------------------------------------------------------


def publish(target: Path, write: Callable[[Path], None]) -> None:
    """Writes a directory and puts it at ``target`` in one move.

    Everything is on the disk before the directory gets its name, so a reader sees the old
    directory or the new one, and a crash never leaves half of one. Only one process at a time may
    publish to a ``target``.

    Parameters
    ----------
    target
        The directory to create or replace. One that is replaced keeps its mode and owner, and so
        do files with names that it has already.
    write
        Fills the directory that it is given.

    Raises
    ------
    OneLayerError
        Where the disk refuses; ``target`` is then unchanged.
    """
    target = target.resolve()
    staged, old = _beside(target, "staged"), _beside(target, "old")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        restore(target)
        shutil.rmtree(staged, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
        staged.mkdir(0o700 if target.exists() else 0o777)
        write(staged)
        for path in (staged, *staged.rglob("*")):
            _keep_access(path, target / path.relative_to(staged))
        sync(staged)
        _swap(staged, target, old)
        _sync_one(target.parent)
    except (OSError, SafetensorError) as error:
        raise OneLayerError(
            f"can't be written: {reason_of(error)}",
            place=Place(target),
            hint="nothing was changed; free some space or choose another --out",
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def restore(target: Path) -> None:
    """Puts back the directory that a killed `publish` moved aside and didn't replace.

    Call it before anything is decided by whether ``target`` exists. It changes nothing where there
    is such a directory, or where the two were exchanged in one move.
    """
    with suppress(OSError, RuntimeError):  # RuntimeError: a loop of links
        target = target.resolve()
        if not os.path.lexists(target):
            _beside(target, "old").rename(target)


def sync(folder: Path) -> None:
    """Waits until every file of ``folder`` and the folders themselves are on the disk."""
    for root, _, files in os.walk(folder):
        for name in files:
            _sync_one(Path(root, name))
        _sync_one(Path(root))


def _beside(target: Path, kind: str) -> Path:
    return target.with_name(f".{target.name}.{kind}")


def _swap(staged: Path, target: Path, old: Path) -> None:
    """Puts a finished directory in its place. Where the system can't exchange two directories,
    there is a moment in which only ``old`` has the old one: `restore` is for a process that dies
    there."""
    if not os.path.lexists(target):
        staged.rename(target)
        return
    if _exchange(staged, target):
        return
    while True:
        target.rename(old)
        try:
            staged.rename(target)
            return
        except BaseException as error:
            restore(target)
            # A reader may have put the old directory back at that moment: then try again.
            if getattr(error, "errno", None) not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


def _exchange(one: Path, other: Path) -> bool:
    """Exchanges the names of two directories in one move; returns False where the system or the
    file system can't."""
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None) if os.name == "posix" else None
    if renameat2 is None:
        return False
    names = (os.fsencode(one), os.fsencode(other))
    return bool(renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0)


# Files -------------------------------------------------------------------------------------------


def check_output(path: Path) -> None:
    """Checks, before any work is done, that a file can be written at ``path``.

    Raises UsageError for a directory, a folder that is missing, and a place that is read-only.
    """
    if is_stream(path):
        return
    real = behind_links(path)
    if real.is_dir():
        raise UsageError("is a directory", place=Place(path), hint="name a file in it")
    if not real.parent.is_dir():
        raise UsageError("no such directory", place=Place(real.parent), hint="make it first")
    blocked = real if real.exists() else real.parent
    if not os.access(blocked, os.W_OK):
        raise UsageError("can't be written: read-only", place=Place(blocked))


def is_stream(path: Path) -> bool:
    """Whether a path is written into and never replaced: a pipe, a device, a socket, or an open
    file such as ``/dev/stdout``."""
    for each in (path, Path(os.path.realpath(path))):
        folder = os.path.realpath(each.parent)
        if folder == "/dev" or folder.startswith("/proc/"):
            return True
    with suppress(OSError):
        mode = path.stat().st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def behind_links(path: Path) -> Path:
    """The file that a path leads to, which may not exist yet. Raises UsageError for a loop."""
    try:
        return path.resolve() if path.is_symlink() else path
    except RuntimeError as error:
        raise UsageError("a link that leads in a circle", place=Place(path)) from error


def rewrite(path: Path, content: str | bytes) -> None:
    """Writes a file, or replaces it in one move; writes into a pipe or device.

    Raises OneLayerError where the disk refuses; the old file is then unchanged.
    """
    try:
        if is_stream(path):
            _write(path, content)
            return
        real = behind_links(path)
        staged = _beside(real, "staged")
        try:
            staged.touch(mode_until_finished(real))
            _write(staged, content)
            put(staged, real)
        except BaseException:
            staged.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OneLayerError(f"can't be written: {reason_of(error)}", place=Place(path)) from error


def _write(path: Path, content: str | bytes) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write_text(path, content)


def put(whole: Path, path: Path) -> None:
    """Moves a finished file to its name, from the same folder. A file that is there keeps its mode,
    its owner and its other names (hard links). Raises OSError where the disk refuses."""
    _sync_one(whole)
    _keep_access(whole, path)
    try:
        if path.exists() and path.stat().st_nlink > 1:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        whole.replace(path)
    except OSError as error:
        if error.errno != errno.EBUSY:  # it is for a file that a container mounts
            raise
        with whole.open("rb") as source, path.open("r+b") as target:
            shutil.copyfileobj(source, target)
            target.truncate()
        _sync_one(path)
        whole.unlink()
    _sync_one(path.parent)


def mode_until_finished(path: Path) -> int:
    """The mode with which to make the file that `put` moves to ``path``: only the owner may read
    what replaces a file, until it has the mode of that file."""
    return 0o600 if path.exists() else 0o666


def _keep_access(path: Path, like: Path) -> None:
    """Gives a new file or directory the mode and the owner of the one that it replaces, if there is
    one and the system allows it."""
    new = path.stat()
    try:
        old = like.stat()
    except OSError:
        return
    if stat.S_IFMT(new.st_mode) != stat.S_IFMT(old.st_mode):
        return
    mode = stat.S_IMODE(old.st_mode)
    if (new.st_uid, new.st_gid) != (old.st_uid, old.st_gid):
        try:
            os.chown(path, old.st_uid, old.st_gid)
        except OSError:
            mode &= ~0o7070  # the mode's bits for a group are not meant for another one
            mode |= (mode & 0o007) << 3
    if stat.S_IMODE(path.stat().st_mode) != mode:
        path.chmod(mode)


def reason_of(error: Exception) -> str:
    """Why the system refused, in its words."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


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


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
