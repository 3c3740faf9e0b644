"""The machine at hand: its processor, what was built for it, and what was measured of it."""

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
    """Where what was built for this machine, or measured of it, is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onelayer"


def processor() -> str:
    """What ``-march=native`` depends on, where it can be read."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return "\n".join(sorted({line for line in lines if line.startswith(("model name", "flags"))}))


def instructions() -> frozenset[str]:
    """The sets of instructions that the processor has, as Linux calls them."""
    flags = (line for line in processor().splitlines() if line.startswith("flags"))
    return frozenset(next(flags, "").partition(":")[2].split())


QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""A container's limit, two numbers: microseconds of processor time, and the period they are for."""


def cores() -> int:
    """How many processors this process may use: more threads than a container's quota lets run
    would be stopped in the midst of their work."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with suppress(OSError, ValueError, ZeroDivisionError):  # no quota is "max"
        quota, period = map(int, QUOTA.read_text().split())
        return max(1, min(allowed or 1, -(-quota // period)))
    return allowed or 1


def give_memory_back() -> None:
    """Returns freed memory to the system. Work of ever new sizes leaves holes in the heap, which
    glibc keeps: the memory of a process that runs for long would creep up all the way."""
    _glibc("malloc_trim", 0)


def few_heaps() -> None:
    """glibc gives threads heaps of their own, up to eight a processor, and what one of them has
    needed once is hardly given back. To be called before threads begin."""
    _glibc("mallopt", -8, 2)  # M_ARENA_MAX


def _glibc(name: str, *arguments: int) -> None:
    """Calls a function of the C library, where it has one of that name."""
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function is not None:
        function(*arguments)


def compiler() -> str | None:
    """The C compiler's command: ``CC``, or the first one found; None where there is none."""
    named = os.environ.get("CC")
    return named or next((name for name in ("cc", "gcc", "clang") if shutil.which(name)), None)


def c_sources(name: str) -> Path:
    """A folder of C sources: inside the installed package, in a clone beside ``src``."""
    package = Path(__file__).parents[1]
    installed = package / "csrc"
    return (installed if installed.is_dir() else package.parents[1] / "csrc") / name


def compiled_library(
    name: str, command: str, flags: Sequence[str], folder: Path, facts: Sequence[object] = ()
) -> Path:
    """A shared library of a folder's C sources, built by ``command`` if it was not before.

    ``facts`` are what else it depends on. Raises subprocess.SubprocessError where the compiler
    fails, OSError where it is missing or the cache can't be written.
    """
    # Headers that libraries share lie one folder above.
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
    """Makes ``library`` of a folder's C sources. Raises as `compiled_library`."""
    with tempfile.TemporaryDirectory(dir=library.parent) as staging:
        fresh = Path(staging) / library.name
        sources = sorted(map(str, folder.glob("*.c")))
        arguments = [*shlex.split(command), *flags, "-o", str(fresh), *sources, "-lm"]
        subprocess.run(arguments, check=True, capture_output=True, timeout=120)
        fresh.replace(library)


def remembered(what: Sequence[object], measure: Callable[[], float]) -> float:
    """The figure as it was first measured on this machine, or as it is now: work repeated on a
    busier day is to choose the same way. ``what`` says of what it is, versions included."""
    path = cache_home() / f"measured-{_key([*what, processor(), cores()])}.json"
    with suppress(OSError, ValueError, TypeError):
        return float(json.loads(path.read_text(encoding="utf-8")))
    figure = measure()
    with suppress(OSError):  # a machine without a home measures every time
        path.parent.mkdir(parents=True, exist_ok=True)
        staged = path.with_suffix(f".{os.getpid()}")
        staged.write_text(json.dumps(figure), encoding="utf-8")
        with suppress(FileExistsError):  # another process was first: what it found holds
            os.link(staged, path)
        staged.unlink()
    return figure


def _key(facts: Sequence[object]) -> str:
    return digest.of_text("\0".join(map(str, facts)))[:16]
