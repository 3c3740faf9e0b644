"""Does training in bfloat16 cost anything? Both precisions on the same rows, with the same seeds.

    python -m benchmarks.quality.precisions DATA
    python -m benchmarks.quality.precisions DATA --only rte --seeds 1,2,3,4,5

They take turns, seed by seed. The last epoch's model is scored on dev rows that were not used to
choose it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from pathlib import Path
from typing import get_args

# As the command line does it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import onelayer
from benchmarks.support.machine import machine
from benchmarks.support.no_dev import dev_unseen
from benchmarks.support.sets import DATA_SETS, DataSet, cut
from onelayer.evaluation.evaluate import evaluate_model as evaluate
from onelayer.recipe import Columns, Precision


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--only", default="sst2_sentences,wnut17", help="separated by commas")
    parser.add_argument("--seeds", default="1,2,3,4,5")
    arguments = parser.parse_args()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]

    print("| data set | metric | precision | mean ± deviation | tokens a second |")
    print("|---|---|---|---|---|", flush=True)
    for data_set in DATA_SETS:
        if data_set.name in arguments.only.split(","):
            compare(data_set, arguments.data, seeds)
    print(f"\n{machine()}")


def compare(data_set: DataSet, data: Path, seeds: list[int]) -> None:
    precisions: tuple[Precision, ...] = get_args(Precision)
    scores: dict[Precision, list[float]] = {precision: [] for precision in precisions}
    speeds: dict[Precision, list[float]] = {precision: [] for precision in precisions}
    metric = ""
    with tempfile.TemporaryDirectory() as folder:
        train, dev = cut(data_set, data, Path(folder))
        for seed in seeds:
            for precision in precisions:
                out = Path(folder, f"{precision}-{seed}")
                with dev_unseen():
                    predictor = onelayer.finetune(
                        train,
                        dev=dev,
                        out=out,
                        task=data_set.task,
                        epochs=data_set.epochs,
                        lr=data_set.lr,
                        max_length=data_set.max_length,
                        seed=seed,
                        precision=precision,
                    )
                metric = predictor.task.metric
                result = evaluate(out, dev, Columns(), lambda _: None)
                scores[precision].append(100 * result.scores[metric])
                assert predictor.record is not None
                assert predictor.record.history is not None
                tokens = predictor.record.history.tokens
                seconds = json.loads((out / "timing.json").read_text())["seconds"]
                speeds[precision].append(sum(tokens) / sum(seconds))
    for precision in precisions:
        deviation = statistics.stdev(scores[precision]) if len(seeds) > 1 else 0.0
        print(
            f"| {data_set.name} | {metric} | {precision} | "
            f"{statistics.mean(scores[precision]):.1f} ± {deviation:.1f} | "
            f"{statistics.median(speeds[precision]):,.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
