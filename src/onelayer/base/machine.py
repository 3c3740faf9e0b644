"""This machine: its processor, the libraries built for it, and what was measured on it."""

from __future__ import annotations

import ctypes
import json
import math
import os
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

from onelayer.base import digest


def cache_home() -> Path:
    """The folder for libraries built for this machine and measurements made on it. Where the user
    has no home, as in a container under a number of its own, it is a temporary one."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "onelayer"
    try:
        return Path.home() / ".cache" / "onelayer"
    except RuntimeError:
        return _cache_without_home()


@cache
def _cache_without_home() -> Path:
    folder = Path(tempfile.gettempdir()) / f"onelayer-{os.getuid()}"
    with suppress(OSError):
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.stat().st_uid == os.getuid():
            return folder
    return Path(tempfile.mkdtemp(prefix="onelayer-"))  # somebody else has taken the name


def processor() -> str:
    """The processor's model and instruction sets, which decide what ``-march=native`` makes."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))


def instructions() -> frozenset[str]:
    """The processor's instruction sets, by Linux's names: ``avx512f``."""
    flags = (line for line in processor().splitlines() if line.startswith("flags"))
    return frozenset(next(flags, "").partition(":")[2].split())


QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""A container's limit, two numbers: microseconds of processor time, and the period they are for."""


def cores() -> int:
    """The number of processors that this process may use. In a container the quota counts: with
    more threads than it allows, all of them are paused together when it is used up."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with suppress(OSError, ValueError, ZeroDivisionError):  # no quota is "max"
        quota, period = map(int, QUOTA.read_text().split())
        return max(1, min(allowed or 1, -(-quota // period)))
    return allowed or 1


def give_memory_back() -> None:
    """Returns freed memory to the system. Batches of changing sizes leave holes in the heap that
    glibc would keep, and the memory of a long-running process would grow without end."""
    _glibc("malloc_trim", 0)


def limit_malloc_arenas() -> None:
    """Limits glibc to two heaps. By default threads get their own, up to eight per processor, and
    each keeps most of the memory that it needed once. Call it before any thread starts."""
    _glibc("mallopt", -8, 2)  # M_ARENA_MAX


def _glibc(name: str, *arguments: int) -> None:
    """Calls a function of glibc; does nothing where there is no such function."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)


def remembered(what: Sequence[object], measure: Callable[[], float]) -> float:
    """A measurement, made once on this machine and then read from the cache. A choice that rests
    on it is the same every time, even while the machine is busy.

    Parameters
    ----------
    what
        The measurement's key: what is measured, and the versions that it depends on.
    measure
        Makes the measurement.
    """
    path = cache_home() / f"measured-{key_of([*what, processor(), cores()])}.json"
    with suppress(OSError, ValueError, TypeError):
        figure = float(json.loads(path.read_text(encoding="utf-8")))
        if math.isfinite(figure):
            return figure
    figure = measure()
    with suppress(OSError):  # without a writable cache it is measured every time
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # damaged, if there is one
        staged = path.with_suffix(f".{os.getpid()}")
        staged.write_text(json.dumps(figure), encoding="utf-8")
        with suppress(FileExistsError):  # another process was first, and its figure counts
            os.link(staged, path)
        staged.unlink()
    return figure


def key_of(facts: Sequence[object]) -> str:
    """A short digest of all that something in the cache depends on."""
    return digest.of_text("\0".join(map(str, facts)))[:16]
