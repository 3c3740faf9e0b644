"""This machine: its processor, the libraries built for it, and what was measured on it."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from onelayer.base import digest


def cache_home() -> Path:
    """The folder for libraries built for this machine and measurements made on it."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onelayer"


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


def compiler() -> str | None:
    """The C compiler's command: ``CC``, else the first one found; None without a compiler."""
    named = os.environ.get("CC")
    return named or next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)


def c_sources(name: str) -> Path:
    """A folder of C sources: inside the installed package, or next to ``src`` in a clone."""
    package = Path(__file__).parents[1]
    installed = package / "csrc"
    return (installed if installed.is_dir() else package.parents[1] / "csrc") / name


def compiled_library(
    name: str, command: str, flags: Sequence[str], folder: Path, facts: Sequence[object] = ()
) -> Path:
    """Builds a shared library for this machine, or finds it in the cache.

    Parameters
    ----------
    name
        What the library's file is called.
    command, flags
        The compiler's command line.
    folder
        The C sources.
    facts
        What the library depends on besides sources, flags and processor.

    Raises
    ------
    subprocess.SubprocessError
        Where the compiler fails.
    OSError
        Where the compiler is missing or the cache can't be written.
    """
    # Headers that several libraries share are one folder above.
    files = sorted([*folder.glob("*.c"), *folder.glob("*.h"), *folder.parent.glob("*.h")])
    sources = [digest.of_file(file) for file in files]
    key = _key([command, *flags, *facts, platform.machine(), processor(), *sources])
    home = cache_home()
    library = home / f"{name}-{key}.so"
    if not library.exists():
        home.mkdir(parents=True, exist_ok=True)
        build_library(command, flags, folder, library)
    return library


def build_library(command: str, flags: Sequence[str], folder: Path, library: Path) -> None:
    """Compiles a folder's C sources into ``library``. Raises as `compiled_library` does."""
    with tempfile.TemporaryDirectory(dir=library.parent) as staging:
        fresh = Path(staging) / library.name
        sources = sorted(map(str, folder.glob("*.c")))
        arguments = [*shlex.split(command), *flags, "-o", str(fresh), *sources, "-lm"]
        subprocess.run(arguments, check=True, capture_output=True, timeout=120)
        fresh.replace(library)


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
    path = cache_home() / f"measured-{_key([*what, processor(), cores()])}.json"
    with suppress(OSError, ValueError, TypeError):
        return float(json.loads(path.read_text(encoding="utf-8")))
    figure = measure()
    with suppress(OSError):  # without a writable cache it is measured every time
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_suffix(f".{os.getpid()}")
        staged.write_text(json.dumps(figure), encoding="utf-8")
        with suppress(FileExistsError):  # another process was first, and its figure counts
            os.link(staged, path)
        staged.unlink()
    return figure


def _key(facts: Sequence[object]) -> str:
    return digest.of_text("\0".join(map(str, facts)))[:16]
