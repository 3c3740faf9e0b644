"""Documents read in windows against documents truncated.

    python -m benchmarks.quality.long_text DATA

The film reviews have 300 tokens on average, and a limit of 256 cuts a third of them. One model is
trained on the first 256 tokens, as is common, the other on windows of 256 tokens, with the same
rows, seeds and epochs. Both models then read the test reviews with every pooling, so the table
shows the effect of windows in training and in prediction.

The 95 % interval of the difference is a bootstrap over the test reviews. Seconds are the CPU time
of training steps, without evaluations. Each result is written at once, so an interrupted benchmark
continues where it stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

import onelayer
from benchmarks.support.machine import machine
from onelayer import Predictor, Recipe
from onelayer.tasks.labelled import read_labelled
from onelayer.tasks.pooling import POOLINGS, pool
from onelayer.training.fit import Fit
from onelayer.training.history import RunProgress

SET = "imdb_sample"
TRAIN, DEV, TEST = 500, 300, 1000
RECIPE: dict[str, Any] = {"max_length": 256, "stride": 64, "epochs": 2, "lr": 1e-4}
SIDES = ("truncate", "windows")
NAMES = {"truncate": "the first 256 tokens", "windows": "windows of 256"}
WAYS = {
    "head": "first window (truncated)",
    "ends": "first and last",
    "mean": "all, mean",
    "max": "all, max",
}

Record = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA")
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--out", type=Path, default=Path("runs/long_text.jsonl"))
    parser.add_argument(
        "--table", action="store_true", help="print the results in --out, run nothing"
    )
    arguments = parser.parse_args()
    if not arguments.table:
        if arguments.data is None:
            parser.error("DATA is needed: the folder that holds the data sets")
        measure(arguments.data / SET, [int(s) for s in arguments.seeds.split(",")], arguments.out)
    print_tables(records(arguments.out))


def measure(data: Path, seeds: Sequence[int], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    done = {(record["side"], record["seed"]) for record in records(out)}
    for seed in seeds:
        for side in SIDES:
            if (side, seed) in done:
                continue
            record = {"side": side, "seed": seed, **run(data, side, seed), "machine": machine()}
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            shown = {how: f"{share(right):.1f}" for how, right in record["right"].items()}
            print(f"{side}, seed {seed}: {shown}", flush=True)


def run(data: Path, side: str, seed: int) -> Record:
    """Trains one side and reads the test file with every pooling."""
    with tempfile.TemporaryDirectory() as folder:
        train, dev, test = cut(data, Path(folder))
        learning.seconds = 0.0
        predictor = onelayer.finetune(
            train, dev=dev, out=Path(folder) / "run", seed=seed, long=side, **RECIPE
        )
        assert predictor.record is not None
        info = predictor.record.to_json()
        return {
            "right": {how: "".join(marks) for how, marks in right(predictor, test).items()},
            "dev": info["task"]["pooling_scores"] or info["dev"]["scores"],
            "chosen": info["task"]["pooling"],
            "tokens": sum(info["history"]["tokens"]),
            "choices": info["choices"],
            "seconds": learning.seconds,
        }


def cut(data: Path, folder: Path) -> Iterator[Path]:
    """Writes the slices. The shuffle is fixed, so all seeds and both sides see the same rows."""
    files = {name: data / f"{name}.jsonl" for name in ("train", "test")}
    lines = {name: path.read_text("utf-8").strip().split("\n") for name, path in files.items()}
    for rows in lines.values():
        random.Random(0).shuffle(rows)
    slices = {
        "train": lines["train"][:TRAIN],
        "dev": lines["train"][-DEV:],
        "test": lines["test"][:TEST],
    }
    for name, rows in slices.items():
        path = folder / f"{name}.jsonl"
        path.write_text("\n".join(rows) + "\n", encoding="utf-8")
        yield path


def right(predictor: Predictor, test: Path) -> dict[str, list[str]]:
    """By pooling: a 1 for each test row with the right label, and a 0 for the others."""
    _, _, rows = read_labelled(test, Recipe(task="classify"), print)
    task = replace(predictor.task, stride=RECIPE["stride"], pooling="mean")  # all windows
    found: dict[str, list[str]] = {how: [] for how in POOLINGS}
    for chunk in (rows[i : i + 250] for i in range(0, len(rows), 250)):
        encodings = task.encode(chunk, predictor.tokenizer, labelled=False)
        logits = predictor.engine.logits(encodings)
        for how in POOLINGS:
            best = pool(encodings, logits, how).argmax(axis=1)
            pairs = zip(best, chunk, strict=True)
            found[how] += [str(int(task.outputs[i] == row.label)) for i, row in pairs]
    return found


class Learning:
    """Counts the CPU seconds of training steps."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.step = Fit.train_step

    def train_step(self, fit: Fit) -> RunProgress:
        started = time.process_time()
        progress = self.step(fit)
        self.seconds += time.process_time() - started
        return progress


