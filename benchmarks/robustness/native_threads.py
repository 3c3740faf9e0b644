"""Threads that share a model of the C++ library get the same answers as one, without a data race.

    python -m benchmarks.robustness.native_threads [BUNDLE ...] [--plain]

Four threads use one model at once: they predict single texts and batches, open the same weights
with options of their own, and see errors. The library and the program are built with
ThreadSanitizer (`--plain`: without). Without BUNDLE it takes small bundles of each task and of each
family. The command fails at a data race, or where an answer differs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from onelayer.base.compiled_code import compiler

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from benchmarks.robustness.native_allocations import inputs_of  # noqa: E402
from benchmarks.support.native_builds import build_library  # noqa: E402

SOURCE = Path(__file__).with_suffix(".cpp")


def built(folder: Path, *, plain: bool) -> Path:
    """The program with the library in it. The latter's objects stay in `build`."""
    command = compiler("C++")
    if command is None:
        raise SystemExit("no C++ compiler (g++, clang++)")
    build = ("threads-plain", "") if plain else ("threads", "thread")
    objects = build_library(
        build[0], "onelayer_static", build[1], [f"-DCMAKE_CXX_COMPILER={command}"]
    )
    program = folder / "native_threads"
    flags = ["-std=c++17", "-O2", "-g", *([] if plain else ["-fsanitize=thread"])]
    library = str(objects / "libonelayer.a")
    subprocess.run(
        [command, *flags, str(SOURCE), library, "-lpthread", "-lm", "-o", str(program)], check=True
    )
    return program


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("bundles", type=Path, nargs="*")
    parser.add_argument("--plain", action="store_true")
    given = parser.parse_args()
    from support.native_bundles import write_example_bundles

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = built(folder, plain=given.plain)
        bundles = given.bundles
        if not bundles:
            write_example_bundles(folder / "bundles")
            bundles = sorted((folder / "bundles").iterdir())
        for bundle in bundles:
            done = subprocess.run([str(program), str(bundle), inputs_of(bundle)])
            if done.returncode:
                print(f"{bundle.name}: failed")
                return 1
            print(f"{bundle.name}: the same", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
