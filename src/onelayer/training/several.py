"""Several seeds of a recipe; the best run is kept."""

from __future__ import annotations

import math
import shutil
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from onelayer.base.disk import as_json, rewrite
from onelayer.base.errors import Place, UsageError
from onelayer.base.model_files import read_json
from onelayer.checkpoint.record import ModelRecord, SeedScores
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Recipe
from onelayer.tasks import AnyTask
from onelayer.training.resume import is_unfinished, stem_of

Train = Callable[[Recipe, Path], Predictor]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A finished run, and its score on dev."""

    seed: int
    folder: Path
    task: AnyTask
    score: float
    settled: Mapping[str, Any]
    """Its recipe, with what was chosen when it began."""


@dataclass(frozen=True, slots=True)
class Outcomes:
    """One recipe's runs, a seed each."""

    runs: list[Outcome]

    @property
    def metric(self) -> str:
        return self.runs[0].task.metric

    @property
    def mean(self) -> float:
        return statistics.fmean(run.score for run in self.runs)

    @property
    def deviation(self) -> float:
        return statistics.stdev(run.score for run in self.runs) if len(self.runs) > 1 else 0.0

    @property
    def best(self) -> Outcome:
        """Of equal scores the first."""
        return max(self.runs, key=lambda run: -math.inf if math.isnan(run.score) else run.score)

    def __str__(self) -> str:
        return f"{self.mean:.3g} ± {self.deviation:.2g}"

    @property
    def scores(self) -> dict[str, float]:
        """By seed."""
        return {str(run.seed): run.score for run in self.runs}


@dataclass(slots=True)
class Several:
    """Runs of one command, in a hidden folder beside the place where the best of them will be.

    What is finished there is not trained again: a command that was stopped goes on.
    """

    train: Train
    target: Path
    say: Callable[[str], None]
    show: Callable[[Predictor], None]
    """Draws what is to be seen of the best run."""
    said: list[str] = field(default_factory=list)

    def run(self, recipe: Recipe) -> Predictor:
        """Trains all, moves the best to the target and removes the others."""
        outcomes = self._seeds(recipe)
        best = outcomes.best
        self._say(
            f"{outcomes.metric} {outcomes} over {len(outcomes.runs)} seeds; kept seed {best.seed}"
        )
        seeds = SeedScores(
            metric=outcomes.metric,
            kept=best.seed,
            scores=outcomes.scores,
            mean=outcomes.mean,
            deviation=outcomes.deviation,
        )
        path = best.folder / "onelayer.json"
        record = ModelRecord.from_json(read_json(path))
        choices = (*(record.choices or ()), *self.said)
        rewrite(path, as_json(replace(record, choices=choices, seeds=seeds).to_json()))
        self.show(load(best.folder))
        best.folder.replace(self.target)
        shutil.rmtree(hidden(self.target))
        return load(self.target)

    def _seeds(self, recipe: Recipe) -> Outcomes:
        runs: list[Outcome] = []
        for seed in range(recipe.seed, recipe.seed + recipe.seeds):
            # The target's own name, by which a run calls itself in its model card.
            folder = hidden(self.target) / f"seed-{seed}" / self.target.name
            if not is_finished(folder):
                if not is_unfinished(folder):
                    shutil.rmtree(folder, ignore_errors=True)  # stopped before its first state
                self.train(replace(recipe, seed=seed, seeds=1), folder)
            runs.append(_outcome(folder, seed))
            # What was measured or derived for the first run holds for all.
            settled = {name: runs[0].settled[name] for name in ("epochs", "lr", "precision")}
            recipe = replace(recipe, **settled)
        return Outcomes(runs)

    def _say(self, remark: str) -> None:
        self.said.append(remark)
        self.say(remark)


def hidden(target: Path) -> Path:
    """Where the runs lie until the best is chosen."""
    return target.with_name(f".{target.name}.seeds")


def is_finished(folder: Path) -> bool:
    return (folder / "timing.json").is_file()  # written last


def open_several(
    train_file: str | Path, out: str | Path | None, identity: str, resume: bool | None
) -> Path:
    """Where the best run will be; unfinished runs beside it are the same command's.

    Raises UsageError where others are there, or none although ``resume`` insists.
    """
    target = Path(out) if out is not None else _by_itself(Path(train_file), identity, resume)
    folder = hidden(target)
    if resume is False:
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.exists() and _identity(folder) != identity:
        hint = "--no-resume removes them and begins anew; or choose another --out"
        raise UsageError("holds unfinished runs of another command", place=Place(folder), hint=hint)
    elif resume and not folder.exists():
        raise UsageError("no unfinished runs of this command to resume", place=Place(target))
    folder.mkdir(parents=True, exist_ok=True)
    target.mkdir(exist_ok=True)  # so that no other run takes the name
    (folder / "identity").write_text(identity, encoding="utf-8")
    return target


def close_several(target: Path) -> None:
    """Removes what `open_several` made, if no run has left anything there."""
    if not any(path.is_dir() for path in hidden(target).iterdir()):
        shutil.rmtree(hidden(target))
        target.rmdir()


def _by_itself(train_file: Path, identity: str, resume: bool | None) -> Path:
    runs, stem = Path("runs"), stem_of(train_file)
    for folder in runs.glob(f".{stem}-*.seeds") if resume is not False else ():
        if _identity(folder) == identity:
            return folder.with_name(folder.name[1:].removesuffix(".seeds"))
    return next(place for n in count(1) if not (place := runs / f"{stem}-{n}").exists())


def _identity(folder: Path) -> str | None:
    mark = folder / "identity"
    return mark.read_text(encoding="utf-8") if mark.exists() else None


def _outcome(folder: Path, seed: int) -> Outcome:
    record = ModelRecord.from_json(read_json(folder / "onelayer.json"))
    assert record.dev is not None, "a finished run has scores"
    score = record.dev.scores[record.task.metric]
    return Outcome(seed, folder, record.task, score, record.recipe or {})
