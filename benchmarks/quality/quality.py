"""Does onelayer score as well as what people run today? onelayer and transformers' Trainer use the
same starter weights, rows, recipe and seeds, and one scorer judges both.

    python -m benchmarks.quality.quality DATA                    # everything, three seeds
    python -m benchmarks.quality.quality DATA --only rte,dream --seeds 1
    python -m benchmarks.quality.quality DATA --suite base --model MPNET     # at Base size
    python -m benchmarks.quality.quality DATA --suite chinese --model multilingual
    python -m benchmarks.quality.quality --table                 # the results so far

DATA holds the data sets in their owners' formats, in the folders that ``sets.py`` and ``suites.py``
name. The two sides take turns, seed by seed, so a busy machine affects both equally. Each result is
written at once, so an interrupted benchmark continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from typing import Any

# Threads that spin while they wait would increase the noise of a busy machine for both sides.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from benchmarks.quality import ours
from benchmarks.quality import trainer_peer as peer
from benchmarks.support.machine import machine
from benchmarks.support.sets import DataSet, cut, score
from benchmarks.support.suites import SUITES

BATCH_SIZE = 32
SIDES = {"onelayer": ours.train_and_predict, "Trainer": peer.train_and_predict}

Record = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA")
    parser.add_argument("--suite", choices=SUITES, default="starter")
    parser.add_argument("--model", default="starter", help="a name or a directory, for both sides")
    parser.add_argument("--only", help="names of data sets, separated by commas")
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--out", type=Path, default=Path("runs/quality.jsonl"))
    parser.add_argument(
        "--table", action="store_true", help="print the results in --out, run nothing"
    )
    arguments = parser.parse_args()

    suite = SUITES[arguments.suite]
    names = arguments.only.split(",") if arguments.only else [d.name for d in suite]
    if unknown := set(names) - {d.name for d in suite}:
        parser.error(f"unknown data set: {', '.join(sorted(unknown))}")
    chosen = [d for d in suite if d.name in names]
    if not arguments.table:
        if arguments.data is None:
            parser.error("DATA is needed: the folder that holds the data sets")
        seeds = [int(seed) for seed in arguments.seeds.split(",")]
        measure(arguments.data, chosen, arguments.model, seeds, arguments.out)
    print_table(chosen, arguments.model, records(arguments.out))


def measure(
    data: Path, chosen: Iterable[DataSet], model: str, seeds: Iterable[int], out: Path
) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    done = {identity(record) for record in records(out)}
    for data_set in chosen:
        if not (data / data_set.train).exists():
            print(f"{data_set.name}: skipped, no {data / data_set.train}")
            continue
        for seed in seeds:
            for side in SIDES:
                planned = {"recipe": recipe(data_set, model), "side": side, "seed": seed}
                if identity(planned) in done:
                    continue
                found = run_apart(data, data_set, model, side, seed)
                record = planned | found | {"machine": machine()}
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(record) + "\n")
                print(data_set.name, f"seed {seed}", side, record["scores"], flush=True)


def run_apart(data: Path, data_set: DataSet, model: str, side: str, seed: int) -> Record:
    """A run in a process of its own, whose peak of memory is its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(run, data, data_set, model, side, seed).result()


def run(data: Path, data_set: DataSet, model: str, side: str, seed: int) -> Record:
    with tempfile.TemporaryDirectory() as folder:
        train, dev = cut(data_set, data, Path(folder))
        start = time.perf_counter()
        predictions = SIDES[side](
            data_set,
            train=train,
            dev=dev,
            batch_size=BATCH_SIZE,
            seed=seed,
            out=Path(folder) / "run",
            model=model,
        )
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {
            "scores": score(data_set, data, dev, predictions),
            "seconds": seconds,
            "peak_mib": round(peak),
        }


def recipe(data_set: DataSet, model: str) -> Record:
    name = Path(model).name  # the same model may lie in another folder
    return json.loads(json.dumps({**asdict(data_set), "batch_size": BATCH_SIZE, "model": name}))


def identity(record: Record) -> str:
    """A result counts only for the recipe and slice it was measured with."""
    return json.dumps([record[name] for name in ("recipe", "side", "seed")], sort_keys=True)


def records(out: Path) -> list[Record]:
    if not out.exists():
        return []
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


COLUMNS = [
    *("data set", "train rows × epochs, lr", "dev rows", "metric", *SIDES, "difference"),
    *("seconds", "times as fast", "peak MiB"),
]


def print_table(chosen: Iterable[DataSet], model: str, measured: list[Record]) -> None:
    """A Markdown table. Scores are means ± standard deviations over the seeds that both sides have.
    Seconds are the time from the files to the predictions."""
    print("|", " | ".join(COLUMNS), "|")
    print("|" + "---|" * len(COLUMNS))
    for data_set in chosen:
        same = [r for r in measured if r["recipe"] == recipe(data_set, model)]
        sides = {side: {r["seed"]: r for r in same if r["side"] == side} for side in SIDES}
        seeds = sorted(set.intersection(*(set(runs) for runs in sides.values())))
        if not seeds:
            continue
        seconds = {
            side: statistics.mean(runs[seed]["seconds"] for seed in seeds)
            for side, runs in sides.items()
        }
        for metric in data_set.metrics:
            values = {
                side: [runs[seed]["scores"][metric] for seed in seeds]
                for side, runs in sides.items()
            }
            mine, theirs = values.values()
            cells = [
                data_set.name,
                f"{data_set.train_rows:,} × {data_set.epochs}, {data_set.lr:g}",
                f"{data_set.dev_rows:,}",
                metric,
                *(spread(scores) for scores in values.values()),
                f"{statistics.mean(mine) - statistics.mean(theirs):+.1f}",
                " / ".join(f"{s:.0f}" for s in seconds.values()),
                f"{seconds['Trainer'] / seconds['onelayer']:.1f}",
                " / ".join(
                    f"{max(runs[seed]['peak_mib'] for seed in seeds):,}" for runs in sides.values()
                ),
            ]
            print("|", " | ".join(cells), "|")
    for line in sorted({record["machine"] for record in measured}):
        print(f"\n{line}")


def spread(scores: list[float]) -> str:
    mean = f"{statistics.mean(scores):.1f}"
    return mean if len(scores) < 2 else f"{mean} ± {statistics.stdev(scores):.1f}"


if __name__ == "__main__":
    main()
