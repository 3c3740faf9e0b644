"""C and C++ code, compiled for this machine when first needed and kept in the user's cache.

A library from the cache runs in this process, so it is loaded only if it is whole and nobody else
could have written it. Otherwise it is built again.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import shlex
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from onelayer.base import digest
from onelayer.base.locks import waiting_for
from onelayer.base.machine import cache_home, cores, key_of, processor


def compiler(language: str = "C") -> str | None:
    """A compiler's command: ``CC`` for C or ``CXX`` for C++, else the first one found; None without
    a compiler."""
    variable, known = COMPILERS[language]
    return os.environ.get(variable) or next((name for name in known if shutil.which(name)), None)


COMPILERS = {"C": ("CC", ("cc", "gcc", "clang")), "C++": ("CXX", ("c++", "g++", "clang++"))}
"""The variable that names a language's compiler, and the compilers that are looked for."""
LANGUAGES = {".c": ("-x", "c"), ".cpp": ("-x", "c++", "-std=c++17")}
"""How a compiler of either language is told a source's language."""
HEADERS = (".h", ".hpp", ".inc")
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Other systems' names of processors, and Linux's."""
COMPILER_SECONDS = 600
"""A compiler that takes longer for one source is given up: something is wrong with the machine."""


def c_sources(name: str = "") -> Path:
    """A folder of sources: inside the installed package, or next to ``src`` in a clone."""
    package = Path(__file__).parents[1]
    installed = package / "csrc"
    return (installed if installed.is_dir() else package.parents[1] / "csrc") / name


def machine_name() -> str:
    """The kind of processor by Linux's name: ``x86_64``, ``aarch64``."""
    name = platform.machine().lower()
    return MACHINES.get(name, name)


@dataclass(frozen=True, slots=True)
class Compilation:
    """A source, and the flags that it is compiled with."""

    source: Path
    flags: tuple[str, ...] = ()
    alone: bool = True
    """Whether the table names it. The others of a folder are compiled as one."""

    def arguments(self, object_file: Path) -> list[str]:
        """The compiler's arguments for an object file of it."""
        language = LANGUAGES[self.source.suffix]
        return [*self.flags, *language, "-c", str(self.source), "-o", str(object_file)]


def _joined(parts: Sequence[Compilation], staging: Path) -> list[Compilation]:
    """The same with one C++ source for each folder where flags allow: the headers, which take most
    of the compiler's time, are read once."""
    together: dict[Path, list[Compilation]] = {}
    found = []
    for part in parts:
        if part.alone or not _is_cpp(part.source):
            found.append(part)
        else:
            together.setdefault(part.source.parent, []).append(part)
    for folder, members in together.items():
        source = staging / f"{folder.name}.cpp"
        lines = [f'#include "{member.source.as_posix()}"\n' for member in members]
        source.write_text("".join(lines), encoding="utf-8")
        found.append(Compilation(source, members[0].flags))
    return found


