"""How fast is training with onelayer, compared with what people run today? Real tokens a second of
whole training steps, with dropout, the same initial weights, examples and optimizer.

    python -m benchmarks.training.train_speed DATA CHINESE_VOCABULARY
    python -m benchmarks.training.train_speed DATA CHINESE_VOCABULARY --sets cola --shape starter
    python -m benchmarks.training.train_speed DATA CHINESE_VOCABULARY --shape starter --families all

DATA holds the data sets in their owners' formats; CHINESE_VOCABULARY is a folder with the
``vocab.txt`` of bert-base-chinese. The contestants are onelayer, transformers' Trainer as people
run it (random batches, dynamic padding, fused AdamW), and the Trainer at its best
(``group_by_length``, the fastest attention implementation). Each is a process of its own. They
take turns of a few steps, so a busy machine affects all of them equally. Between the rounds the
machine's rate of matrix products is measured with the same number of threads.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

# onelayer's command line sets this for itself. Here all contestants get it: on a busy machine,
# threads that spin while they wait slow the Trainer down several times, which would flatter
# onelayer. On a quiet machine, try --spin too.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from benchmarks.support.machine import machine
from benchmarks.support.turns import Race, Turn, Worker, say
from benchmarks.training.arithmetic import GemmRate, Shape, needed_operations
from benchmarks.training.train_sets import (
    BERT,
    SETS,
    SHAPES,
    SpeedSet,
    model_folder,
    plain_rows,
    read_rows,
    shape_of,
)
from benchmarks.training.train_table import print_table
from onelayer.checkpoint.families import FAMILIES
from onelayer.tokens.tokenizer import Tokenizer

Record = dict[str, Any]

CONTESTANT = "benchmarks.training.train_contestant"
BATCH_SIZE = 32
WARM_UP = {"cpu": 2, "cuda": 4}
"""Steps by device. On a GPU the model is compiled in the first steps."""
RECORDED = 60
"""More first steps of onelayer on a GPU: in the second batch of each shape, the shape is recorded.
"""
LONG_STEP = 10.0
"""Seconds; if a step takes this long, one is enough to warm up."""
TURN = 2.0
"""Approximate seconds of the slowest contestant's turn."""
MIN_ROUNDS = 3
MIN_STEPS = {"cpu": 1, "cuda": 12}
"""Steps of a turn by device: on a GPU, others than the first show its speed."""

OURS = {"side": "ours", "compiled": True, "recorded": True}
AS_RUN = {"side": "trainer", "sampling": "random", "fastest_attention": False, "bf16": False}
AT_ITS_BEST = {**AS_RUN, "sampling": "group_by_length", "fastest_attention": True}
BF16 = {**AT_ITS_BEST, "bf16": True}
VARIANTS: dict[str, Record] = {
    "not compiled": {"compiled": False},
    "not recorded": {"recorded": False},
    "neither": {"compiled": False, "recorded": False},
}
"""Other ways for onelayer to train on a GPU."""


def main() -> None:
    arguments = parse()
    names = arguments.sets.split(",")
    shapes = list(SHAPES) if arguments.shape == "all" else arguments.shape.split(",")
    families = list(FAMILIES) if arguments.families == "all" else arguments.families.split(",")
    results: list[Record] = []
    with tempfile.TemporaryDirectory() as scratch:
        for family, shape in product(families, shapes):
            label = shape if family == BERT else f"{family}, {shape}"
            for speed_set in (s for s in SETS if s.name in names):
                if not (arguments.data / speed_set.train).exists():
                    print(f"{speed_set.name}: skipped, no {arguments.data / speed_set.train}")
                    continue
                say(f"{speed_set.name}, {label}")
                model = model_folder(shape, speed_set, arguments.chinese, Path(scratch), family)
                results.append(measure(speed_set, label, model, arguments, Path(scratch)))
                if arguments.json:
                    write(arguments, results)
    print_table(results)
    print(f"\n{described(arguments)}")


