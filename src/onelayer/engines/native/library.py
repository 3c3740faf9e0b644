"""The C encoder as a library, built for this machine when first needed. For machines without a
compiler, such as a container, and with AVX-512 VNNI it can be built beforehand:

    python -m onelayer.engines.native.library
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from functools import cache
from pathlib import Path

from onelayer.base.compiled_code import Code, build_failure, c_sources, compiler, open_library
from onelayer.base.errors import UsageError
from onelayer.base.machine import instructions

FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-pthread")
WHEELS = "engines/native/libonelayer.so"
"""A wheel's library, from the package's folder."""
PREBUILT_IN = Path(__file__).parent
PREBUILT = {"avx512bf16.so": ("avx512vnni", "avx512bf16"), "avx512vnni.so": ("avx512vnni",)}
"""Prebuilt libraries, the fastest first, with the instruction sets that each needs beyond
x86-64-v4."""
V4 = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
"""The AVX-512 sets of x86-64-v4, by Linux's names."""
FUNCTIONS = ("run",)

ROOMS = ("base", "bundle", "engine", "library", "tasks", "tokens")
CORE = Code(
    name="onelayer",
    folders=tuple(folder for room in ROOMS if (folder := c_sources(room)).is_dir()),
    flags=("-O2", "-pthread"),
    table=c_sources("flags.txt"),
    functions=(),
)
"""The C++ library, from text to answers."""


def code(*processor: str) -> Code:
    """The C code for a kind of processor, which the flags name."""
    flags = (*FLAGS, *processor)
    return Code(name="native", folders=(c_sources("engine"),), flags=flags, functions=FUNCTIONS)


@cache
def library() -> tuple[ctypes.CDLL | None, str | None]:
    """The library, or None and the reason."""
    if os.environ.get("ONELAYER_KERNELS") == "0":
        return None, "compiled kernels are turned off (ONELAYER_KERNELS=0)"
    command = compiler()
    try:
        if command is not None:
            found = code("-march=native").load(command)
        elif before := prebuilt():
            found = open_library(before, FUNCTIONS)
        else:
            return None, "no C compiler (gcc, clang)"
    except subprocess.SubprocessError as error:
        return None, build_failure(str(command), error)
    except OSError as error:
        return None, str(error)
    found.run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64]
    found.run.restype = ctypes.c_int
    return found, None


def prebuilt() -> Path | None:
    """The fastest prebuilt library that runs on this processor; None without one."""
    for name, sets in PREBUILT.items():
        needs = V4 | {each.replace("avx512", "avx512_") for each in sets}  # as Linux writes them
        if (PREBUILT_IN / name).exists() and instructions() >= needs:
            return PREBUILT_IN / name
    return None


def prebuild() -> None:
    """Builds a library for processors with AVX-512 VNNI, and a faster one for those that also have
    AVX-512 BF16.

    Raises UsageError without a compiler, and subprocess.SubprocessError where it fails.
    """
    command = compiler()
    if command is None:
        raise UsageError("no C compiler", hint="install gcc or clang")
    for name, sets in PREBUILT.items():
        beyond = (f"-m{each}" for each in sets)
        code("-march=x86-64-v4", *beyond).build(command, PREBUILT_IN / name)


if __name__ == "__main__":
    prebuild()
    print(*(PREBUILT_IN / name for name in PREBUILT), sep="\n")
