"""Two heads for answers: one distribution each over starts and ends (``span``), or start, end or
neither for each token (``three-way``). Same rows, recipe and seeds; official scorers.

    python -m benchmarks.quality.span_heads DATA [--rows 300] [--seeds 1,2,3]

DATA/squad_dev holds SQuAD v1.1 and v2.0 as ``quality.py`` takes them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import onelayer
from benchmarks.support.sets import DATA_SETS, cut
from onelayer.evaluation.evaluate import evaluate_model as evaluate
from onelayer.recipe import Columns

HEADS = ("span", "three-way")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--rows", type=int, default=300)
    parser.add_argument("--seeds", default="1,2,3")
    arguments = parser.parse_args()
    squad = next(data_set for data_set in DATA_SETS if data_set.name == "squad_dev")

    print("| set | head | EM | F1 |\n|---|---|---|---|", flush=True)
    for version in ("v1.1", "v2.0"):
        data_set = replace(
            squad,
            train=f"squad_dev/{version}-train.json",
            dev=f"squad_dev/{version}-heldout.json",
            train_rows=arguments.rows,
        )
        with tempfile.TemporaryDirectory() as folder:
            train, held_out = cut(data_set, arguments.data, Path(folder))
            for head in HEADS:
                scores = []
                for seed in map(int, arguments.seeds.split(",")):
                    out = Path(folder, f"{head}-{seed}")
                    # No --dev: a tenth of the training rows chooses checkpoint and threshold.
                    onelayer.finetune(
                        train,
                        out=out,
                        epochs=data_set.epochs,
                        lr=data_set.lr,
                        seed=seed,
                        span_head=head,
                    )
                    scores.append(evaluate(out, held_out, Columns(), lambda _: None).scores)
                figures = " | ".join(spread([s[name] for s in scores]) for name in ("em", "f1"))
                print(f"| SQuAD {version} | {head} | {figures} |", flush=True)


def spread(values: list[float]) -> str:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.1f} ± {deviation:.1f}"


if __name__ == "__main__":
    main()