def parse(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("chinese", type=Path, metavar="CHINESE_VOCABULARY")
    names = [s.name for s in SETS]
    parser.add_argument("--sets", default=",".join(names), help="separated by commas")
    parser.add_argument("--shape", help="starter, base, large, several of them, or all")
    parser.add_argument(
        "--families", default=BERT, help="by model_type, separated by commas, or all"
    )
    parser.add_argument("--steps", type=int, help="counted steps of each contestant")
    parser.add_argument(
        "--seconds", type=float, default=60, help="for each set and shape, without --steps"
    )
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE)
    parser.add_argument(
        "--precision",
        choices=("fp32", "bf16", "auto"),
        help="onelayer's; by default fp32, like the Trainer, and bf16 on a GPU",
    )
    parser.add_argument("--peer-bf16", action="store_true", help="on a CPU: add a bf16 Trainer")
    parser.add_argument(
        "--spin",
        action="store_true",
        help="the Trainer's threads spin, torch's default",
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument(
        "--variants", nargs="*", choices=VARIANTS, default=[], help="on a GPU: also these"
    )
    parser.add_argument("--json", type=Path, help="a file for all measurements")
    arguments = parser.parse_args(words)
    if arguments.shape is None:
        arguments.shape = "starter,base" if arguments.device == "cpu" else "base,large"
    for given, known in (
        (arguments.sets, names),
        (arguments.shape, [*SHAPES, "all"]),
        (arguments.families, [*FAMILIES, "all"]),
    ):
        if unknown := set(given.split(",")) - set(known):
            parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    if arguments.precision is None:
        arguments.precision = "fp32" if arguments.device == "cpu" else "bf16"
    return arguments


def contestants(arguments: argparse.Namespace) -> dict[str, Record]:
    """By name: onelayer, the Trainer as people run it, and the Trainer at its best."""
    found = {"onelayer": OURS, "Trainer": AS_RUN}
    if arguments.device == "cuda":
        found["Trainer bf16 at its best"] = BF16
        variants = {name: {**OURS, **VARIANTS[name]} for name in arguments.variants}
        return {**found, **variants}
    found["Trainer at its best"] = AT_ITS_BEST
    return {**found, "Trainer bf16": BF16} if arguments.peer_bf16 else found


def spec_of(
    speed_set: SpeedSet, model: Path, arguments: argparse.Namespace, scratch: Path
) -> Record:
    """What all contestants are told; writes the rows that they read."""
    kind, rows = read_rows(speed_set, arguments.data)
    rows_file = scratch / f"{speed_set.name}.json"
    plain = plain_rows(speed_set, kind, rows, Tokenizer.read(model))
    rows_file.write_text(json.dumps(plain), encoding="utf-8")
    return {
        "set": asdict(speed_set),
        "data": str(arguments.data),
        "model": str(model),
        "rows": str(rows_file),
        "scratch": str(scratch / "trainer"),
        "batch_size": arguments.batch_size,
        "precision": arguments.precision,
        "device": arguments.device,
    }


def start(name: str, spec: Record, *, spin: bool = False) -> Worker:
    """The process of a contestant."""
    environment = dict(os.environ)
    if spin and spec["side"] == "trainer":
        del environment["OMP_WAIT_POLICY"]
    return Worker(name, [sys.executable, "-m", CONTESTANT, json.dumps(spec)], environment)


def measure(
    speed_set: SpeedSet, shape: str, model: Path, arguments: argparse.Namespace, scratch: Path
) -> Record:
    """All contestants on one data set with one model, whose shape has a name."""
    spec = spec_of(speed_set, model, arguments, scratch)
    race = Race()
    with ExitStack() as stack:
        for name, options in contestants(arguments).items():
            race.workers.append(start(name, {**spec, **options}, spin=arguments.spin))
            stack.callback(race.workers[-1].close)
        # They import and encode in parallel, and load their models one after another.
        race.ask(Worker.hear)
        prepared = race.ask(lambda worker: worker.step(0))
        warm = warm_up(race, WARM_UP[arguments.device])
        if arguments.device == "cuda":
            ours = {n for n, told in contestants(arguments).items() if told["side"] == "ours"}
            race.ask(lambda worker: worker.step(RECORDED if worker.name in ours else 1))
        rates = take_turns(race, warm, shape_of(model), arguments)
    encoder = shape_of(model)
    return {
        "set": speed_set.name,
        "shape": shape,
        "attention": {
            name: answer["attention"] for name, answer in prepared.items() if "attention" in answer
        },
        "lost": race.lost,
        "gemm": {dtype: gemm(rate) for dtype, rate in rates.items()},
        "contestants": {
            worker.name: {
                "peak": worker.rounds[-1]["peak"],
                "rounds": [figures(turn, encoder) for turn in worker.rounds],
            }
            for worker in race.running()
        },
    }


def warm_up(race: Race, steps: int) -> Turn:
    """The first steps allocate, choose kernels and may compile. Returns the last of them."""
    for _ in range(steps):
        answers = race.ask(lambda worker: worker.step(1))
        if slowest(answers) > LONG_STEP:
            break
    return answers


def take_turns(
    race: Race, warm: Turn, shape: Shape, arguments: argparse.Namespace
) -> dict[str, GemmRate]:
    """Rounds with the same number of steps until the steps or the time are used up, and at least
    ``MIN_ROUNDS`` of them; every other round runs in reverse order."""
    (first, *_) = warm.values()
    tokens = sum(first["steps"][0]["lengths"])
    rates = {
        name: GemmRate(shape, tokens, arguments.device, dtype)
        for name, dtype in dtypes(arguments).items()
    }
    n = max(MIN_STEPS[arguments.device], int(TURN / slowest(warm)))
    done, started = 0, time.perf_counter()
    while True:
        if arguments.steps:
            n = min(n, arguments.steps - done)
            if n == 0:
                return rates
        elif done >= MIN_ROUNDS * n and time.perf_counter() - started > arguments.seconds:
            return rates
        for rate in rates.values():
            rate.probe()
        answers = race.ask(lambda worker: worker.step(n), backwards=done // n % 2 == 1)  # noqa: B023
        for worker in race.running():
            worker.rounds.append(answers[worker.name])
        done += n


def slowest(answers: Turn) -> float:
    return max(answer["seconds"] for answer in answers.values())


def dtypes(arguments: argparse.Namespace) -> dict[str, torch.dtype]:
    """The precisions whose rate of matrix products is measured."""
    found = {"fp32": torch.float32, "bf16": torch.bfloat16}
    if arguments.device == "cuda" and arguments.precision != "fp32":
        del found["fp32"]
    if arguments.device == "cpu" and arguments.precision == "fp32":
        del found["bf16"]
    return found


def gemm(rate: GemmRate) -> Record:
    kernel, best = rate.best()
    return {"kernel": kernel, **asdict(best)}


def figures(turn: Record, shape: Shape) -> Record:
    """A turn in numbers; with operations if it is known which vectors the new layer reads."""
    lengths = [n for step in turn["steps"] for n in step["lengths"]]
    reads = [r for step in turn["steps"] for r in step["reads"] or ()]
    return {
        "seconds": turn["seconds"],
        "cpu_seconds": turn["cpu_seconds"],
        "steps": len(turn["steps"]),
        "sequences": len(lengths),
        "tokens": sum(lengths),
        "computed": sum(step["computed"] for step in turn["steps"]),
        "operations": needed_operations(lengths, reads, shape) if reads else None,
    }


def write(arguments: argparse.Namespace, results: list[Record]) -> None:
    record = {
        "machine": described(arguments),
        "arguments": {name: plain(value) for name, value in vars(arguments).items()},
        "results": results,
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def described(arguments: argparse.Namespace) -> str:
    gpu = f"{torch.cuda.get_device_name()}; " if arguments.device == "cuda" else ""
    waiting = f"OMP_WAIT_POLICY={os.environ['OMP_WAIT_POLICY']}"
    if arguments.spin:
        waiting += " for onelayer, the default for the Trainer"
    return f"{gpu}{machine()}, {waiting}; batches of {arguments.batch_size} examples"


if __name__ == "__main__":
    main()
