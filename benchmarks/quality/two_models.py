"""How much does it cost to ask the larger model of a bundle of two less often?

    python -m benchmarks.quality.two_models BUNDLE --dev DEV --test TEST [--shares 0.1,0.3]

BUNDLE is one in which a smaller model answers first, such as ``two-models-25`` of a ladder that
``onelayer shrink`` made. For each share the margin is taken below which that part of DEV is left to
the larger model; TEST, which nothing was chosen by, tells what the two lose against the larger one
alone. Speeds are multiples of its speed, from text to answer, on rows of TEST, in turns, on one
thread.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.support.machine import machine
from onelayer.base.result import text_table
from onelayer.checkpoint.bundle import Bundle, read_bundle
from onelayer.evaluation.evaluate import labelled_rows
from onelayer.exporting.speed import sample_of, speeds_on
from onelayer.exporting.two_models import margin_for
from onelayer.prediction.from_bundle import open_bundle
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns
from onelayer.shrinking.measuring import BesideRun, NamedRows

SHARES = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)
SECONDS = 2.0
"""Rounds of a model are timed until they took this long together."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("bundle", type=Path, metavar="BUNDLE")
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--shares", type=lambda text: [float(one) for one in text.split(",")])
    parser.set_defaults(shares=SHARES)
    arguments = parser.parse_args()
    bundle = read_bundle(arguments.bundle)
    if bundle.first is None:
        raise SystemExit(f"{arguments.bundle}: no smaller model answers first in it")
    print(machine("numpy"))
    print(text_table(measured(bundle, bundle.first, arguments)))


def measured(bundle: Bundle, first: Bundle, arguments: argparse.Namespace) -> list[list[str]]:
    large = open_bundle(replace(bundle, first=None), threads=1)
    dev, test = (
        NamedRows(labelled_rows(large, path, Columns(), print), path.name)
        for path in (arguments.dev, arguments.test)
    )
    models: dict[str, Predictor] = {"larger": large, "smaller": open_bundle(first, threads=1)}
    for share in arguments.shares:
        both = with_margin(bundle, margin_for(first, dev.rows, share))
        models[f"both, {share:.0%} of dev"] = open_bundle(both, threads=1)
    speeds: dict[str, Any] = speeds_on(models, sample_of(large, test.rows), seconds=SECONDS)
    judges = BesideRun(large, dev, test)
    lines = [["", "times", "test score", "points lost", "95 % interval", "p"]]
    for name, model in models.items():
        one = judges.scores(None if model is large else model).test
        assert one is not None, "there are test rows"
        times = speeds[name].texts_per_second / speeds["larger"].texts_per_second
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


def with_margin(bundle: Bundle, margin: float) -> Bundle:
    """A bundle of two whose smaller model is sure from another margin on."""
    assert bundle.export.first is not None
    export = replace(bundle.export, first=replace(bundle.export.first, margin=margin))
    return replace(bundle, export=export)


if __name__ == "__main__":
    main()
