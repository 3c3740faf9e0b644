"""Fine-tunes a model: from a labelled file to a run directory, in one call."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor, is_run
from onelayer.recipe import Recipe
from onelayer.training.plan import make_plan
from onelayer.training.progress import Reporter, Silent
from onelayer.training.resume import is_unfinished, open_store, refuse_taken
from onelayer.training.search import best_of_seeds
from onelayer.training.trainer import draw_report, train_and_load


def finetune(
    train_file: str | Path,
    *,
    dev: str | Path | None = None,
    out: str | Path | None = None,
    recipe: Recipe | None = None,
    resume: bool | None = None,
    reporter: Reporter | None = None,
    **choices: Any,
) -> Predictor:
    """Fine-tunes a pretrained BERT on a labelled file and returns the best model, saved.

    Parameters
    ----------
    train_file
        csv, tsv, jsonl, parquet, CoNLL, CoNLL-U or SQuAD JSON.
    dev
        A labelled file that chooses the best checkpoint; by default a tenth of the rows.
    out
        The directory of the run. It has to be new or empty; by default a new one in `runs/`.
    resume
        Whether to resume an unfinished run of the same data, recipe and model. By default it is
        resumed if there is one; True raises UsageError if there is none; False starts a new run.
    recipe, choices
        A `Recipe`, or its fields as keyword arguments.

    Raises DataError, UsageError and CheckpointError, before anything is written.
    """
    recipe, reporter = replace(recipe or Recipe(), **choices), reporter or Silent()
    if out is not None and not is_unfinished(Path(out)):
        if resume and is_run(out):
            reporter.say(f"{out} is finished: there is nothing left to do")
            return load(out)
        refuse_taken(Path(out))
    plan = make_plan(train_file, dev, recipe, reporter)
    if recipe.seeds > 1:
        return best_of_seeds(plan, out, resume, reporter)
    with open_store(train_file, out, plan.identity, resume, reporter.say) as store:
        predictor = train_and_load(plan, store, reporter)
        draw_report(predictor, plan, reporter)
        store.clear()  # after the report: if that is interrupted, the same command draws it
    return predictor
