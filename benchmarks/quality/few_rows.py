"""From eight rows a class to the full file: does onelayer's default do at least as well as what a
user would otherwise pick? Every side gets the same weights and rows, and the same rows score it.

    python -m benchmarks.quality.few_rows DATA --chinese-model DIR --setfit-python PATH
    python -m benchmarks.quality.few_rows DATA --sides ours --again ours     # the peers' lines stay
    python -m benchmarks.quality.few_rows DATA --full                        # for a night
    python -m benchmarks.quality.few_rows --table
    python -m benchmarks.quality.few_rows --picture docs/images/few_rows.svg

DATA holds the data sets in their owners' formats, in the folders that ``few_sets.py`` names. The
sides:

ours          ``onelayer.finetune`` with its default on a file of the rows
lr-embedding  scikit-learn's LogisticRegression (Ridge for numbers) on the mean embedding
tfidf         the same on words and pairs of words (in Chinese: one to three characters)
trainer-2e-5, trainer-5e-5
              transformers' Trainer, three epochs of batches of 16
setfit        SetFit's default, for single texts with labels; ``--setfit-python`` is a Python with
              setfit and sentence-transformers

Chinese sets are left out without ``--chinese-model``, a directory with a Chinese BERT.

Each result is a line of ``--out``, written at once. A later call measures only what is missing;
``--again SIDE`` also measures what another commit measured.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import onelayer
from benchmarks.quality import few_peers
from benchmarks.quality.few_chart import save_chart
from benchmarks.quality.few_peers import Answers, Options, Side, TooSlowError, setfit_fits
from benchmarks.quality.few_table import print_table
from benchmarks.support.few_results import Result, append, current_commit, has_to_run, newest
from benchmarks.support.few_sets import SETS, Draw, FewSet, Size, as_file, draw, judge
from benchmarks.support.machine import machine
from onelayer.checkpoint.named_models import STARTER
from onelayer.prediction.streams import predict_file
from onelayer.recipe import Columns

QUICK = {"sizes": "8c,32c", "seeds": "1,2", "test_rows": 500, "limit": 120.0}
"""Meant for about an hour on two quiet cores; not timed."""
FULL = {
    "sizes": "8c,16c,32c,64c,500,2000,all",
    "seeds": "1,2,3,4,5",
    "test_rows": None,
    "limit": None,
}


def ours(drawn: Draw, options: Options) -> Answers:
    """A file in, a model out: whatever the default does is in the time."""
    task = "regress" if drawn.few_set.kind == "number" else "classify"
    with tempfile.TemporaryDirectory() as folder:
        train = as_file(drawn.train, Path(folder) / "train.jsonl")
        test = as_file(drawn.test, Path(folder) / "test.jsonl")
        start = time.perf_counter()
        predictor = onelayer.finetune(
            train, task=task, model=options.model, out=Path(folder) / "run", seed=options.seed
        )
        seconds = time.perf_counter() - start
        part = {"label": "label", "labels": "labels", "number": "value"}[drawn.few_set.kind]
        found = predict_file(predictor, test, Columns())
        return Answers([getattr(each.prediction, part) for each in found], seconds)


SIDES: dict[str, Side] = {
    "ours": ours,
    "lr-embedding": few_peers.lr_embedding,
    "tfidf": few_peers.tfidf,
    "trainer-2e-5": few_peers.trainer(2e-5),
    "trainer-5e-5": few_peers.trainer(5e-5),
    "setfit": few_peers.setfit,
}


def main() -> None:
    arguments = parsed()
    sets = named(arguments.only, {each.name: each for each in SETS})
    if not arguments.table and not arguments.picture:
        measure(arguments, sets)
    results = newest(arguments.out)
    if arguments.picture:
        save_chart(results, sets, arguments.picture)
    else:
        print_table(results, sets, list(SIDES))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA")
    parser.add_argument("--only", help="names of data sets, separated by commas")
    parser.add_argument("--sides", default=",".join(SIDES))
    parser.add_argument("--sizes", type=sizes, help="such as 8c (rows a class), 500, all")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")])
    parser.add_argument("--test-rows", type=int, help="rows that are scored, of each set")
    parser.add_argument("--full", action="store_true", help="all sizes, five seeds, all test rows")
    parser.add_argument("--chinese-model", help="a directory with a Chinese BERT")
    parser.add_argument("--setfit-python", type=Path, help="a Python that has setfit")
    parser.add_argument("--limit", type=float, help="seconds after which SetFit is ended")
    parser.add_argument("--again", default="", help="sides to measure again at a new commit")
    parser.add_argument("--out", type=Path, default=Path("runs/few_rows.jsonl"))
    parser.add_argument("--table", action="store_true", help="print the results so far")
    parser.add_argument("--picture", type=Path, help="draw the results so far into this SVG")
    defaults = FULL if parser.parse_args().full else QUICK
    parser.set_defaults(**defaults)
    arguments = parser.parse_args()
    if arguments.data is None and not arguments.table and not arguments.picture:
        parser.error("DATA is needed: the folder that holds the data sets")
    return arguments


def sizes(text: str) -> list[Size]:
    try:
        return [Size.parse(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def named(names: str | None, known: dict[str, Any]) -> list[Any]:
    if names is None:
        return list(known.values())
    wanted = names.split(",")
    if unknown := set(wanted) - set(known):
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return [known[name] for name in wanted]


def measure(arguments: argparse.Namespace, sets: Sequence[FewSet]) -> None:
    named(arguments.sides, SIDES)
    again = arguments.again.split(",")
    commit = current_commit()
    for drawn, size, options in draws(arguments, sets):
        for name in arguments.sides.split(","):
            if name == "setfit" and not (options.setfit_python and setfit_fits(drawn)):
                continue
            planned = Result(
                set=drawn.few_set.name,
                size=str(size),
                seed=options.seed,
                side=name,
                model=Path(options.model).name,
                rows=len(drawn.train),
                test_rows=len(drawn.test),
                commit=commit,
            )
            done = newest(arguments.out)
            if has_to_run(planned, done, again=name in again, limit=options.limit):
                result = measured(planned, drawn, options)
                append(result, arguments.out)
                print(line(result), flush=True)


def draws(
    arguments: argparse.Namespace, sets: Sequence[FewSet]
) -> Iterator[tuple[Draw, Size, Options]]:
    """The small draws of all sets come first, so that an early stop leaves a fair picture."""
    load = lru_cache(lambda few_set: few_set.load(arguments.data))
    for size in arguments.sizes:
        for few_set in sets:
            if few_set.chinese and not arguments.chinese_model:
                continue
            model = arguments.chinese_model if few_set.chinese else STARTER
            for seed in arguments.seeds:
                drawn = draw(few_set, load(few_set), size, seed, arguments.test_rows)
                if drawn is not None:
                    yield (
                        drawn,
                        size,
                        Options(model, seed, arguments.setfit_python, arguments.limit),
                    )


def measured(planned: Result, drawn: Draw, options: Options) -> Result:
    at = machine("scikit-learn")
    try:
        answers = SIDES[planned.side](drawn, options)
    except TooSlowError:
        assert options.limit is not None
        return replace(planned, seconds=options.limit, machine=at)
    return replace(
        planned,
        scores=judge(drawn, answers.predictions),
        seconds=round(answers.seconds, 2),
        machine=at,
        versions=answers.versions,
    )


def line(result: Result) -> str:
    scores = result.scores or {"longer than the limit": result.seconds}
    shown = ", ".join(f"{name} {value:.1f}" for name, value in scores.items())
    where = f"{result.set} {result.size} seed {result.seed} {result.side}"
    return f"{where}: {shown} ({result.seconds:.1f} s)"


if __name__ == "__main__":
    main()
