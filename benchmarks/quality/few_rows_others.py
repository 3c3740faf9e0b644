"""onelayer's default for tag, answer and choose with few rows, against transformers' examples.

    python -m benchmarks.quality.few_rows_others DATA                 # 50 and 200 rows, 3 draws
    python -m benchmarks.quality.few_rows_others DATA --only wnut17 --rows 50 --draws 1
    python -m benchmarks.quality.few_rows_others DATA --chinese MODEL  # the Chinese sets, too
    python -m benchmarks.quality.few_rows_others --table                   # the results so far

``onelayer`` is ``onelayer train FILE`` with no option. The peer is the Trainer with the
preprocessing of ``run_ner.py``, ``run_qa.py`` and ``run_swag.py`` and their defaults (3 epochs of
batches of 8, no warm-up, no weight decay), at 5e-5, which is the default, and at 2e-5. A draw is a
number of random rows of the training file and a seed; all sides train on the same rows. seqeval
(strict), the official scripts of SQuAD and CMRC 2018, and accuracy judge the same 300 rows of the
owner's test or dev file. Passages and dialogues are short ones, so that a call takes an hour. Each
result is written at once: an interrupted benchmark continues where it stopped.

Choices for onelayer's default were made on the sets of the half ``choose`` and confirmed on the
others.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import onelayer
from benchmarks.quality import trainer_peer
from benchmarks.support.machine import machine
from benchmarks.support.sets import DataSet, cut, score
from onelayer.prediction.streams import predict_file
from onelayer.recipe import Columns

Record = dict[str, Any]
TEST_ROWS = 300
EPOCHS, BATCH_SIZE = 3, 8
"""The defaults of transformers' example scripts."""
SCORED = {"tag": "tags", "answer": "text", "choose": "index"}
"""The part of a prediction that ``sets.score`` takes."""


@dataclass(frozen=True)
class FewSet:
    half: str
    slice: DataSet
    chinese: bool = False

    @property
    def name(self) -> str:
        return self.slice.name


def few_set(
    half: str, name: str, task: str, form: str, train: str, test: str, **more: Any
) -> FewSet:
    chinese = more.pop("chinese", False)
    sliced = DataSet(name, task, form, train, test, 0, TEST_ROWS, EPOCHS, 0.0, **more)
    return FewSet(half, sliced, chinese)


SETS = [
    few_set(
        *("choose", "wnut17", "tag", "conll"),
        *("wnut17/wnut17train.conll", "wnut17/emerging.dev.conll"),
        metrics=("entity F1",),
    ),
    few_set(
        *("choose", "squad_dev", "answer", "squad"),
        *("squad_dev/v1.1-train.json", "squad_dev/v1.1-heldout.json"),
        max_length=384,
        max_words=100,
        metrics=("EM", "F1"),
    ),
    few_set(
        *("choose", "dream", "choose", "dream"),
        *("dream/train.json", "dream/test.json"),
        max_words=60,
    ),
    few_set(
        *("confirm", "mit_movie", "tag", "conll"),
        *("mit_movie/engtrain.bio.txt", "mit_movie/engtest.bio.txt"),
        metrics=("entity F1",),
    ),
    few_set(
        *("confirm", "c3", "choose", "dream"),
        *("c3/c3-d-train.json", "c3/c3-d-test.json"),
        max_words=100,
        chinese=True,
    ),
    few_set(
        *("confirm", "cmrc2018", "answer", "squad"),
        *("cmrc2018/cmrc2018_train.json", "cmrc2018/cmrc2018_dev.json"),
        max_length=384,
        max_words=200,
        metrics=("EM", "F1"),
        script="cmrc2018/cmrc2018_evaluate.py",
        chinese=True,
    ),
]


def ours(sliced: DataSet, train: Path, test: Path, seed: int, out: Path, model: str) -> list[Any]:
    predictor = onelayer.finetune(train, out=out, task=sliced.task, model=model, seed=seed)
    part = SCORED[sliced.task]
    parts = [getattr(found.prediction, part) for found in predict_file(predictor, test, Columns())]
    return [list(part) if isinstance(part, tuple) else part for part in parts]


def peer(lr: float) -> Callable[..., list[Any]]:
    def side(
        sliced: DataSet, train: Path, test: Path, seed: int, out: Path, model: str
    ) -> list[Any]:
        return trainer_peer.train_and_predict(
            replace(sliced, lr=lr),
            train=train,
            dev=test,
            batch_size=BATCH_SIZE,
            seed=seed,
            out=out,
            model=model,
            warmup=0.0,
            weight_decay=0.0,
        )

    return side


