"""On small sets, scores differ widely from seed to seed. How widely, by recipe? Five seeds of each.

    python -m benchmarks.quality.small_data DATA               # plain and default on every set
    python -m benchmarks.quality.small_data DATA --only rte --recipes plain
    python -m benchmarks.quality.small_data --table            # the results so far

``plain`` is the usual recipe, the defaults of transformers' ``run_glue.py``: three epochs of
batches of 32, AdamW with bias correction, a learning rate that falls from the first step, no weight
decay; the last epoch's model is kept. Both recipes use onelayer's peak learning rate for the
model. ``default`` is what ``onelayer train`` does.

``--dev`` is a fixed tenth of a set's training rows. The seed decides the new layer, the order of
the rows and dropout. scikit-learn scores the model of a run on rows that no run has seen. Each
result is written at once, so an interrupted benchmark continues where it stopped.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import tempfile
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

import onelayer
from benchmarks.support.machine import machine
from benchmarks.support.no_dev import dev_unseen
from onelayer.prediction.streams import predict_file
from onelayer.recipe import Columns

Record = dict[str, Any]
Row = dict[str, str]

RECIPES: dict[str, Record] = {
    "plain": {"read": "cls", "epochs": 3, "warmup": 0.0, "weight_decay": 0.0},
    "default": {},
}
"""The choices of each recipe, by its name."""


def rte_row(cells: list[str]) -> Row:
    return {"text": cells[1], "pair": cells[2], "label": cells[3]}


def mrpc_row(cells: list[str]) -> Row:
    return {"text": cells[3], "pair": cells[4], "label": cells[0]}


def cola_row(cells: list[str]) -> Row:
    return {"text": cells[3], "label": cells[1]}


@dataclass(frozen=True)
class SmallSet:
    name: str
    train: str
    test: str
    rows: int
    """Training rows used, including dev."""
    row: Callable[[list[str]], Row]
    headed: bool
    metrics: dict[str, Callable[[Sequence[str], Sequence[str]], float]]


def f1(gold: Sequence[str], predicted: Sequence[str]) -> float:
    return float(f1_score(gold, predicted, pos_label="1"))


SETS = [
    SmallSet(
        "rte", "rte/train.tsv", "rte/dev.tsv", 2490, rte_row, True, {"accuracy": accuracy_score}
    ),
    SmallSet(
        "mrpc",
        "mrpc/msr_paraphrase_train.txt",
        "mrpc/msr_paraphrase_test.txt",
        2000,
        mrpc_row,
        True,
        {"accuracy": accuracy_score, "F1": f1},
    ),
    SmallSet(
        "cola",
        "cola/cola_public/raw/in_domain_train.tsv",
        "cola/cola_public/raw/in_domain_dev.tsv",
        4000,
        cola_row,
        False,
        {"MCC": matthews_corrcoef},
    ),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA")
    parser.add_argument("--only", help="names of data sets, separated by commas")
    parser.add_argument("--recipes", default="plain,default")
    parser.add_argument("--seeds", default="1,2,3,4,5")
    parser.add_argument("--out", type=Path, default=Path("runs/small_data.jsonl"))
    parser.add_argument(
        "--table", action="store_true", help="print the results in --out, run nothing"
    )
    arguments = parser.parse_args()

    names = arguments.only.split(",") if arguments.only else [s.name for s in SETS]
    chosen = [s for s in SETS if s.name in names]
    if not arguments.table:
        if arguments.data is None:
            parser.error("DATA is needed: the folder that holds the data sets")
        seeds = [int(seed) for seed in arguments.seeds.split(",")]
        for small_set in chosen:
            for recipe in arguments.recipes.split(","):
                measure(arguments.data, small_set, recipe, seeds, arguments.out)
    print_table(chosen, records(arguments.out))


def measure(data: Path, small_set: SmallSet, recipe: str, seeds: Iterable[int], out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        record = once(data, small_set, recipe, RECIPES[recipe], seed, out)
        print(small_set.name, recipe, f"seed {seed}", record["scores"], flush=True)


def once(
    data: Path, small_set: SmallSet, recipe: str, flags: Record, seed: int, out: Path
) -> Record:
    """A run's record: that of an earlier call, or made now."""
    planned = {"set": small_set.name, "rows": small_set.rows, "recipe": recipe, "flags": flags}
    planned["seed"] = seed
    for record in records(out):
        if identity(record) == identity(planned):
            return record
    record = planned | run(data, small_set, flags, seed) | {"machine": machine()}
    with out.open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
    return record


