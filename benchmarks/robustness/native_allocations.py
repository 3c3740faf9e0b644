"""Counts how often the C++ library asks for memory in a call, once it is warm.

    cmake -S csrc -B build/native && cmake --build build/native
    python -m benchmarks.robustness.native_allocations BUNDLE [BUNDLE ...] [--threads N]

A program that counts every malloc predicts for texts of 1 to 400 words, one a call: three rounds
to warm up, one that is counted, and one with JSON. The command prints the mean of each, and fails
where predicting asks for memory at all.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from onelayer.base.compiled_code import compiler

SOURCE = Path(__file__).with_suffix(".cpp")
LIBRARY = Path("build/native/libonelayer.a")


def inputs_of(bundle: Path) -> str:
    """Which texts the bundle's model reads, as the program calls them."""
    record = json.loads((bundle / "onelayer.json").read_text(encoding="utf-8"))
    name: str = record["task"]["name"]
    if "pair" in record["layout"]["columns"]:
        return "pair"
    return name if name in ("answer", "choose") else "classify"


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n", maxsplit=1)[0])
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--library", type=Path, default=LIBRARY)
    given = parser.parse_args()
    command = compiler("C++")
    if command is None:
        parser.error("no C++ compiler (g++, clang++)")
    warm = True
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "native_allocations")
        build = [command, "-std=c++17", "-O2", str(SOURCE), str(given.library), "-lpthread", "-lm"]
        subprocess.run([*build, "-o", str(program)], check=True)
        print("allocations a call, and with JSON")
        for bundle in given.bundles:
            arguments = [str(bundle), inputs_of(bundle), str(given.threads)]
            run = [str(program), *arguments]
            found = subprocess.run(run, stdout=subprocess.PIPE, check=True).stdout.decode()
            alone, with_json = map(float, found.split())
            print(f"{bundle}: {alone:.2f}, {with_json:.2f}")
            warm = warm and alone == 0
    return 0 if warm else 1


if __name__ == "__main__":
    sys.exit(main())
