"""Finds the labels of a file that are probably wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelayer.base.errors import UsageError
from onelayer.base.result import Result, Table, place_text, short_figure
from onelayer.base.wording import clipped, in_words, where
from onelayer.checkpoint.record import ModelRecord
from onelayer.data.in_memory import Source
from onelayer.data.rows import Rows
from onelayer.data.sketch import Sketch
from onelayer.evaluation.evaluate import labelled_rows
from onelayer.inspection.cross_validation import JudgedRows, by_itself, cross_validated
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns, Recipe
from onelayer.tasks import AnyTask
from onelayer.tasks.label_judges import Suspect
from onelayer.training.progress import Reporter

MAX_SHARE_LEARNED = 0.05
"""A run that was trained on more of the rows than this has learned their wrong labels, so that its
recipe is cross-validated instead."""
DEFAULT_POSITIONS = 512
"""Positions of the model that a task is fitted for, where only its labels matter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectRow:
    """A row whose label is probably wrong, with the beginning of its text."""

    line: int | None = None
    id: int | str | None = None
    """The row's id, in formats where lines don't identify rows."""
    text: str
    given: str
    likely: str
    probability: float | None
    """The probability of the likely label."""
    given_probability: float | None
    margin: float
    """How far the given label is from being accepted: the smaller, the more certain the error."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LabelErrors(Result):
    """The rows of a file whose labels are probably wrong."""

    judged: str
    """By which model, in words."""
    rows: int
    not_judged: int
    """Rows whose labels are too rare to be judged."""
    probably_wrong: int
    suspects: tuple[SuspectRow, ...]
    """The most certain errors first."""

    def parts(self) -> list[str | Table]:
        return self.parts_with(0)

    def parts_with(self, n_rows: int) -> list[str | Table]:
        """As `parts`, with the first ``n_rows`` suspects."""
        parts: list[str | Table] = [f"labels judged {self.judged}"]
        if self.not_judged:
            parts.append(f"  {self.not_judged:,} rows have labels too rare to be judged")
        shown = f", the first {n_rows}" if 0 < n_rows < self.probably_wrong else ""
        parts.append(f"labels that are probably wrong: {self.probably_wrong:,}{shown}")
        for row in self.suspects[:n_rows]:
            sure = "" if row.probability is None else f" ({short_figure(row.probability)})"
            parts.append(f"  {place_text(row.line, row.id)}: {row.given} -> {row.likely}{sure}")
            parts.append(f"    {row.text}")
        return parts


def wrong_labels(
    file: Source,
    run: str | Path,
    columns: Columns,
    *,
    folds: int,
    reporter: Reporter,
) -> LabelErrors:
    """The rows of a labelled file whose labels are probably wrong, the most certain first, by
    confident learning (Northcutt et al. 2021).

    The probabilities must come from a model that was not trained on these rows. If the run was not,
    it judges them. Otherwise its recipe is cross-validated: it is trained once per fold, on all
    other rows.
    """
    if folds < 2:
        raise UsageError(f"--folds must be 2 or more, not {folds}")
    predictor = load(run)
    rows = labelled_rows(predictor, file, columns, reporter.say)
    record = predictor.record
    how, share = _share_seen(record, rows)
    if share <= MAX_SHARE_LEARNED:
        task = predictor.task
        judged = by_itself(predictor, rows)
        how = f"by the run itself: {how}"
    else:
        assert record is not None, "without a record the share is 0"
        recipe = Recipe.from_json(record.recipe or {})
        task, judged = _by_recipe(predictor, rows, recipe, folds, reporter)
        how = f"by {folds}-fold cross-validation with the run's recipe: {how}"
    reporter.say(f"labels are judged {how}")
    judge = task.label_judge()
    for model, numbers, chunk in judged:
        judge.see(model.task, numbers, model.run_rows(chunk))
    suspects = sorted(judge.suspects(), key=lambda suspect: suspect.margin)
    return LabelErrors(
        judged=how,
        rows=len(rows),
        not_judged=judge.unjudged,
        probably_wrong=len(suspects),
        suspects=_suspect_rows(suspects, rows),
    )


def _share_seen(record: ModelRecord | None, rows: Rows) -> tuple[str, float]:
    """The share of these rows whose texts the run was trained on, in words and as a number."""
    if record is None or record.recipe is None:
        return "its training data and its recipe are not known", 0.0
    if record.seen is None:
        return "its training data is not known", 1.0
    share = Sketch.from_text(record.seen).share_of(rows.kind.texts(row) for row in rows)
    if share is None:
        return "there are too few rows to tell whether it has seen them", 0.0
    part = {0.0: "none", 1.0: "all"}.get(share, f"about {share:.0%}")
    return f"it has seen {part} of the rows", share


def _by_recipe(
    predictor: Predictor, rows: Rows, recipe: Recipe, folds: int, reporter: Reporter
) -> tuple[AnyTask, Iterator[JudgedRows]]:
    task = type(predictor.task).fit(rows, predictor.tokenizer, recipe, DEFAULT_POSITIONS)
    judged = cross_validated(rows, recipe, folds, reporter, multi_label=task.several_labels)
    return task, judged


def _suspect_rows(suspects: list[Suspect], rows: Rows) -> tuple[SuspectRow, ...]:
    """The suspects with place, text and labels. Reads the file once more."""
    by_number = {suspect.number: suspect for suspect in suspects}
    found = {
        number: _suspect_row(by_number[number], row, rows)
        for number, row in enumerate(rows)
        if number in by_number
    }
    return tuple(found[suspect.number] for suspect in suspects)


def _suspect_row(suspect: Suspect, row: Any, rows: Rows) -> SuspectRow:
    text, given, likely = " | ".join(rows.kind.texts(row)), rows.kind.gold_text(row), suspect.likely
    if suspect.corrections:
        parts = [(text[a:b], one, other) for a, b, one, other in suspect.corrections]
        given = in_words(f"{words} [{one}]" for words, one, _ in parts)
        likely = in_words(f"{words} [{other}]" for words, _, other in parts)
    return SuspectRow(
        **where(row.place),
        text=clipped(text),
        given=clipped(given),
        likely=clipped(likely),
        probability=suspect.probability,
        given_probability=suspect.given_probability,
        margin=suspect.margin,
    )
