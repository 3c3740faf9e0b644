"""Trains a recipe with several seeds and keeps the best run.

The runs are in a hidden folder next to the directory that the best of them gets. A finished seed is
not trained again, so a command that was stopped resumes at the seed where it stopped.
"""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

from onelayer.base.disk import as_json, rewrite
from onelayer.base.errors import Place, UsageError
from onelayer.base.model_files import read_json
from onelayer.checkpoint.record import TIMING_FILE, ModelRecord, SeedScores
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor, is_run
from onelayer.recipe import Recipe
from onelayer.training.plan import Plan
from onelayer.training.progress import Reporter
from onelayer.training.resume import RUNS, is_unfinished, open_store, run_name
from onelayer.training.trainer import draw_report, train_and_load


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run, and its score on held-out rows."""

    seed: int
    folder: Path
    score: float
    recipe: Mapping[str, Any]
    """Complete, with the values that were chosen when the run started."""

    @classmethod
    def read(cls, folder: Path, seed: int, metric: str) -> Outcome:
        record = ModelRecord.from_json(read_json(folder / "onelayer.json"))
        assert record.dev is not None, "a finished run has scores"
        return cls(seed, folder, record.dev.scores[metric], record.recipe or {})


def best_of_seeds(
    plan: Plan, out: str | Path | None, resume: bool | None, reporter: Reporter
) -> Predictor:
    """Trains all seeds, moves the best run to ``out`` and removes the others.

    Raises UsageError where no row can be held out to score a model.
    """
    if plan.data.is_folded and not plan.data.n_folds:
        hint = "leave --seeds out, add rows, or give a --dev file"
        raise UsageError(
            "--seeds needs a score to choose by, and no row can be held out", hint=hint
        )
    target = _reserve(plan, out, resume)
    try:
        outcomes = _train_seeds(plan, target, reporter)
    except BaseException:
        _release(target)
        raise
    scores = [outcome.score for outcome in outcomes]
    mean, deviation = statistics.fmean(scores), statistics.stdev(scores)
    # Of equal scores the first wins. One that isn't finite (a constant prediction has no
    # correlation) is the lowest.
    best = max(outcomes, key=lambda one: one.score if math.isfinite(one.score) else -math.inf)
    metric = plan.task.metric
    remark = (
        f"{metric} {mean:.3g} ± {deviation:.2g} over {len(outcomes)} seeds; kept seed {best.seed}, "
        "whose own score is the best of them: expect the mean"
    )
    reporter.say(remark)

    path = best.folder / "onelayer.json"
    record = ModelRecord.from_json(read_json(path))
    seeds = SeedScores(
        metric=metric,
        kept=best.seed,
        scores={str(outcome.seed): outcome.score for outcome in outcomes},
        mean=mean,
        deviation=deviation,
    )
    # A command that was killed after this has written the remark already.
    choices = [choice for choice in record.choices or () if choice != remark]
    record = replace(record, choices=(*choices, remark), seeds=seeds)
    rewrite(path, as_json(record.to_json()))
    draw_report(load(best.folder), plan, reporter)
    best.folder.replace(target)
    shutil.rmtree(seeds_folder(target))
    return load(target)


def _train_seeds(plan: Plan, target: Path, reporter: Reporter) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for seed in range(plan.recipe.seed, plan.recipe.seed + plan.recipe.seeds):
        # Each run's directory has the target's name, because its model card has it as a title.
        folder = seeds_folder(target) / f"seed-{seed}" / target.name
        # The first run chooses what the user left open; the others have to use the same values.
        chosen = Recipe.from_json(outcomes[0].recipe) if outcomes else plan.recipe
        if not _is_finished(folder):
            if not is_unfinished(folder):
                shutil.rmtree(folder, ignore_errors=True)  # stopped before its first state
            one = plan.with_recipe(replace(chosen, seed=seed, seeds=1))
            with open_store(plan.files.train, folder, one.identity, None, reporter.say) as store:
                train_and_load(one, store, reporter)
                store.clear()
        outcomes.append(Outcome.read(folder, seed, plan.task.metric))
    return outcomes


def seeds_folder(target: Path) -> Path:
    """Where the runs of the seeds are until the best is chosen."""
    return target.with_name(f".{target.name}.seeds")


def _is_finished(folder: Path) -> bool:
    return (folder / TIMING_FILE).is_file()  # written last


def _reserve(plan: Plan, out: str | Path | None, resume: bool | None) -> Path:
    """Makes the directory of the best run, and the folder of the seeds.

    Raises UsageError if that folder holds runs of another command, or if there are none and
    ``resume`` is True.
    """
    target = Path(out) if out is not None else _default_target(plan, resume)
    folder = seeds_folder(target)
    if resume is False:
        shutil.rmtree(folder, ignore_errors=True)
    elif _has_runs(folder) and _identity(folder) != plan.identity:
        hint = "--no-resume removes them and starts again; or choose another --out"
        raise UsageError("holds unfinished runs of another command", place=Place(folder), hint=hint)
    elif resume and not folder.exists():
        raise UsageError("no unfinished runs of this command to resume", place=Place(target))
    folder.mkdir(parents=True, exist_ok=True)
    target.mkdir(exist_ok=True)  # so that no other run takes the name
    rewrite(folder / "identity", plan.identity)
    return target


def _release(target: Path) -> None:
    """Removes what `_reserve` made, unless a run has left something there."""
    if not _has_runs(seeds_folder(target)):
        shutil.rmtree(seeds_folder(target))
        target.rmdir()


def _default_target(plan: Plan, resume: bool | None) -> Path:
    stem = run_name(plan.files.train)
    for folder in RUNS.glob(f".{stem}-*.seeds") if resume is not False else ():
        target = folder.with_name(folder.name[1:].removesuffix(".seeds"))
        if _identity(folder) != plan.identity:
            continue
        if not is_run(target):
            return target
        shutil.rmtree(folder)  # the best run was moved, and the process was killed before this
    return next(place for n in count(1) if not (place := RUNS / f"{stem}-{n}").exists())


def _has_runs(folder: Path) -> bool:
    return folder.is_dir() and any(path.is_dir() for path in folder.iterdir())


def _identity(folder: Path) -> str | None:
    mark = folder / "identity"
    return mark.read_text(encoding="utf-8") if mark.exists() else None
