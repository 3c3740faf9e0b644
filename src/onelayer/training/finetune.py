"""Fine-tuning: from a labelled file to a run directory, in one call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onelayer.data.in_memory import Source, TableLike, source_of, split_called
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor, is_run
from onelayer.recipe import Recipe
from onelayer.training.followers import follow
from onelayer.training.lessons import Lessons
from onelayer.training.notebook import default_reporter
from onelayer.training.plan import Plan, make_plan
from onelayer.training.progress import Reporter, Silent
from onelayer.training.ranks import ALONE, Finished, Planned, Ranks, joined_ranks
from onelayer.training.resume import is_unfinished, open_store, refuse_taken
from onelayer.training.search import best_of_seeds
from onelayer.training.trainer import draw_report, train_and_load


def finetune(
    train_file: str | Path | TableLike,
    *,
    dev: str | Path | TableLike | None = None,
    describe: str | Path | TableLike | None = None,
    out: str | Path | None = None,
    recipe: Recipe | None = None,
    resume: bool | None = None,
    reporter: Reporter | None = None,
    **choices: Any,
) -> Predictor:
    """Fine-tune a pretrained BERT on a labelled file, and save the best model.

    Parameters
    ----------
    train_file
        A labelled file: csv, xlsx, jsonl, Parquet, CoNLL, SQuAD JSON and others. Or labelled rows:
        see `TableLike`. Of a DatasetDict it is the split ``train``.
    dev
        Labelled rows to choose the best checkpoint by; by default the split ``validation`` of a
        DatasetDict, else a tenth of the training rows. Below 500 rows none is kept for it: they are
        cross-validated, and the model is trained on all of them (``folds`` of `Recipe`).
    describe
        What the labels mean: rows of a label and a text each, which are learned like rows.
    out
        The run's directory, new or empty; by default a new one in ``runs/``.
    recipe
        The training options; by default those of `Recipe`.
    resume
        True: resume an unfinished run of the same data, recipe and model, or fail. False: start
        again. By default resume if there is such a run.
    reporter
        Receives progress and remarks; by default a bar in a notebook, and nobody elsewhere.
    choices
        Fields of `Recipe`, which override those of ``recipe``.

    Returns
    -------
    Predictor
        The best model, loaded from the run's directory.

    Raises
    ------
    DataError
        For a file or a row that can't be used.
    UsageError
        For options that don't fit the data or the model, and a directory that is in use.
    CheckpointError
        For a pretrained model that can't be read.
    OneLayerError
        If the run can't be written.
    """
    recipe = replace(recipe or Recipe(), **choices)
    with joined_ranks() as ranks:
        asked = _Asked(train_file, dev, describe, recipe)
        if ranks.follows:
            return load(follow(ranks, lambda: asked.plan(Silent())))
        path: Path | None = None
        try:
            predictor = _train(ranks, asked, out, resume, reporter or default_reporter())
            path = predictor.path
            return predictor
        finally:
            ranks.send(Finished(path))


def learn_lessons(
    lessons: Lessons,
    train_file: Source,
    *,
    dev: Source | None,
    out: Path,
    recipe: Recipe,
    reporter: Reporter,
) -> Predictor:
    """Trains a model on what another one says, as `finetune` trains it on labels: it is saved in
    the same way, and the same call resumes it. An unfinished run of another call is replaced.

    Parameters
    ----------
    lessons
        What is learned, for the tokenizer of ``recipe.model``.
    train_file, dev
        Labelled rows; those of ``dev`` choose the best checkpoint. Without a ``dev`` a part of the
        training rows does, which the lessons must leave out.
    out
        The run's directory.
    recipe
        With ``model``, ``epochs``, ``lr``, ``batch_size`` and ``practice``.
    reporter
        Receives progress and remarks.
    """
    asked = _Asked(train_file, dev, None, recipe, lessons)
    return _train(ALONE, asked, out, None, reporter, replaces=True)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is to be trained on what."""

    train_file: str | Path | TableLike
    dev: str | Path | TableLike | None
    describe: str | Path | TableLike | None
    recipe: Recipe
    lessons: Lessons | None = None

    def plan(self, reporter: Reporter) -> Plan:
        train_file, dev = _sources(self.train_file, self.dev, reporter)
        described = self.describe
        described = None if described is None else source_of(described, splits=("train",))
        return make_plan(
            train_file, dev, self.recipe, reporter, described=described, lessons=self.lessons
        )


def _train(
    ranks: Ranks,
    asked: _Asked,
    out: str | Path | None,
    resume: bool | None,
    reporter: Reporter,
    *,
    replaces: bool = False,
) -> Predictor:
    if out is not None and not is_unfinished(Path(out)):
        if resume and is_run(out):
            reporter.say(f"{out} is finished: there is nothing left to do")
            return load(out)
        refuse_taken(Path(out))
    plan = asked.plan(reporter)
    ranks.send(Planned(plan.identity))
    if ranks.leads:
        reporter.say(_on_processes(plan, ranks))
    if asked.recipe.seeds > 1:
        return best_of_seeds(plan, out, resume, reporter)
    with open_store(
        plan.files.train, out, plan.identity, resume, reporter.say, replaces=replaces
    ) as store:
        predictor = train_and_load(plan, store, reporter)
        draw_report(predictor, plan, reporter)
        store.clear()  # after the report: if that is interrupted, the same command draws it
    return predictor


def _on_processes(plan: Plan, ranks: Ranks) -> str:
    if plan.data.is_folded:
        return (
            f"{plan.data.encodings.n_examples:,} rows are trained by one process, and the other "
            f"{ranks.count - 1} wait: several are not faster with few rows"
        )
    return f"{ranks.count} processes train together: each computes its share of every batch"


def _sources(train: Any, dev: Any, reporter: Reporter) -> tuple[Source, Source | None]:
    """The training rows and the dev rows. A DatasetDict has both."""
    if dev is None and not isinstance(train, (str, Path)):
        dev = split_called("validation", train)
        if dev is not None:
            reporter.say("dev = the split validation")
    rows = source_of(train, splits=("train",))
    return rows, None if dev is None else source_of(dev, splits=("validation",))
