"""What a smaller model costs: `onelayer.shrink` on runs of several sets and seeds, with each rung's
size, speed and loss on the owner's test file, beside scikit-learn's TF-IDF and linear model.

    python -m benchmarks.quality.shrink DATA                        # four sets, one seed
    python -m benchmarks.quality.shrink DATA --only sst2_sentences --seeds 1,2,3
    python -m benchmarks.quality.shrink DATA --rows 2000            # slices of the training files
    python -m benchmarks.quality.shrink DATA --model MPNET --only sst2_sentences
    python -m benchmarks.quality.shrink --table                     # the results so far

DATA holds the data sets in their owners' formats. Speeds are multiples of the speed of the run's
own int8 bundle, from text to answer, on the same rows in turns; points lost are against the run in
fp32. Runs and ladders stay in ``--runs``, and a trained run is taken from there, so an interrupted
call continues. Each result is a line of ``--out``, written at once; a later call measures only what
is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
from scipy.sparse import hstack
from scipy.stats import spearmanr
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge

import onelayer
from benchmarks.support.few_results import current_commit
from benchmarks.support.machine import machine
from benchmarks.support.set_formats import FORMATS
from benchmarks.support.shrink_results import LadderResult, append, newest, print_table
from onelayer.base.json_values import to_plain


@dataclass(frozen=True)
class ShrinkSet:
    name: str
    task: str
    format: str
    train: str
    dev: str | None
    """None where the owner has no dev file, or it is the one with public labels: a tenth of the
    training rows is then kept for it."""
    test: str
    chinese: bool = False


SETS = [
    ShrinkSet(
        *("sst2_sentences", "classify", "text-label"),
        "sst2_sentences/train.tsv",
        "sst2_sentences/dev.tsv",
        "sst2_sentences/test.tsv",
    ),
    ShrinkSet(
        *("chnsenticorp", "classify", "text-label"),
        "chnsenticorp/train.tsv",
        None,
        "chnsenticorp/dev.tsv",
        chinese=True,
    ),
    ShrinkSet(
        *("mit_movie", "tag", "conll"),
        "mit_movie/engtrain.bio.txt",
        None,
        "mit_movie/engtest.bio.txt",
    ),
    ShrinkSet(
        *("stsb-en", "regress", "pair-score"),
        "stsb_multi/stsb-en-train.csv",
        "stsb_multi/stsb-en-dev.csv",
        "stsb_multi/stsb-en-test.csv",
    ),
    ShrinkSet(
        *("tnews", "classify", "text-label"),
        "tnews/train.tsv",
        None,
        "tnews/dev.tsv",
        chinese=True,
    ),
    ShrinkSet(
        *("mrpc", "classify", "mrpc"),
        "mrpc/msr_paraphrase_train.txt",
        None,
        "mrpc/msr_paraphrase_test.txt",
    ),
]
DEFAULT = "sst2_sentences,chnsenticorp,mit_movie,stsb-en"
STRENGTH = 10.0
"""``C`` of scikit-learn's logistic regression: its default of 1 is too weak for short texts."""


def main() -> None:
    arguments = parsed()
    known = {one.name: one for one in SETS}
    names = arguments.only.split(",")
    if unknown := set(names) - set(known):
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    if not arguments.table:
        for seed in arguments.seeds:
            for name in names:
                measure(known[name], seed, arguments)
    results = [one for one in newest(arguments.out).values() if one.set in names]
    if arguments.json:
        print(json.dumps([to_plain(result) for result in results]))
    else:
        print_table(results)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("data", type=Path, nargs="?", metavar="DATA")
    parser.add_argument("--only", default=DEFAULT, help="names of data sets, between commas")
    parser.add_argument("--seeds", type=lambda text: [int(one) for one in text.split(",")])
    parser.add_argument("--model", default="starter", help="a name or a directory")
    parser.add_argument("--chinese-model", default="multilingual", help="as --model, in Chinese")
    parser.add_argument("--rows", type=int, help="training rows, drawn from the file")
    parser.add_argument("--unlabelled", type=Path, help="a file of texts to learn from, too")
    parser.add_argument("--runs", type=Path, default=Path("runs/shrink"), help="runs and ladders")
    parser.add_argument("--out", type=Path, default=Path("runs/shrink.jsonl"))
    parser.add_argument("--again", action="store_true", help="also what was measured before")
    parser.add_argument("--table", action="store_true", help="print the results so far")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.set_defaults(seeds=[1])
    arguments = parser.parse_args()
    if arguments.data is None and not arguments.table:
        parser.error("DATA is needed: the folder that holds the data sets")
    return arguments


