"""Does ``onelayer curve`` forecast well? From 200 rows it says what to expect of 400, and then a
model of 400 rows is trained and scored.

    python -m benchmarks.quality.curve_forecast DATA
    python -m benchmarks.quality.curve_forecast DATA --only topic --rows 500 --seed 2

DATA holds the data sets in their owners' formats, in the folders that ``few_sets.py`` names. The
400 rows contain the 200. The models of 200 and of 400 rows are scored on the same test rows.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

import onelayer
from benchmarks.support.few_sets import SETS, Draw, FewSet, Size, as_file, draw
from benchmarks.support.machine import machine
from onelayer.base.result import text_table
from onelayer.base.wording import silent
from onelayer.inspection.curve_plan import plan_in_memory
from onelayer.inspection.learning_curve import LearningCurve
from onelayer.recipe import Recipe
from onelayer.training.fit import held_out_logits
from onelayer.training.progress import Silent

DEFAULT_SETS = "sst2_sentences,emotion,topic"
HEAD = ["set", "metric", "last point", "2 x rows", "interval", "measured", "gain", "real gain"]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--only", default=DEFAULT_SETS, help="sets, separated by commas")
    parser.add_argument("--rows", type=int, default=200, help="rows that the forecast is made from")
    parser.add_argument("--test-rows", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    by_name = {each.name: each for each in SETS}
    print(machine(), flush=True)
    lines = [HEAD]
    for name in arguments.only.split(","):
        started = time.perf_counter()
        lines.append(line_of(by_name[name], arguments))
        print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)
    print(text_table(lines))


def line_of(few_set: FewSet, arguments: argparse.Namespace) -> list[str]:
    parts = few_set.load(arguments.data)
    some, twice = (
        draw(few_set, parts, Size(n), arguments.seed, arguments.test_rows)
        for n in (arguments.rows, 2 * arguments.rows)
    )
    if some is None or twice is None:
        raise SystemExit(f"{few_set.name} has too few rows")
    with tempfile.TemporaryDirectory() as folder:
        file = as_file(some.train, Path(folder) / "some.jsonl")
        curve = onelayer.curve(file, seed=arguments.seed)
        print(curve, flush=True)
        before, after = (measured(each, curve, arguments.seed) for each in (some, twice))
    name, last = few_set.name, f"{curve.points[-1].score:.3f}"
    if not curve.expected:
        return [name, curve.metric, last, "none", "", f"{after:.3f}", "", f"{after - before:+.3f}"]
    then = curve.expected[-1]
    return [
        *(name, curve.metric, last, f"{then.score:.3f}", f"{then.low:.3f} to {then.high:.3f}"),
        *(f"{after:.3f}", f"{then.gain:+.3f}", f"{after - before:+.3f}"),
    ]


def measured(drawn: Draw, curve: LearningCurve, seed: int) -> float:
    """The score on the test rows of one model of the others, by the curve's metric. It is trained
    as ``train`` does it last, without the cross-validation before."""
    with tempfile.TemporaryDirectory() as folder:
        file = as_file((*drawn.train, *drawn.test), Path(folder) / "all.jsonl")
        plan, n = plan_in_memory(file, Recipe(seed=seed), 10**9, silent)
    learned, held_out = np.split(np.arange(n), [len(drawn.train)])
    plan = plan.with_recipe(plan.on_rows(learned).completed(silent).recipe)
    logits = held_out_logits(plan, learned, held_out, Silent())
    rows, encodings = plan.data.on_rows(held_out).rows, plan.scored_encodings.of_rows(held_out)
    _, scorer = plan.task.without_unit().tune(rows, [(rows, encodings, logits)])
    return scorer()[curve.metric]


if __name__ == "__main__":
    main()
