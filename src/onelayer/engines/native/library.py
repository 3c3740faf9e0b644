"""libonelayer, built for this machine when first needed. For machines without a compiler, such as a
container, it can be built beforehand, for any processor of the kind:

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

WHEELS = "engines/native/libonelayer.so"
"""A wheel's library, from the package's folder."""
PREBUILT = Path(__file__).parents[2] / WHEELS

ROOMS = ("base", "bundle", "engine", "library", "tasks", "tokens")
CORE = Code(
    name="onelayer",
    folders=tuple(folder for room in ROOMS if (folder := c_sources(room)).is_dir()),
    flags=("-O2", "-pthread"),
    table=c_sources("flags.txt"),
    functions=(
        "onelayer_open",
        "onelayer_engine_check",
        "onelayer_engine_close",
        "onelayer_engine_instructions",
        "onelayer_engine_logits",
        "onelayer_engine_open",
        "onelayer_engine_sets",
    ),
)
"""The C++ library, from text to answers."""
_ERROR_BYTES = 1024


@cache
def library() -> tuple[ctypes.CDLL | None, str | None]:
    """The library, or None and the reason."""
    if os.environ.get("ONELAYER_KERNELS") == "0":
        return None, "compiled kernels are turned off (ONELAYER_KERNELS=0)"
    command = compiler("C++")
    try:
        if PREBUILT.exists():
            found = open_library(PREBUILT, CORE.functions)
        elif command is not None:
            found = CORE.load(command)
        else:
            return None, "no C++ compiler (g++, clang++)"
    except subprocess.SubprocessError as error:
        return None, build_failure(str(command), error)
    except OSError as error:
        return None, str(error)
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    # With pointers' types, ctypes doesn't take them for numbers of 32 bits.
    found.onelayer_engine_open.argtypes = [pointer, pointer, size, ctypes.c_char_p, size]
    found.onelayer_engine_open.restype = pointer
    found.onelayer_engine_logits.argtypes = [
        *(pointer, pointer, ctypes.c_int, pointer, ctypes.c_char_p, size)
    ]
    found.onelayer_engine_close.argtypes = [pointer]
    found.onelayer_engine_instructions.argtypes = [pointer]
    found.onelayer_engine_instructions.restype = ctypes.c_char_p
    found.onelayer_engine_check.argtypes = [ctypes.c_char_p, size]
    found.onelayer_engine_sets.restype = ctypes.c_char_p
    return found, None


def why_no_library() -> str | None:
    """Why no engine can be opened now: there is no library, or ``ONELAYER_INSTRUCTIONS`` names what
    this processor hasn't. None if one can."""
    found, reason = library()
    if found is None:
        return reason
    error = ctypes.create_string_buffer(_ERROR_BYTES)
    failed = found.onelayer_engine_check(error, len(error))
    return error.value.decode() if failed else None


def instruction_sets() -> list[str]:
    """The instruction sets of this processor that the engine can use, the fastest first. Setting
    ``ONELAYER_INSTRUCTIONS`` to one of them chooses it."""
    found, _ = library()
    return [] if found is None else found.onelayer_engine_sets().decode().split()


def prebuild() -> None:
    """Builds the library into the package.

    Raises UsageError without a compiler, and subprocess.SubprocessError where it fails.
    """
    command = compiler("C++")
    if command is None:
        raise UsageError("no C++ compiler", hint="install g++ or clang++")
    CORE.build(command, PREBUILT)


if __name__ == "__main__":
    prebuild()
    print(PREBUILT)
