"""How long from the start of a process to its first answer, and how much memory does it take?
onelayer-run next to `onelayer predict`, by turns, one text, for a directory and a single file.

    cmake -S csrc -B build/native && cmake --build build/native
    python -m benchmarks.inference.cold_start BUNDLE
    python -m benchmarks.inference.cold_start BUNDLE --program build/native/onelayer-run --runs 5

BUNDLE is a directory that ``onelayer export --int8`` wrote. Its files are in the system's cache.
The time to read and hash the weights is shown for itself, as any program needs it that checks them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from benchmarks.support.machine import machine
from onelayer.checkpoint.single_file import write_single_file

TEXT = "a fine film\n"
MEGABYTE = 1e6


LAUNCHER = """
import json, os, subprocess, sys, time
began = time.perf_counter()
process = subprocess.Popen(sys.argv[2:], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
process.stdin.write(sys.argv[1].encode())
process.stdin.close()
line = process.stdout.readline()
took = time.perf_counter() - began
process.stdout.close()
_, status, used = os.wait4(process.pid, 0)
busy = used.ru_utime + used.ru_stime
print(json.dumps([line.startswith(b"{"), took * 1000, busy * 1000, used.ru_maxrss * 1024]))
"""
"""A small process starts the program: a child's peak of memory includes its parent's size."""


class Start(NamedTuple):
    """A process from its start to its end."""

    took: float
    """Milliseconds until its first line is out."""
    busy: float
    """Milliseconds of processors. Unlike the time until the answer they hardly grow where other
    processes want the processors, too."""
    memory: float
    """MB at its peak."""


def started(command: list[str]) -> Start:
    launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER, TEXT, *command]
    run = subprocess.run(launcher, check=True, stdout=subprocess.PIPE)
    answered, took, busy, memory = json.loads(run.stdout)
    assert answered, f"{command[0]} gave no answer"
    return Start(took, busy, memory / MEGABYTE)


def reading(bundle: Path) -> float:
    """Milliseconds to read and hash the weights."""
    began = time.perf_counter()
    hashlib.sha256((bundle / "onnx" / "model.safetensors").read_bytes()).digest()
    return (time.perf_counter() - began) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--program", type=Path, default=Path("build/native/onelayer-run"))
    parser.add_argument("--runs", type=int, default=15)
    arguments = parser.parse_args()
    program, bundle = str(arguments.program), arguments.bundle
    with tempfile.TemporaryDirectory() as folder:
        single = Path(folder, "bundle.onelayer")
        write_single_file(bundle, single)
        python = [sys.executable, "-m", "onelayer", "predict", str(bundle), "-"]
        commands = {
            "onelayer-run, a directory": [program, str(bundle), "--threads", "1"],
            "onelayer-run, a single file": [program, str(single), "--threads", "1"],
            "onelayer predict": python,
        }
        found: dict[str, list[Start]] = {name: [] for name in commands}
        read = []
        for turn in range(arguments.runs):
            read.append(reading(bundle))
            for name, command in commands.items():
                if name != "onelayer predict" or turn < 3:
                    found[name].append(started(command))
    weights = (bundle / "onnx" / "model.safetensors").stat().st_size
    print(machine())
    print(f"weights {weights / MEGABYTE:.1f} MB; read and hashed in {min(read):.0f} ms at least")
    print(f"{program}: {arguments.program.stat().st_size / MEGABYTE:.2f} MB")
    print("| | least, ms | median, ms | of processors, ms | memory, MB | above the weights, MB |")
    print("|---|---|---|---|---|---|")
    for name, runs in found.items():
        times, memory = [run.took for run in runs], max(run.memory for run in runs)
        busy, above = min(run.busy for run in runs), memory - weights / MEGABYTE
        print(
            f"| {name} | {min(times):.0f} | {statistics.median(times):.0f} | {busy:.0f} "
            f"| {memory:.0f} | {above:.0f} |"
        )


if __name__ == "__main__":
    main()
