"""Is a large file predicted in constant memory, and does a killed job end in the same bytes?

    python -m benchmarks.inference.predict_at_scale MODEL [--rows 20000,200000] [--kills 20]

MODEL is a run or an exported bundle for classify. The command line predicts files of generated
texts, in processes of their own. Memory is the peak of the anonymous memory (RssAnon, read
fifty times a second from /proc, Linux only), which should not grow with the rows. Then the smallest
file is predicted again and again while SIGKILL stops the process at random moments. The same
command continues each time, and the finished file must have the bytes of an uninterrupted one.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.training.eval_memory import text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--rows", default="20000,200000")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--form", default="parquet", choices=("jsonl", "csv", "parquet"))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = sorted(int(rows) for rows in arguments.rows.split(","))
        peaks = [scale(arguments, folder, rows, rng) for rows in sizes]
        growth = (peaks[-1] - peaks[0]) / max(sizes[-1] - sizes[0], 1)
        print(f"memory grows by {growth * 1e6:.0f} bytes a row" if len(sizes) > 1 else "")
        return kill(arguments, folder, sizes[0], rng)


def scale(arguments: argparse.Namespace, folder: Path, rows: int, rng: random.Random) -> float:
    """Predicts a file with ``rows`` rows. Returns the peak memory in MB."""
    pool = [text(rng) for _ in range(5000)]
    numbers = range(rows)
    texts = [f"{rng.choice(pool)} {i}" for i in numbers]
    table = pa.table({"number": pa.array(numbers, pa.int32()), "text": texts})
    pq.write_table(table, folder / f"{rows}.parquet", row_group_size=20_000)
    started = time.monotonic()
    process = start(arguments, folder, rows, "uninterrupted")
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, anonymous_memory(process.pid))
        time.sleep(0.02)
    seconds = time.monotonic() - started
    assert process.returncode == 0, f"the command failed with {process.returncode}"
    print(f"{rows:,} rows: {rows / seconds:,.0f} rows/s with startup, peak {peak:,.0f} MB")
    return peak


def start(
    arguments: argparse.Namespace, folder: Path, rows: int, out: str
) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "onelayer", "predict", arguments.model]
    command += [f"{folder}/{rows}.parquet", "--out", f"{folder}/{out}-{rows}.{arguments.form}"]
    return subprocess.Popen([*command, "--text", "text"], stderr=subprocess.DEVNULL)


def anonymous_memory(pid: int) -> float:
    """MB; 0 for a process that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    found = [line.split()[1] for line in lines if line.startswith("RssAnon")]
    return int(found[0]) / 1000 if found else 0.0


def kill(arguments: argparse.Namespace, folder: Path, rows: int, rng: random.Random) -> int:
    """Kills the command at random moments, and compares each finished file."""
    uninterrupted, killed = (
        folder / f"{out}-{rows}.{arguments.form}" for out in ("uninterrupted", "killed")
    )
    started = time.monotonic()
    start(arguments, folder, rows, "killed").wait()
    whole = time.monotonic() - started
    finished, wrong = 1, int(killed.read_bytes() != uninterrupted.read_bytes())
    killed.unlink()
    for _ in range(arguments.kills):
        process = start(arguments, folder, rows, "killed")
        try:
            process.wait(rng.uniform(0.2, 0.9) * whole)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        if killed.exists():
            finished, wrong = (
                finished + 1,
                wrong + (killed.read_bytes() != uninterrupted.read_bytes()),
            )
            killed.unlink()
    if killed.with_name(killed.name + ".part").exists():
        start(arguments, folder, rows, "killed").wait()
        finished, wrong = finished + 1, wrong + (killed.read_bytes() != uninterrupted.read_bytes())
    print(f"{arguments.kills} kills: {finished} files finished, {wrong} with other bytes")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