def measure(one: ShrinkSet, seed: int, arguments: argparse.Namespace) -> None:
    model = arguments.chinese_model if one.chinese else arguments.model
    train, rows = training_file(one, arguments)
    identity = (one.name, seed, Path(model).name, rows)
    if identity in newest(arguments.out) and not arguments.again:
        return
    run = arguments.runs / f"{one.name}-{rows}-{Path(model).name}-{seed}"
    train_seconds = trained(one, run, train, model, seed, arguments.data)
    test = arguments.data / one.test
    start = time.perf_counter()
    found = onelayer.shrink(run, test=test, unlabelled=arguments.unlabelled)
    result = LadderResult(
        set=one.name,
        seed=seed,
        model=Path(model).name,
        rows=rows,
        commit=current_commit(),
        baseline=found.baseline,
        kept=found.kept or "",
        rungs=found.rungs,
        counted=counted_words(one, train, test),
        train_seconds=train_seconds,
        shrink_seconds=round(time.perf_counter() - start, 1),
        machine=machine("scikit-learn"),
    )
    append(result, arguments.out)
    print(f"{one.name}, seed {seed}: {found.advice}", flush=True)


def training_file(one: ShrinkSet, arguments: argparse.Namespace) -> tuple[Path, int]:
    """The training file, or a slice of it in the owner's format, and how many rows it has. The
    slice is the same for all seeds."""
    source = arguments.data / one.train
    split, join, _ = FORMATS[one.format]
    head, units = split(source.read_text(encoding="utf-8"))
    if arguments.rows is None or arguments.rows >= len(units):
        return source, len(units)
    random.Random(0).shuffle(units)
    path: Path = arguments.runs / "slices" / f"{arguments.rows}-{one.name}{source.suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(join(head, units[: arguments.rows]), encoding="utf-8")
    return path, arguments.rows


def trained(
    one: ShrinkSet, run: Path, train: Path, model: str, seed: int, data: Path
) -> float | None:
    """Trains the run with onelayer's defaults; None where it is there already."""
    if (run / "model.safetensors").exists():
        return None
    start = time.perf_counter()
    dev = None if one.dev is None else data / one.dev
    onelayer.finetune(train, dev=dev, out=run, task=one.task, model=model, seed=seed)
    return round(time.perf_counter() - start, 1)


# scikit-learn's TF-IDF and linear model, independent of the row that the ladder has.


def counted_words(one: ShrinkSet, train: Path, test: Path) -> float | None:
    """The test score of words and pairs of words (in Chinese: characters and pairs of them) under
    logistic regression, or ridge regression for numbers; None where words have labels."""
    if one.task == "tag":
        return None
    learned, scored = (read(one, path) for path in (train, test))
    settings: dict[str, Any] = {"ngram_range": (1, 2), "sublinear_tf": True}
    if one.chinese:
        settings["analyzer"] = "char"
    sides = ["text"] if learned[0]["pair"] is None else ["text", "pair"]
    vectorizers = [
        TfidfVectorizer(**settings).fit([row[side] for row in learned]) for side in sides
    ]

    def features(rows: Sequence[dict[str, Any]]) -> Any:
        parts = [
            each.transform([row[side] for row in rows])
            for side, each in zip(sides, vectorizers, strict=True)
        ]
        return hstack(parts).tocsr()

    gold = [row["label"] for row in scored]
    labels = [row["label"] for row in learned]
    if one.task == "regress":
        predicted = Ridge().fit(features(learned), labels).predict(features(scored))
        return float(spearmanr(gold, predicted).statistic)
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit(features(learned), labels)
    return float(np.mean(model.predict(features(scored)) == np.array(gold)))


def read(one: ShrinkSet, path: Path) -> list[dict[str, Any]]:
    split, _, row = FORMATS[one.format]
    return [row(unit) for unit in split(path.read_text(encoding="utf-8"))[1]]


if __name__ == "__main__":
    main()
