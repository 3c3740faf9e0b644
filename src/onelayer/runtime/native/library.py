"""The C encoder as a library: built for this machine when first needed, or before, with

    python -m onelayer.runtime.native.library

for machines that have no compiler, such as a container, and a processor with AVX-512 VNNI.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from functools import cache
from pathlib import Path

from onelayer import digest
from onelayer.errors import UsageError
from onelayer.machine import build, compiled, compiler, instructions

HERE = Path(__file__).parent
SHARED = HERE.parents[1] / "nn" / "kernels" / "vector.h"
FLAGS = ("-O3", "-fno-math-errno", "-fno-trapping-math", "-fPIC", "-shared", "-pthread")
PREBUILT = HERE / "avx512vnni.so"
PREBUILT_FLAGS = ("-march=x86-64-v4", "-mavx512vnni")
PREBUILT_NEEDS = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni"}


@cache
def library() -> tuple[ctypes.CDLL | None, str | None]:
    """The library, or why there is none."""
    if os.environ.get("ONELAYER_KERNELS") == "0":
        return None, "compiled kernels are turned off (ONELAYER_KERNELS=0)"
    command = compiler()
    try:
        if command is not None:
            flags = (*FLAGS, "-march=native")
            built = compiled("native", command, flags, HERE, [digest.of_file(SHARED)])
        elif PREBUILT.exists() and instructions() >= PREBUILT_NEEDS:
            built = PREBUILT
        else:
            return None, "no C compiler (gcc, clang)"
        found = ctypes.CDLL(str(built))
    except subprocess.SubprocessError:
        return None, f"{command} could not build it"
    except OSError as error:
        return None, str(error)
    found.run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_int64]
    found.run.restype = ctypes.c_int
    return found, None


def prebuild(path: Path = PREBUILT) -> None:
    """Makes the library for every processor with AVX-512 VNNI. Raises UsageError without a
    compiler, subprocess.SubprocessError where it fails."""
    command = compiler()
    if command is None:
        raise UsageError("no C compiler", hint="install gcc or clang")
    build(command, (*FLAGS, *PREBUILT_FLAGS), HERE, path)


if __name__ == "__main__":
    prebuild()
    print(PREBUILT)
