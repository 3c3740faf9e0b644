"""Builds of the C++ library for the checks of its robustness, by CMake."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def build_library(name: str, target: str, sanitizers: str, options: Sequence[str] = ()) -> Path:
    """The folder ``build/NAME`` with the library in it, built again where its sources changed.

    Parameters
    ----------
    name
        Of the folder.
    target
        ``onelayer_shared`` or ``onelayer_static``.
    sanitizers
        As compilers take them, such as ``address,undefined``; empty for none.
    options
        More of CMake's.
    """
    folder = ROOT / "build" / name
    configure = ["cmake", "-S", str(ROOT / "csrc"), "-B", str(folder), "-DONELAYER_PROGRAM=OFF"]
    configure += [f"-DONELAYER_SANITIZE={sanitizers}", *options]
    for command in (configure, ["cmake", "--build", str(folder), "--target", target]):
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder
