"""The compiled code of a wheel: the engine's library, and training's kernels.

The compilers are those of ``CC`` and ``CXX``, which may compile for another platform; as for other
packages, ``_PYTHON_HOST_PLATFORM`` then names it: ``linux-aarch64``, ``manylinux_2_28_aarch64``.
"""

from __future__ import annotations

import subprocess
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from onelayer.base.compiled_code import MACHINES, Code, build_failure, c_sources, compiler
from onelayer.base.errors import UsageError
from onelayer.engines.native.library import CORE, PREBUILT, WHEELS, instruction_sets, library
from onelayer.nn.kernel_builds import BUILDS, kernel_code, prebuilt_name

SMALL = ("-ffunction-sections", "-fdata-sections")
LINKING = ("-s", "-Wl,--gc-sections", "-static-libgcc")
"""What nothing calls is left out, and the compiler's own library need not be there at run time."""
OWN_RUNTIME = "-DONELAYER_OWN_RUNTIME"
LINKING_CPP = (*LINKING, "-static-libstdc++", f"-Wl,--version-script={c_sources('exports.map')}")
"""Nor need the C++ library be there."""
APPLE = ("-Wl,-dead_strip", "-Wl,-x")
WITHOUT_OPENMP = ("-fno-openmp",)
"""Kernels find OpenMP's functions in the process: torch brings them. A second OpenMP would bring
threads of its own."""


@dataclass(frozen=True, slots=True)
class Library:
    """A library of the wheel."""

    name: str
    """Its file, from the package's folder."""
    code: Code
    linking: tuple[str, ...]


def build_libraries(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Builds the libraries of a wheel into a folder.

    Returns
    -------
    The files by their place in the package, and what could not be built and why.
    """
    built: dict[str, Path] = {}
    failures: list[str] = []
    platform = platform_tag()
    for each in libraries(platform):
        language, path = each.code.language, folder / Path(each.name).name
        command = compiler(language)
        try:
            if command is None:
                raise OSError(f"no {language} compiler")
            each.code.build(command, path, each.linking, machine_of(platform))
        except subprocess.SubprocessError as error:
            failures.append(f"{each.name}: {build_failure(str(command), error)}")
        except OSError as error:
            failures.append(f"{each.name}: {error}")
        else:
            built[each.name] = path
    return built, failures


def libraries(platform: str) -> Iterator[Library]:
    """The libraries of a wheel for a platform."""
    if platform.startswith("macosx"):  # Apple's compiler has no OpenMP, which kernels need
        yield Library(WHEELS, replace(CORE, flags=(*CORE.flags, *SMALL)), APPLE)
        return
    yield Library(WHEELS, replace(CORE, flags=(*CORE.flags, *SMALL, OWN_RUNTIME)), LINKING_CPP)
    for name, (flag, _) in BUILDS.get(machine_of(platform), {}).items():
        linking = (*LINKING, *WITHOUT_OPENMP)
        yield Library(f"nn/{prebuilt_name(name)}", kernel_code(flag), linking)


def show_library() -> None:
    """Prints where the library of a wheel is. Raises UsageError where it can't be loaded."""
    found, reason = library()
    if not PREBUILT.exists() or found is None:
        raise UsageError(f"the package has no compiled code: {reason or PREBUILT}")
    print(PREBUILT, *instruction_sets())


def platform_tag() -> str:
    """The platform that is built for, as a wheel's name has it: ``linux_x86_64``."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


def machine_of(platform: str) -> str:
    """The processor of a platform, by Linux's name."""
    for name in ("x86_64", "aarch64", *MACHINES):
        if platform.endswith(name):
            return MACHINES.get(name, name)
    return platform.rpartition("_")[2]


if __name__ == "__main__":
    show_library()
