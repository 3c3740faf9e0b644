"""libonelayer, built for this machine when first needed. For machines without a compiler, such as a
container, it can be built beforehand, for any processor of the kind:

    python -m onelayer.engines.native.library
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from onelayer.base.compiled_code import Code, build_failure, c_sources, compiler, open_library
from onelayer.base.errors import UsageError
from onelayer.base.library_structs import Found, RowInput, TextBytes

WHEELS = "engines/native/libonelayer.so"
"""A wheel's library, from the package's folder."""
PREBUILT = Path(__file__).parents[2] / WHEELS

_POINTER, _SIZE, _INT = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
_ERROR: tuple[Any, ...] = (ctypes.c_char_p, _SIZE)
"""A buffer for an error, and its size."""
SIGNATURES: dict[str, tuple[Any, Sequence[Any]]] = {
    # onelayer.h
    "onelayer_error": (ctypes.c_char_p, ()),
    "onelayer_last_status": (_INT, ()),
    "onelayer_predict": (_POINTER, (_POINTER, ctypes.POINTER(RowInput), _SIZE)),
    "onelayer_prediction_at": (ctypes.POINTER(Found), (_POINTER, _SIZE)),
    "onelayer_free": (None, (_POINTER,)),
    "onelayer_close": (None, (_POINTER,)),
    # library/parts_interface.h
    "onelayer_row_tokenizer_open": (_POINTER, (TextBytes, TextBytes, _SIZE, _INT)),
    "onelayer_row_tokenizer_close": (None, (_POINTER,)),
    "onelayer_row_tokenizer_pieces": (_POINTER, (_POINTER, TextBytes, _POINTER, _SIZE, _INT)),
    "onelayer_row_tokenizer_words": (
        _POINTER,
        (_POINTER, TextBytes, _POINTER, _SIZE, _POINTER, _POINTER),
    ),
    "onelayer_model_of": (_POINTER, (_POINTER, _POINTER, TextBytes, TextBytes, _INT)),
    # engine/engine_interface.h
    "onelayer_engine_open": (_POINTER, (_POINTER, _POINTER, _SIZE, *_ERROR)),
    "onelayer_engine_of_two": (_POINTER, (_POINTER, _POINTER, ctypes.c_float, _SIZE, *_ERROR)),
    "onelayer_engine_logits": (_INT, (_POINTER, _POINTER, _INT, _POINTER, *_ERROR)),
    "onelayer_engine_close": (None, (_POINTER,)),
    "onelayer_engine_instructions": (ctypes.c_char_p, (_POINTER,)),
    "onelayer_engine_check": (_INT, _ERROR),
    "onelayer_engine_sets": (ctypes.c_char_p, ()),
}
"""The functions that Python calls: what each returns, and its arguments."""

ROOMS = ("base", "bundle", "engine", "library", "tasks", "tokens")
CORE = Code(
    name="onelayer",
    folders=tuple(folder for room in ROOMS if (folder := c_sources(room)).is_dir()),
    flags=("-O2", "-pthread"),
    table=c_sources("flags.txt"),
    functions=tuple(SIGNATURES),
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
    for name, (returned, arguments) in SIGNATURES.items():
        function = getattr(found, name)
        function.restype, function.argtypes = returned, list(arguments)
    return found, None


def library_at_hand() -> ctypes.CDLL | None:
    """The library, unless it would have to be built first, which takes longer than some use of it
    saves."""
    command = compiler("C++")
    if PREBUILT.exists() or (command is not None and CORE.is_built(command)):
        return library()[0]
    return None


def close_with(owner: object, close: Callable[[int], None], handle: int) -> None:
    """Closes a handle of the library when its owner is freed. Not when the process ends: a thread
    may then still be in the library."""
    weakref.finalize(owner, close, handle).atexit = False


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
