"""Do probabilities, thresholds, sets and abstaining keep their promises on unseen rows?

    python -m benchmarks.quality.probabilities DATA [--only sst2,emotion] [--seed 1]

DATA holds ``goemotions`` and ``sst2_sentences`` in their owners' formats. The starter is
fine-tuned on slices: ``sst2``, whether a sentence is positive, with the set's own dev file;
``emotion``, the emotion of a comment (rows with a single label); ``emotions``, all emotions of a
comment (all rows). The last two keep a tenth of the training rows as dev, the default. Everything
is tuned on dev and scored on the complete test files.
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import onelayer
from onelayer.base.errors import UsageError
from onelayer.metrics import Scorer, intervals
from onelayer.recipe import Recipe
from onelayer.tasks import Classify
from onelayer.tasks.labelled import read_labelled
from onelayer.tasks.protocol import Chunk, decoded

COVERAGES = (0.8, 0.9, 0.95)
ERRORS = (0.01, 0.05, 0.1)


@dataclass(frozen=True)
class Slice:
    """A part of a data set: how many training rows, and which lines belong to it."""

    folder: str
    train_rows: int
    epochs: int
    dev: str | None = None
    belongs: Callable[[str], bool] = bool
    multi_label: bool | None = None


SLICES = {
    "sst2": Slice("sst2_sentences", 4000, 2, dev="dev.tsv"),
    "emotion": Slice("goemotions", 4000, 3, belongs=lambda line: "," not in line.split("\t")[1]),
    "emotions": Slice("goemotions", 4000, 3, multi_label=True),
}


@dataclass
class Judge:
    """A fine-tuned task, and the logits of its test rows."""

    task: Classify
    rows: list
    chunks: list[Chunk]

    def scores(self, task: Classify) -> Scorer:
        return task.score(self.rows, decoded(task, self.chunks))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--only", default=",".join(SLICES))
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    judges = {}
    for name in arguments.only.split(","):
        with tempfile.TemporaryDirectory() as folder:
            judges[name] = judge(SLICES[name], arguments.data, Path(folder), arguments.seed)
    print_temperatures(judges)
    print_thresholds(judges)
    print_sets(judges)
    print_answers(judges)


def judge(slice_: Slice, data: Path, folder: Path, seed: int) -> Judge:
    def written(part: str, rows: int | None) -> Path:
        lines = (data / slice_.folder / f"{part}.tsv").read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if slice_.belongs(line)]
        random.Random(0).shuffle(kept)
        path = folder / f"{part}.tsv"
        path.write_text("\n".join(kept[:rows]) + "\n", encoding="utf-8")
        return path

    recipe = Recipe(
        epochs=slice_.epochs, lr=1e-4, seed=seed, task="classify", multi_label=slice_.multi_label
    )
    model = onelayer.finetune(
        written("train", slice_.train_rows),
        dev=data / slice_.folder / slice_.dev if slice_.dev else None,
        out=folder / "run",
        recipe=recipe,
    )
    task = model.task
    assert isinstance(task, Classify)
    test = written("test", None)
    rows = read_labelled(test, recipe, lambda _: None, kind=Classify, layout=model.layout)[2]
    encodings = task.encode(rows, model.tokenizer, labelled=False)
    return Judge(task, rows, list(model.run_encoded(rows, encodings)))


def print_temperatures(judges: dict[str, Judge]) -> None:
    print(
        "| set | dev rows | test rows | temperature | log loss at 1 | log loss | ECE at 1 | ECE |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, it in judges.items():
        known = it.task.calibration
        assert known is not None
        raw = it.scores(replace(it.task, calibration=replace(known, temperature=1.0)))()
        scorer = it.scores(it.task)
        cells = [
            f"{known.rows:,}",
            f"{len(it.rows):,}",
            f"{known.temperature:.2f}",
            f"{raw['log_loss']:.3f}",
            f"{scorer()['log_loss']:.3f}",
            f"{raw['ece']:.3f}",
            with_interval(scorer, "ece"),
        ]
        print(f"| {name} | {' | '.join(cells)} |")
    print()


def print_thresholds(judges: dict[str, Judge]) -> None:
    several = {name: it for name, it in judges.items() if it.task.multi_label}
    if not several:
        return
    print("| set | thresholds | micro F1 | macro F1 |\n|---|---|---|---|")
    for name, it in several.items():
        for called, threshold in (("0.5", 0.5), ("tuned, one a label", it.task.threshold)):
            scorer = it.scores(replace(it.task, threshold=threshold))
            f1 = " | ".join(with_interval(scorer, f"{kind}_f1") for kind in ("micro", "macro"))
            print(f"| {name} | {called} | {f1} |")
    print()


def print_sets(judges: dict[str, Judge]) -> None:
    print("| set | requested coverage | coverage | labels in a set, of |\n|---|---|---|---|")
    for name, it in judges.items():
        for asked in COVERAGES:
            scorer = it.scores(it.task.with_guarantees(asked, None))
            size = f"{scorer()['set_size']:.2f}, {len(it.task.labels)}"
            print(f"| {name} | {asked:.0%} | {with_interval(scorer, 'coverage')} | {size} |")
    print()


def print_answers(judges: dict[str, Judge]) -> None:
    print("| set | error without abstaining | requested error | error among answers | answered |")
    print("|---|---|---|---|---|")
    for name, it in judges.items():
        if it.task.multi_label:
            continue
        plain = 1 - it.scores(it.task)()["accuracy"]
        for asked in ERRORS:
            try:
                scorer = it.scores(it.task.with_guarantees(None, asked))
            except UsageError as refusal:
                found = f"refused: {refusal.hint} | – "
            else:
                found = f"{with_interval(scorer, 'error')} | {scorer()['answered']:.0%}"
            print(f"| {name} | {plain:.1%} | {asked:.0%} | {found} |")


def with_interval(scorer: Scorer, metric: str) -> str:
    low, high = intervals(scorer)[metric]
    return f"{scorer()[metric]:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