def own_flags(table: Path, machine: str) -> dict[str, list[tuple[str, ...]]]:
    """For each source that a table names, the flags of each time that it is compiled.

    A line of the table is ``FILE MACHINE FLAGS``. The machine ``any`` stands for every one, and
    ``#`` begins a comment. A source whose lines are all of other machines isn't compiled. The lines
    of the file ``*`` have flags for every source, and a folder's for its sources without lines.
    """
    found: dict[str, list[tuple[str, ...]]] = {}
    for line in table.read_text(encoding="utf-8").splitlines():
        words = line.partition("#")[0].split()
        if words:
            times = found.setdefault(words[0], [])
            if words[1] in ("any", machine):
                times.append(tuple(words[2:]))
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """C and C++ sources of one library, and how they are compiled."""

    name: str
    """What the library's file is called."""
    folders: Sequence[Path]
    """The sources and their headers; headers that several share are in ``include`` beside them."""
    flags: Sequence[str] = ()
    """For every source, and for linking."""
    table: Path | None = None
    """Sources with flags of their own: see `own_flags`. Its names start at its folder."""
    functions: Sequence[str]
    """What the library must have."""
    facts: Sequence[object] = ()
    """What the library depends on besides sources, flags and processor."""

    @property
    def language(self) -> str:
        """``C++`` if any source is."""
        return "C++" if any(map(_is_cpp, self._files(*LANGUAGES))) else "C"

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
            library = self._cached(command)
            folder = _private(library.parent)
            if not _is_intact(library):
                with waiting_for(folder / "lock"):  # another process may be building it
                    if not _is_intact(library):
                        self._build_with_digest(command, library)
            return open_library(library, self.functions)
        with tempfile.TemporaryDirectory(prefix="onelayer-") as name:
            library = Path(name, f"{self.name}.so")
            self.build(command, library)
            return open_library(library, self.functions)

    def is_built(self, command: str) -> bool:
        """Whether `load` finds the library in the cache."""
        return _is_intact(self._cached(command))

    def build(
        self, command: str, library: Path, linking: Sequence[str] = (), machine: str | None = None
    ) -> None:
        """Compiles the sources, as many at once as there are processors, and links them.

        Parameters
        ----------
        command
            The compiler's.
        library
            The file to make.
        linking
            More flags for linking.
        machine
            The processor that the compiler compiles for; by default this one.

        Raises
        ------
        subprocess.SubprocessError, OSError
            As `load` does.
        """
        with tempfile.TemporaryDirectory(dir=library.parent) as name:
            staging = Path(name)
            call = [*shlex.split(command), *self.flags, "-fPIC"]
            parts = _joined(self.compilations(machine or machine_name()), staging)
            objects = [staging / f"{i}.o" for i in range(len(parts))]
            with ThreadPoolExecutor(cores()) as pool:  # each thread waits for its process
                list(pool.map(lambda part, to: _run([*call, *part.arguments(to)]), parts, objects))
            fresh = staging / library.name
            _run([*call, "-shared", "-o", str(fresh), *map(str, objects), *linking, "-lm"])
            fresh.chmod(0o755)
            _replace(fresh, library)

    def compilations(self, machine: str) -> list[Compilation]:
        """What is compiled for a kind of processor: a source can be listed several times."""
        table = own_flags(self.table, machine) if self.table else {}
        home = self.table.parent if self.table else Path()
        every = tuple(flag for flags in table.get("*", ()) for flag in flags)
        return [
            Compilation(source, every + flags, alone=name in table)
            for source in self._files(*LANGUAGES)
            for name in [_name_below(source, home)]
            for flags in table.get(name, table.get(_name_below(source.parent, home), [()]))
        ]

    def _files(self, *suffixes: str) -> list[Path]:
        return sorted(
            file for folder in self.folders for file in folder.iterdir() if file.suffix in suffixes
        )

    def _build_with_digest(self, command: str, library: Path) -> None:
        self.build(command, library)
        fresh = library.with_name(f"{library.name}.{os.getpid()}")
        fresh.write_text(digest.of_file(library), encoding="utf-8")
        fresh.chmod(0o644)
        _replace(fresh, _digest_file(library))

    def _cached(self, command: str) -> Path:
        """The library's place in the cache."""
        return cache_home() / "libraries" / f"{self.name}-{self._key(command)}.so"

    def _key(self, command: str) -> str:
        """A digest of all that the library depends on."""
        shared = sorted({folder.parent / "include" for folder in self.folders})
        files = [*self._files(*LANGUAGES, *HEADERS), *([self.table] if self.table else ())]
        files += (file for folder in shared for file in sorted(folder.glob("*.h")))
        # A source's name chooses its flags, so it counts, too.
        sources = [f"{file.name} {digest.of_file(file)}" for file in files]
        machine = (platform.machine(), processor())
        return key_of([command, *self.flags, *self.facts, *machine, *sources])


def _is_cpp(source: Path) -> bool:
    return source.suffix == ".cpp"


def _name_below(path: Path, folder: Path) -> str:
    """A path as it is written from a folder, or its own where it lies outside."""
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def _run(arguments: Sequence[str]) -> None:
    """Runs a compiler. Raises CalledProcessError with what it says where it fails."""
    subprocess.run(arguments, check=True, capture_output=True, timeout=COMPILER_SECONDS)


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


def _replace(fresh: Path, path: Path) -> None:
    """Gives a finished file its name when it is on the disk."""
    with fresh.open("rb") as written:
        os.fsync(written.fileno())
    fresh.replace(path)