SIDES = {"onelayer": ours, "Trainer 5e-5": peer(5e-5), "Trainer 2e-5": peer(2e-5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA")
    parser.add_argument("--only", help="names of data sets, separated by commas")
    parser.add_argument("--rows", default="50,200")
    parser.add_argument("--draws", default="1,2,3")
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--chinese", metavar="MODEL", help="the model of the Chinese sets")
    parser.add_argument("--out", type=Path, default=Path("runs/few_rows_others.jsonl"))
    parser.add_argument(
        "--table", action="store_true", help="print the results in --out, run nothing"
    )
    arguments = parser.parse_args()

    names = arguments.only.split(",") if arguments.only else [s.name for s in SETS]
    if unknown := set(names) - {s.name for s in SETS}:
        parser.error(f"unknown data set: {', '.join(sorted(unknown))}")
    sizes, draws = ([int(n) for n in arguments.__dict__[k].split(",")] for k in ("rows", "draws"))
    chosen = [s for s in SETS if s.name in names]
    if not arguments.table:
        if arguments.data is None:
            parser.error("DATA is needed: the folder that holds the data sets")
        for one in chosen:
            model = arguments.chinese if one.chinese else "starter"
            if model is None:
                print(f"{one.name}: skipped, no --chinese MODEL")
                continue
            for n in sizes:
                slices = replace(one.slice, train_rows=n)
                sides = arguments.sides.split(",")
                measure(arguments.data, slices, draws, sides, model, arguments.out)
    print_table(chosen, sizes, records(arguments.out))


def measure(
    data: Path, sliced: DataSet, draws: Iterable[int], sides: Iterable[str], model: str, out: Path
) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    done = {identity(record) for record in records(out)}
    for draw in draws:
        for side in sides:
            planned = {"set": as_json(sliced), "side": side, "draw": draw}
            if identity(planned) in done:
                continue
            record = planned | run(data, sliced, side, draw, model) | {"machine": machine()}
            with out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
            print(
                sliced.name, sliced.train_rows, f"draw {draw}", side, record["scores"], flush=True
            )


def run(data: Path, sliced: DataSet, side: str, draw: int, model: str) -> Record:
    with tempfile.TemporaryDirectory() as folder:
        train, test = cut(sliced, data, Path(folder), draw)
        start, cpu = time.perf_counter(), time.process_time()
        predictions = SIDES[side](sliced, train, test, draw, Path(folder) / "run", model)
        return {
            "scores": score(sliced, data, test, predictions),
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
        }


def as_json(sliced: DataSet) -> Record:
    found: Record = json.loads(json.dumps(asdict(sliced)))
    return found


def identity(record: Record) -> str:
    """A result counts only for the slice that it was measured with."""
    return json.dumps([record[name] for name in ("set", "side", "draw")], sort_keys=True)


def records(out: Path) -> list[Record]:
    if not out.exists():
        return []
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


COLUMNS = [
    *("half", "data set", "rows", "metric", "draws", *SIDES, "better than the better one by"),
    "CPU seconds",
]


def print_table(chosen: Iterable[FewSet], sizes: Iterable[int], measured: list[Record]) -> None:
    """A Markdown table: means ± standard errors over the draws that all sides have. The difference
    is that to the better rate of the Trainer, with the standard error of the paired draws. Seconds
    of the processor go from the files to the predictions."""
    print("|", " | ".join(COLUMNS), "|")
    print("|" + "---|" * len(COLUMNS))
    gains = []
    for one in chosen:
        for n in sizes:
            sliced = as_json(replace(one.slice, train_rows=n))
            sides = {
                side: {r["draw"]: r for r in measured if (r["side"], r["set"]) == (side, sliced)}
                for side in SIDES
            }
            draws = sorted(set.intersection(*(set(runs) for runs in sides.values())))
            if not draws:
                continue
            for metric in one.slice.metrics:
                values = [[runs[d]["scores"][metric] for d in draws] for runs in sides.values()]
                best = max(values[1:], key=statistics.mean)
                gain = [a - b for a, b in zip(values[0], best, strict=True)]
                if metric == one.slice.metrics[-1]:
                    gains.append(statistics.mean(gain))
                seconds = (
                    statistics.mean(runs[d]["cpu_seconds"] for d in draws)
                    for runs in sides.values()
                )
                cells = [
                    *(one.half, one.name, f"{n:,}", metric, str(len(draws))),
                    *(spread(scores) for scores in values),
                    spread(gain, signed=True),
                    " / ".join(f"{s:.0f}" for s in seconds),
                ]
                print("|", " | ".join(cells), "|")
    if gains:
        print(f"\nMean gain over the sets: {statistics.mean(gains):+.1f}")
    for line in sorted({record["machine"] for record in measured}):
        print(f"\n{line}")


def spread(scores: Sequence[float], *, signed: bool = False) -> str:
    mean = f"{statistics.mean(scores):{'+' if signed else ''}.1f}"
    if len(scores) < 2:
        return mean
    return f"{mean} ± {statistics.stdev(scores) / math.sqrt(len(scores)):.1f}"


if __name__ == "__main__":
    main()
