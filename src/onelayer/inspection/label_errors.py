"""Which labels of a file are probably wrong."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelayer.base.errors import UsageError
from onelayer.base.result import Result, Table, place_text, short_figure
from onelayer.base.wording import clipped, in_words, where
from onelayer.checkpoint.record import ModelRecord
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

LEARNED = 0.05
"""A run that has seen more of the rows than this can't judge their labels by itself."""
POSITIONS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class SuspectRow:
    """A row whose label is probably wrong, with the beginning of its text."""

    line: int | None = None
    id: int | str | None = None
    """Where lines say nothing."""
    text: str
    given: str
    likely: str
    probability: float | None
    """Of the likely label."""
    given_probability: float | None
    margin: float
    """The smaller, the surer."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class LabelErrors(Result):
    """The rows of a file whose labels are probably wrong."""

    judged: str
    """By what."""
    rows: int
    not_judged: int
    """Rows whose labels are too rare."""
    probably_wrong: int
    suspects: tuple[SuspectRow, ...]
    """The surest first."""

    def parts(self) -> list[str | Table]:
        return self.parts_with(0)

    def parts_with(self, n_rows: int) -> list[str | Table]:
        """With the first suspects."""
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
    file: str | Path,
    run: str | Path,
    columns: Columns,
    *,
    folds: int,
    reporter: Reporter,
) -> LabelErrors:
    """The rows of a labelled file whose labels are probably wrong, the surest first, by confident
    learning from the probabilities of models that did not learn from them.

    A run that has seen none of the rows judges them by itself. Otherwise its recipe is trained once
    a fold on all other rows, which takes about as long as training so many times.
    """
    if folds < 2:
        raise UsageError(f"--folds {folds}: two or more are needed")
    predictor = load(run)
    rows = labelled_rows(predictor, file, columns, reporter.say)
    record = predictor.record
    how, share = _seen(record, rows)
    if share <= LEARNED:
        task = predictor.task
        judged = by_itself(predictor, rows)
        how = f"by the run itself: {how}"
    else:
        assert record is not None, "otherwise it has seen nothing that is known"
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
        suspects=_listed(suspects, rows),
    )


def _seen(record: ModelRecord | None, rows: Rows) -> tuple[str, float]:
    """Of which share of these rows a run has seen the texts: in words, and in numbers."""
    if record is None or record.recipe is None:
        return "what it learned from is not known, nor its recipe", 0.0
    if record.seen is None:
        return "what it learned from is not known", 1.0
    share = Sketch.from_text(record.seen).share_of(rows.kind.texts(row) for row in rows)
    if share is None:
        return "the rows are too few to tell whether it has seen them", 0.0
    part = {0.0: "none", 1.0: "all"}.get(share, f"about {share:.0%}")
    return f"it has seen {part} of the rows", share


def _by_recipe(
    predictor: Predictor, rows: Rows, recipe: Recipe, folds: int, reporter: Reporter
) -> tuple[AnyTask, Iterator[JudgedRows]]:
    task = type(predictor.task).fit(rows, predictor.tokenizer, recipe, POSITIONS)
    judged = cross_validated(rows, recipe, folds, reporter, multi_label=task.several_labels)
    return task, judged


def _listed(suspects: list[Suspect], rows: Rows) -> tuple[SuspectRow, ...]:
    """The suspects with place, text and labels, for which the file is read once more."""
    by_number = {suspect.number: suspect for suspect in suspects}
    found = {
        number: _entry(by_number[number], row, rows)
        for number, row in enumerate(rows)
        if number in by_number
    }
    return tuple(found[suspect.number] for suspect in suspects)


def _entry(suspect: Suspect, row: Any, rows: Rows) -> SuspectRow:
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
