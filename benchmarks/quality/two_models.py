"""What do two models give together: a small one answers the texts that it is sure about, and a
large one the others?

    python -m benchmarks.quality.two_models SMALL LARGE --dev DEV --test TEST
    python -m benchmarks.quality.two_models SMALL LARGE --dev DEV --test TEST --shares 0.1,0.3

SMALL and LARGE are bundles of one task with one label a row, such as two rungs of a ladder that
``onelayer shrink`` made. Of each share the probability is taken below which SMALL leaves that part
of DEV's rows to LARGE; TEST, which nothing was chosen by, tells what the two lose against LARGE
alone. Speeds are multiples of LARGE's, from text to answer, on rows of TEST, in turns, on one
thread.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import onelayer
from benchmarks.support.machine import machine
from onelayer.base.result import text_table
from onelayer.data.rows import Rows, chunks_of
from onelayer.evaluation.evaluate import labelled_rows
from onelayer.exporting.speed import sample_of, speeds_on
from onelayer.prediction.predictor import CHUNK, Predictor
from onelayer.recipe import Columns
from onelayer.shrinking.measuring import BesideRun, NamedRows
from onelayer.tasks import AnyTask

SHARES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
SECONDS = 2.0
"""Rounds of a model are timed until they took this long together."""


@dataclass(frozen=True)
class TwoModels:
    """The small model's answers where it is sure, and else the large one's."""

    small: Predictor
    large: Predictor
    least: float
    """The probability from which the small one is sure."""

    @property
    def task(self) -> AnyTask:
        return self.large.task

    def predict_rows(self, rows: Sequence[Any]) -> list[Any]:
        found = self.small.predict_rows(rows)
        unsure = [i for i, one in enumerate(found) if one.probability < self.least]
        others = self.large.predict_rows([rows[i] for i in unsure]) if unsure else []
        for i, other in zip(unsure, others, strict=True):
            found[i] = other
        return found

    def predict_each(self, rows: Iterable[Any]) -> Iterator[Any]:
        for chunk in chunks_of(CHUNK, rows):
            yield from self.predict_rows(chunk)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("small", type=Path, metavar="SMALL")
    parser.add_argument("large", type=Path, metavar="LARGE")
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--shares", type=lambda text: [float(one) for one in text.split(",")])
    parser.set_defaults(shares=SHARES)
    arguments = parser.parse_args()
    small, large = (onelayer.load(path, threads=1) for path in (arguments.small, arguments.large))
    if large.task.name != "classify" or large.task.several_labels:
        raise SystemExit("only models that give each row one label")
    if small.task.outputs != large.task.outputs:
        raise SystemExit("the two models have other labels")
    dev, test = (
        labelled_rows(large, path, Columns(), print) for path in (arguments.dev, arguments.test)
    )
    print(machine("numpy"))
    print(text_table(measured(small, large, dev, test, arguments)))


def measured(
    small: Predictor, large: Predictor, dev: Rows, test: Rows, arguments: argparse.Namespace
) -> list[list[str]]:
    sure = [one.probability for one in small.predict_each(dev)]
    models: dict[str, Any] = {"LARGE": large, "SMALL": small}
    for share in arguments.shares:
        least = float(np.quantile(sure, share))
        models[f"both, {share:.0%} of dev to LARGE"] = TwoModels(small, large, least)
    speeds = speeds_on(models, sample_of(large, test), seconds=SECONDS)
    judges = BesideRun(
        large, NamedRows(dev, arguments.dev.name), NamedRows(test, arguments.test.name)
    )
    lines = [["", "times LARGE", "test score", "points lost", "95 % interval", "p"]]
    for name, model in models.items():
        one = judges.scores(None if model is large else model).test
        assert one is not None, "there are test rows"
        times = speeds[name].texts_per_second / speeds["LARGE"].texts_per_second
        low, high = one.lost_interval
        lines.append(
            [
                name,
                f"{times:.2f}",
                f"{100 * one.score:.1f}",
                f"{one.lost:.1f}",
                f"{low:.1f} to {high:.1f}",
                f"{one.p:.2g}",
            ]
        )
    return lines


if __name__ == "__main__":
    main()
