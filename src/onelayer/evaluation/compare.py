"""Compares two models on the same rows: which one is better, how certain that is, what changed."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from onelayer.base.errors import UsageError
from onelayer.base.result import Result, Table, place_text, short_figure, signed_figure
from onelayer.base.wording import Say, clipped, listed, where
from onelayer.data.in_memory import Source, source_path
from onelayer.data.rows import Rows, chunks_of
from onelayer.evaluation.caveats import SeenRows
from onelayer.evaluation.evaluate import labelled_rows, say_cut
from onelayer.metrics import Difference, Floats, paired_differences
from onelayer.prediction.load import load
from onelayer.prediction.predictor import CHUNK, Predictor
from onelayer.recipe import Columns
from onelayer.tasks import AnyTask

MAX_P = 0.05
"""The significance level: a difference with a smaller p-value is called real."""
METRICS_WITHOUT_POINTS = ("mcc", "pearson", "spearman", "rmse", "mae")
"""Metrics that are no shares: their differences aren't printed in points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedRow:
    """A row where the predictions differ, with the beginning of its text."""

    line: int | None = None
    id: int | str | None = None
    """The row's id, in formats where lines don't identify rows."""
    text: str
    gold: str
    a: str
    b: str
    nearer: Literal["a", "b"] | None
    """The model whose prediction is nearer to the gold label; None if neither is."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Comparison(Result):
    """The comparison of two models on the same labelled rows."""

    a: str
    b: str
    file: str
    rows: int
    verdict: str
    metrics: Mapping[str, Difference]
    nearer: Mapping[str, int]
    """By model: the number of rows where its prediction is nearer to the gold label."""
    changed: tuple[ChangedRow, ...]
    """The largest changes first."""
    caveats: tuple[str, ...] = ()
    """What the comparison can't tell, in words."""

    def parts(self) -> list[str | Table]:
        return self.parts_with(0)

    def parts_with(self, n_rows: int) -> list[str | Table]:
        """As `parts`, with the first ``n_rows`` rows where A is nearer, and where B is."""
        lines = [["", "A", "B", "B - A", "95 % interval", "p"]]
        for name, it in self.metrics.items():
            interval = " to ".join(map(signed_figure, it.interval))
            p = "–" if math.isnan(it.p) else f"{it.p:.2g}"
            by = signed_figure(it.difference)
            lines.append([name, short_figure(it.a), short_figure(it.b), by, interval, p])
        parts: list[str | Table] = [f"{self.file}, {self.rows:,} rows; A = {self.a}, B = {self.b}"]
        parts += [lines, self.verdict, *self.caveats]
        for side, other in (("b", "a"), ("a", "b")):
            nearer = [row for row in self.changed if row.nearer == side]
            parts.append(f"{len(nearer):,} rows where {side.upper()} is nearer to the gold label")
            for row in nearer[:n_rows]:
                said = (f"{name.upper()} {getattr(row, name)}" for name in (side, other))
                place = place_text(row.line, row.id)
                parts.append(f"  {place}: {', '.join(said)}, gold {row.gold}: {row.text}")
        if others := sum(row.nearer is None for row in self.changed):
            parts.append(f"{others:,} rows where they differ and neither is nearer")
        return parts


@dataclass(frozen=True, slots=True)
class _Change:
    """A changed row and its number, before the mistakes are counted."""

    number: int
    row: ChangedRow


def compare_models(
    run_a: str | Path,
    run_b: str | Path,
    file: Source,
    columns: Columns,
    say: Say,
) -> Comparison:
    """Every metric of both models, the difference B - A with its 95 % interval and p-value, and the
    rows where the predictions differ, with the model that is nearer to the gold label.

    Both models predict a chunk before the next one is read. Memory grows only by a few numbers per
    row, for bootstrap and permutations, and by the changed rows. Raises UsageError for models of
    different tasks or labels.
    """
    a, b = load(run_a), load(run_b)
    _refuse_different_tasks(a, b)
    seen = {"A": SeenRows.by(a), "B": SeenRows.by(b)}

    def look(row: Any) -> None:
        for one in seen.values():
            one.look(row)

    rows = labelled_rows(a, file, columns, say, look)
    changes: list[_Change] = []
    scorer = a.task.score(Twice(rows), _by_turns(a, b, rows, changes))
    for predictor in (a, b):
        say_cut(predictor, say)
    found = paired_differences(scorer)
    changed = _ranked(changes, scorer.mistakes())
    return Comparison(
        a=str(run_a),
        b=str(run_b),
        file=source_path(file),
        rows=len(rows),
        verdict=_verdict(a.task, found, anything=bool(changes)),
        metrics=found,
        nearer={side: sum(row.nearer == side for row in changed) for side in ("a", "b")},
        changed=changed,
        caveats=(
            *seen["A"].on_repeats(),
            *(f"{side}: {said}" for side, one in seen.items() for said in one.on_seen(side)),
        ),
    )


@dataclass(frozen=True, slots=True)
class Twice:
    """Each row twice in succession, once for each model's prediction."""

    rows: Rows

    def __iter__(self) -> Iterator[Any]:
        for row in self.rows:
            yield row
            yield row


def _by_turns(
    a: Predictor, b: Predictor, rows: Iterable[Any], changes: list[_Change]
) -> Iterator[Any]:
    """A's and B's prediction of each row; adds the rows where they differ to ``changes``."""
    for chunk in chunks_of(CHUNK, enumerate(rows)):
        here = [row for _, row in chunk]
        both = zip(chunk, a.predict_rows(here), b.predict_rows(here), strict=True)
        for (number, row), of_a, of_b in both:
            gold, said_a, said_b = a.task.contrast(row, of_a, of_b)
            if said_a != said_b:
                text = clipped(" | ".join(a.task.texts(row)))
                gold, said_a, said_b = map(clipped, (gold, said_a, said_b))
                place = where(row.place)
                changed = ChangedRow(text=text, gold=gold, a=said_a, b=said_b, nearer=None, **place)
                changes.append(_Change(number, changed))
            yield of_a
            yield of_b


def _ranked(changes: list[_Change], mistakes: Floats) -> tuple[ChangedRow, ...]:
    """The changed rows with the model that makes fewer mistakes, the largest changes first."""

    def gain(change: _Change) -> float:
        return float(mistakes[2 * change.number] - mistakes[2 * change.number + 1])

    ranked = sorted(changes, key=lambda change: -abs(gain(change)))
    return tuple(
        replace(change.row, nearer=None if not gain(change) else "b" if gain(change) > 0 else "a")
        for change in ranked
    )


def _verdict(task: AnyTask, found: dict[str, Difference], *, anything: bool) -> str:
    """Which model is better by the task's metric, by how much, and how certain that is."""
    if not anything:
        return "no difference: both predict the same for every row"
    it = found[task.metric]
    scale = 1 if task.metric in METRICS_WITHOUT_POINTS else round(1 / task.point)
    unit = "" if task.metric in METRICS_WITHOUT_POINTS else " points"
    form = ".3f" if task.metric in METRICS_WITHOUT_POINTS else ".1f"
    by, low, high = (f"{scale * x:+{form}}" for x in (it.difference, *it.interval))
    who = f"{'B' if it.difference > 0 else 'A'} is better" if it.p < MAX_P else "no real difference"
    return f"{who}: {task.metric} {by}{unit} (95 % interval {low} to {high}), p = {it.p:.2g}"


def _refuse_different_tasks(a: Predictor, b: Predictor) -> None:
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