learning = Learning()
Fit.train_step = lambda fit: learning.train_step(fit)  # type: ignore[method-assign]


def records(out: Path) -> list[Record]:
    if not out.exists():
        return []
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


def print_tables(measured: list[Record]) -> None:
    by_side = {side: {r["seed"]: r for r in measured if r["side"] == side} for side in SIDES}
    seeds = sorted(set.intersection(*(set(runs) for runs in by_side.values())))
    if not seeds:
        return
    sides = {side: [runs[seed] for seed in seeds] for side, runs in by_side.items()}
    print("\n| trained on | " + " | ".join(f"read: {way}" for way in WAYS.values()) + " |")
    print("|" + "---|" * (1 + len(WAYS)))
    for side, runs in sides.items():
        scores = [spread([share(r["right"][how]) for r in runs]) for how in WAYS]
        print(f"| {NAMES[side]} | " + " | ".join(scores) + " |")
    print("\n| seed | chosen on dev | " + " | ".join(WAYS.values()) + " |")
    print("|" + "---|" * (2 + len(WAYS)))
    for r in sides["windows"]:
        values = " | ".join(f"{100 * r['dev'][how]:.1f}" for how in WAYS)
        print(f"| {r['seed']} | {r['chosen']} | {values} |")
    mine = np.mean([marks(r["right"][r["chosen"]]) for r in sides["windows"]], axis=0)
    theirs = np.mean([marks(r["right"]["head"]) for r in sides["truncate"]], axis=0)
    low, high = interval(mine - theirs)
    print(
        f"\nwindows, pooled as chosen on dev: {100 * mine.mean():.1f}; truncated: "
        f"{100 * theirs.mean():.1f}; difference {100 * (mine - theirs).mean():+.1f}, "
        f"95 % interval {100 * low:+.1f} to {100 * high:+.1f}"
    )
    for name in ("tokens", "seconds"):
        values = [statistics.mean(r[name] for r in sides[side]) for side in SIDES]
        print(f"{name} in training: {values[0]:,.0f} / {values[1]:,.0f}, ", end="")
        print(f"{values[1] / values[0]:.1f} times as many")
    for side, runs in sides.items():
        said = [remark for remark in runs[0]["choices"] if "unread" in remark]
        print(f"{side}: {said[0] if said else 'nothing is left unread'}")
    for line in sorted({record["machine"] for record in measured}):
        print(line)


def marks(right: str) -> np.ndarray:
    return np.array(list(right), dtype=float)


def share(right: str) -> float:
    return 100 * float(marks(right).mean())


def spread(scores: list[float]) -> str:
    mean = f"{statistics.mean(scores):.1f}"
    return mean if len(scores) < 2 else f"{mean} ± {statistics.stdev(scores):.1f}"


def interval(differences: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean, of 10,000 draws from the test rows."""
    rng = np.random.default_rng(0)
    n = len(differences)
    means = [differences[rng.integers(n, size=n)].mean() for _ in range(10_000)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


if __name__ == "__main__":
    main()