def run(data: Path, small_set: SmallSet, flags: Record, seed: int) -> Record:
    plain = flags == RECIPES["plain"]
    unseen = dev_unseen() if plain else nullcontext()
    with tempfile.TemporaryDirectory() as folder, unseen:
        train, dev, test = cut(data, small_set, Path(folder))
        predictor = onelayer.finetune(
            train, dev=dev, out=Path(folder) / "run", task="classify", seed=seed, **flags
        )
        predicted = [found.prediction.label for found in predict_file(predictor, test, Columns())]
        gold = [json.loads(line)["label"] for line in test.read_text("utf-8").splitlines()]
        assert predictor.record is not None
        info = predictor.record.to_json()
        return {
            "scores": {
                name: 100 * float(metric(gold, predicted))
                for name, metric in small_set.metrics.items()
            },
            "history": info["history"],
            "used": info["recipe"],
        }


def cut(data: Path, small_set: SmallSet, folder: Path) -> tuple[Path, Path, Path]:
    """Training, dev and test files. The shuffle is fixed for all recipes and seeds."""
    rows = read(data / small_set.train, small_set)
    random.Random(0).shuffle(rows)
    rows, n_dev = rows[: small_set.rows], small_set.rows // 10
    parts = {
        "train": rows[n_dev:],
        "dev": rows[:n_dev],
        "test": read(data / small_set.test, small_set),
    }
    for name, part in parts.items():
        lines = "".join(json.dumps(row) + "\n" for row in part)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    train, dev, test = (folder / f"{name}.jsonl" for name in parts)
    return train, dev, test


def read(path: Path, small_set: SmallSet) -> list[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    return [small_set.row(cells) for cells in lines[small_set.headed :]]


def identity(record: Record) -> str:
    """A result counts only for the recipe and rows it was measured with."""
    return json.dumps([record[name] for name in ("set", "rows", "recipe", "flags", "seed")])


def records(out: Path) -> list[Record]:
    if not out.exists():
        return []
    return [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]


COLUMNS = [
    *("data set", "rows", "recipe", "steps", "seeds", "metric", "mean ± deviation"),
    *("lowest to highest", "best on dev"),
]


def print_table(chosen: Iterable[SmallSet], measured: list[Record]) -> None:
    """Markdown: scores over the seeds, and the score of the best seed on dev (``--seeds 5``)."""
    print("|", " | ".join(COLUMNS), "|")
    print("|" + "---|" * len(COLUMNS))
    for small_set in chosen:
        for recipe in RECIPES:
            found = [
                record
                for record in measured
                if (record["set"], record["rows"]) == (small_set.name, small_set.rows)
                and record["recipe"] == recipe
            ]
            for metric in small_set.metrics if found else ():
                values = [record["scores"][metric] for record in found]
                deviation = statistics.stdev(values) if len(values) > 1 else 0.0
                cells = [
                    small_set.name,
                    f"{small_set.rows:,}",
                    recipe,
                    f"{len(found[0]['history']['losses']):,}",
                    str(len(values)),
                    metric,
                    f"{statistics.mean(values):.1f} ± {deviation:.1f}",
                    f"{min(values):.1f} to {max(values):.1f}",
                    f"{max(found, key=dev_score)['scores'][metric]:.1f}",
                ]
                print("|", " | ".join(cells), "|")
    for line in sorted({record["machine"] for record in measured}):
        print(f"\n{line}")


def dev_score(record: Record) -> float:
    return float(max(one["scores"]["accuracy"] for one in record["history"]["evaluations"]))


if __name__ == "__main__":
    main()
