"""Two models on the same rows: which is better, whether that is real, and what changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from onelayer.base.errors import UsageError
from onelayer.base.json_values import finite
from onelayer.base.wording import clipped, listed, where
from onelayer.data.rows import Rows
from onelayer.evaluation.evaluate import labelled_rows, say_cut
from onelayer.metrics import Difference, Floats, paired_differences
from onelayer.prediction.load import load
from onelayer.prediction.predictor import CHUNK, Predictor
from onelayer.recipe import Columns
from onelayer.tasks import AnyTask

SURE = 0.05
"""A difference whose p is below is called real."""
NOT_SHARES = ("mcc", "pearson", "spearman", "rmse", "mae")
"""Metrics whose differences aren't said in points."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row of which the models say different things; of the texts only the beginning."""

    number: int
    place: dict[str, Any]
    text: str
    gold: str
    a: str
    b: str


def compare(
    run_a: str | Path,
    run_b: str | Path,
    file: str | Path,
    columns: Columns,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Every metric of both models, B's difference with its 95 % interval and p, and the rows of
    which they say different things, with whose answer is nearer to the gold label.

    Both models read a chunk before the next one is read. What grows with the file are the few
    numbers a row that bootstrap and permutations need, and the changed rows. Raises UsageError for
    models of different tasks or labels.
    """
    a, b = load(run_a), load(run_b)
    _refuse_unlike(a, b)
    rows = labelled_rows(a, file, columns, say)
    changes: list[Change] = []
    scorer = a.task.score(Twice(rows), _by_turns(a, b, rows, changes))
    for predictor in (a, b):
        say_cut(predictor, say)
    found = paired_differences(scorer)
    changed = _ranked(changes, scorer.mistakes())
    result = {
        "a": str(run_a),
        "b": str(run_b),
        "file": str(file),
        "rows": len(rows),
        "verdict": _verdict(a.task, found, anything=bool(changes)),
        "metrics": {name: asdict(difference) for name, difference in found.items()},
        "nearer": {side: sum(c["nearer"] == side for c in changed) for side in ("a", "b")},
        "changed": changed,
    }
    return dict(finite(result))


@dataclass(frozen=True, slots=True)
class Twice:
    """Each row twice in succession: for one model's prediction and for the other's."""

    rows: Rows

    def __iter__(self) -> Iterator[Any]:
        for row in self.rows:
            yield row
            yield row


def _by_turns(
    a: Predictor, b: Predictor, rows: Iterable[Any], changes: list[Change]
) -> Iterator[Any]:
    """A's and B's prediction of each row; notes the rows where they differ."""
    stream = enumerate(rows)
    while chunk := list(islice(stream, CHUNK)):
        here = [row for _, row in chunk]
        both = zip(chunk, a.predict_rows(here), b.predict_rows(here), strict=True)
        for (number, row), of_a, of_b in both:
            gold, said_a, said_b = a.task.contrast(row, of_a, of_b)
            if said_a != said_b:
                text = clipped(" | ".join(a.task.texts(row)))
                parts = map(clipped, (gold, said_a, said_b))
                changes.append(Change(number, where(row.place), text, *parts))
            yield of_a
            yield of_b


def _ranked(changes: list[Change], mistakes: Floats) -> list[dict[str, Any]]:
    """The changed rows with whose answer has fewer mistakes, the largest changes first."""

    def gain(change: Change) -> float:
        return float(mistakes[2 * change.number] - mistakes[2 * change.number + 1])

    ranked = sorted(changes, key=lambda change: -abs(gain(change)))
    return [
        {
            **change.place,
            "text": change.text,
            "gold": change.gold,
            "a": change.a,
            "b": change.b,
            "nearer": None if gain(change) == 0 else "b" if gain(change) > 0 else "a",
        }
        for change in ranked
    ]


def _verdict(task: AnyTask, found: dict[str, Difference], *, anything: bool) -> str:
    """Which model is better by the task's own metric, by how much, and how sure that is."""
    if not anything:
        return "no difference: both say the same of every row"
    it = found[task.metric]
    scale = 1 if task.metric in NOT_SHARES else round(1 / task.point)
    unit = "" if task.metric in NOT_SHARES else " points"
    form = ".3f" if task.metric in NOT_SHARES else ".1f"
    by, low, high = (f"{scale * x:+{form}}" for x in (it.difference, *it.interval))
    who = f"{'B' if it.difference > 0 else 'A'} is better" if it.p < SURE else "no real difference"
    return f"{who}: {task.metric} {by}{unit} (95 % interval {low} to {high}), p = {it.p:.2g}"


def _refuse_unlike(a: Predictor, b: Predictor) -> None:
    if a.task.name != b.task.name:
        raise UsageError(
            f"A is for {a.task.name} and B for {b.task.name}",
            hint="compare two models of the same task",
        )
    if ("pair" in a.layout.columns) != ("pair" in b.layout.columns):
        raise UsageError("one model was trained on pairs, the other on single texts")
    if not a.task.has_labels_of(b.task):
        one, other = set(a.task.label_names), set(b.task.label_names)
        only = [
            f"only {name} has {listed(sorted(x))}"
            for name, x in (("A", one - other), ("B", other - one))
            if x
        ]
        raise UsageError(
            "the models have different labels" + "".join(f"; {part}" for part in only),
            hint="compare two models of the same labels",
        )
