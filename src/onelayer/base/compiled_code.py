"""C code, compiled for this machine when first needed and kept in the user's cache.

A library from the cache runs in this process, so it is loaded only if it is whole and nobody else
could have written it. Otherwise it is built again.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from onelayer.base import digest
from onelayer.base.machine import cache_home, key_of, processor


def compiler() -> str | None:
    """The C compiler's command: ``CC``, else the first one found; None without a compiler."""
    named = os.environ.get("CC")
    return named or next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)


def c_sources(name: str) -> Path:
    """A folder of C sources: inside the installed package, or next to ``src`` in a clone."""
    package = Path(__file__).parents[1]
    installed = package / "csrc"
    return (installed if installed.is_dir() else package.parents[1] / "csrc") / name


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """C sources, and how they are compiled."""

    name: str
    """What the library's file is called."""
    folder: Path
    """The sources; headers that several libraries share are one folder above."""
    flags: Sequence[str]
    functions: Sequence[str]
    """What the library must have."""
    facts: Sequence[object] = ()
    """What the library depends on besides sources, flags and processor."""

    def load(self, command: str) -> ctypes.CDLL:
        """The library, built by a compiler's command, or from the cache.

        Without a cache that is ours alone and can be written, it is built for this process.

        Raises
        ------
        subprocess.SubprocessError
            Where the compiler fails.
        OSError
            Where the compiler is missing, or no folder can hold the library.
        """
        with suppress(OSError, subprocess.CalledProcessError):  # a full disk fails in either
            folder = _private(cache_home() / "libraries")
            library = folder / f"{self.name}-{self._key(command)}.so"
            if not _is_intact(library):
                with _locked(folder):  # another process may be building it
                    if not _is_intact(library):
                        self._build_with_digest(command, library)
            return open_library(library, self.functions)
        with tempfile.TemporaryDirectory(prefix="onelayer-") as name:
            library = Path(name, f"{self.name}.so")
            self.build(command, library)
            return open_library(library, self.functions)

    def build(self, command: str, library: Path) -> None:
        """Compiles the sources. Raises as `load` does."""
        with tempfile.TemporaryDirectory(dir=library.parent) as staging:
            fresh = Path(staging) / library.name
            sources = sorted(map(str, self.folder.glob("*.c")))
            arguments = [*shlex.split(command), *self.flags, "-o", str(fresh), *sources, "-lm"]
            subprocess.run(arguments, check=True, capture_output=True, timeout=120)
            fresh.chmod(0o755)
            _replace(fresh, library)

    def _build_with_digest(self, command: str, library: Path) -> None:
        self.build(command, library)
        fresh = library.with_name(f"{library.name}.{os.getpid()}")
        fresh.write_text(digest.of_file(library), encoding="utf-8")
        fresh.chmod(0o644)
        _replace(fresh, _digest_file(library))

    def _key(self, command: str) -> str:
        """A digest of all that the library depends on."""
        headers = [*self.folder.glob("*.h"), *self.folder.parent.glob("*.h")]
        sources = [digest.of_file(file) for file in sorted([*self.folder.glob("*.c"), *headers])]
        machine = (platform.machine(), processor())
        return key_of([command, *self.flags, *self.facts, *machine, *sources])


def build_failure(command: str, error: subprocess.SubprocessError) -> str:
    """Why a compiler failed, in one line, with the end of what it says itself."""
    said = (getattr(error, "stderr", None) or b"").decode(errors="replace").split("\n")
    last = next((line.strip() for line in reversed(said) if line.strip()), "")
    return f"{command} could not build it" + (f" ({last:.200})" if last else "")


def open_library(library: Path, functions: Sequence[str]) -> ctypes.CDLL:
    """Loads a library. Raises OSError if it can't be, or lacks one of the functions."""
    found = ctypes.CDLL(str(library))
    for name in functions:
        if not hasattr(found, name):
            raise OSError(f"{library} has no function {name}")
    return found


def _is_intact(library: Path) -> bool:
    """Whether a library is as it was built, and only this user or root could have written it."""
    beside = _digest_file(library)
    try:
        ours = all(_is_ours(path.stat()) for path in (library, beside))
        return ours and beside.read_text(encoding="utf-8") == digest.of_file(library)
    except (OSError, ValueError):
        return False


def _digest_file(library: Path) -> Path:
    return library.with_name(f"{library.name}.sha256")


def _private(folder: Path) -> Path:
    """Makes a folder into which only this user writes. Raises OSError for one of another user."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in (folder.parent, folder):
        status = each.stat()
        if not _is_ours(status) and status.st_uid == os.geteuid():
            each.chmod(stat.S_IMODE(status.st_mode) & ~0o022)
            status = each.stat()
        if not _is_ours(status):
            raise PermissionError(errno.EPERM, "others may write into it", str(each))
    return folder


def _is_ours(status: os.stat_result) -> bool:
    return status.st_uid in (os.geteuid(), 0) and not status.st_mode & 0o022


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / "lock").open("w") as lock:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _replace(fresh: Path, path: Path) -> None:
    """Gives a finished file its name when it is on the disk."""
    with fresh.open("rb") as written:
        os.fsync(written.fileno())
    fresh.replace(path)
