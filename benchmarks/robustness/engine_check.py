"""Are the native engine's logits the same in all instruction sets, numbers of threads and batches,
and is its code clean under sanitizers? Random models of several kinds, texts of 1 to 70 tokens.

    python -m benchmarks.robustness.engine_check
    python -m benchmarks.robustness.engine_check --sanitize thread
    python -m benchmarks.robustness.engine_check --sanitize address,undefined
    python -m benchmarks.robustness.engine_check --software-amx
    python -m benchmarks.robustness.engine_check --machine aarch64 \\
        --compiler "aarch64-linux-gnu-g++ -static" --run "qemu-aarch64-static -cpu max"

With ``--software-amx`` the instructions of the set ``amx`` are loops, for machines without them.
With a compiler for another machine and an emulator, the digests of the last form must be those of
the first. It ends with 1 where logits differ or a sanitizer finds something.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from onelayer.base.compiled_code import Compilation, c_sources, compiler, machine_name
from onelayer.base.machine import cores
from onelayer.engines.native.library import CORE

_FOLDER = Path(__file__).with_name("engine_check")
PROGRAM = _FOLDER / "engine_check.cpp"
TILE_PRODUCTS = _FOLDER / "tile_products.cpp"
"""Products by tiles alone, of many shapes: a program of its own."""
SOFTWARE_SETS = Compilation(_FOLDER / "software_sets.cpp", ("-w", "-ffp-contract=off"))
ROOMS = ("base", "engine", "tasks")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--sanitize", help="thread, address, undefined; several with commas")
    parser.add_argument("--compiler", help="a C++ compiler's command", default=compiler("C++"))
    parser.add_argument("--machine", default=machine_name(), help="as in csrc/flags.txt")
    parser.add_argument("--run", default="", help="a command that runs programs of that machine")
    parser.add_argument("--software-amx", action="store_true", help="on x86-64: amx and plain")
    parser.add_argument("--longest", type=int, default=70, help="tokens of the longest text")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        program = build(arguments, Path(folder))
        command = [*shlex.split(arguments.run), str(program), str(arguments.longest)]
        sys.exit(subprocess.run(command).returncode)


def build(arguments: argparse.Namespace, folder: Path) -> Path:
    """Compiles the engine and the program with the same flags."""
    call = [*shlex.split(arguments.compiler), "-O2", "-g", "-pthread"]
    if arguments.sanitize:
        call += [f"-fsanitize={arguments.sanitize}", "-fno-sanitize-recover=all"]
    engine = replace(CORE, folders=tuple(c_sources(room) for room in ROOMS))
    needed = [
        part
        for part in engine.compilations(arguments.machine)
        if part.source.parent.name != "tasks" or part.source.name == "encodings.cpp"
    ]
    if arguments.software_amx:
        needed = [part for part in needed if not _chooses(part)] + [SOFTWARE_SETS]
    parts = [*needed, Compilation(PROGRAM, ("-ffp-contract=off",))]  # the same weights everywhere
    objects = [folder / f"{i}.o" for i in range(len(parts))]

    def compiled(part: Compilation, to: Path) -> None:
        subprocess.run([*call, *part.arguments(to)], check=True)

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(compiled, parts, objects))
    program = folder / "engine_check"
    subprocess.run([*call, *map(str, objects), "-o", str(program)], check=True)
    return program


def _chooses(part: Compilation) -> bool:
    """Whether it is what SOFTWARE_SETS replaces: the choice of a set, and all sets but plain."""
    if part.source.name == "kernels.cpp":
        return "-DSET=plain" not in part.flags
    return part.source.name == "instruction_sets.cpp"


if __name__ == "__main__":
    main()
