"""Trains the models of a learning curve, and scores each on rows that it was not trained on."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onelayer.base.errors import DataError, Place
from onelayer.base.wording import silent
from onelayer.inspection.curve_parts import (
    FEWEST_PARTS,
    fewest_rows,
    n_classes_of,
    nested_order,
    part_sizes,
)
from onelayer.metrics import Scorer
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings, Ints
from onelayer.training.fit import held_out_logits
from onelayer.training.folds import folds_for
from onelayer.training.history import RunProgress
from onelayer.training.plan import Plan
from onelayer.training.progress import Reporter
from onelayer.training.schedule import steps_of

MOST_WORK = 5.0
"""How many runs of ``train`` a curve may cost before it holds out fewer of the folds."""
FEWEST_FOLDS = 2
"""Folds that are held out in any case. One alone doesn't tell how far models differ by chance."""


@dataclass(frozen=True, slots=True)
class CurveModel:
    """One model of the curve."""

    draw: int
    fold: int
    size: int
    """The number of rows that it is trained on."""
    learned: Ints
    """Their numbers."""
    plan: Plan
    """With the recipe that ``train`` would choose for a file of these rows."""

    @property
    def steps(self) -> int:
        n_examples = self.plan.data.encodings.of_rows(self.learned).n_examples
        return steps_of(self.plan.recipe, n_examples)


@dataclass(frozen=True, slots=True)
class CurveRuns:
    """All models of a curve, in the order of their training."""

    plan: Plan
    """For all rows, in folds."""
    sizes: list[int]
    folds: list[int]
    """Those that are held out."""
    models: list[CurveModel]
    work: float
    """Steps of all models, divided by those of ``train`` on all rows."""

    @classmethod
    def of(cls, plan: Plan) -> CurveRuns:
        """What is trained, by the plan of a file in folds. Raises DataError for too few rows."""
        data, kind = plan.data, type(plan.task)
        n, n_classes = len(data.rows), n_classes_of(type(plan.task), data.rows)
        n_folds = data.n_folds
        learned = [np.flatnonzero(data.folds != fold) for fold in range(n_folds)]
        sizes = part_sizes(n, min(map(len, learned), default=0), n_classes)
        if len(sizes) < FEWEST_PARTS:
            classes = f" of {n_classes:,} classes" if n_classes else ""
            hint = f"label {fewest_rows(n_classes):,} rows or more"
            what = f"{n:,} rows{classes} are too few for a learning curve"
            raise DataError(what, place=Place(plan.files.train_name), hint=hint)
        # Precision is measured once; what depends on the rows is chosen for each model.
        precision = plan.completed(silent).recipe.precision
        open_plan = plan.with_recipe(replace(plan.recipe, precision=precision))

        def models_of(fold: int, draw: int) -> Iterator[CurveModel]:
            seed = plan.recipe.seed + draw
            rng = np.random.default_rng((seed, fold, 0xC0))
            order = nested_order(kind, data.rows, learned[fold], rng)
            for size in sizes:
                part = np.sort(order[:size])
                chosen = open_plan.on_rows(part).completed(silent).recipe
                recipe = replace(chosen, seed=seed, seeds=1)
                yield CurveModel(draw, fold, size, part, plan.with_recipe(recipe))

        draws = plan.recipe.seeds
        models = [
            model
            for draw in range(draws)
            for fold in range(n_folds)
            for model in models_of(fold, draw)
        ]
        # Below some number of rows, train cross-validates them, too.
        n_trained = 1 + folds_for(n, plan.recipe.folds)
        of_train = n_trained * steps_of(
            open_plan.completed(silent).recipe, data.encodings.n_examples
        )
        of_fold = sum(model.steps for model in models) / n_folds
        if plan.recipe.folds is None:
            n_folds = min(n_folds, max(FEWEST_FOLDS, int(MOST_WORK * of_train / of_fold)))
        models = [model for model in models if model.fold < n_folds]
        work = sum(model.steps for model in models) / of_train
        return cls(plan, sizes, list(range(n_folds)), models, work)

    @property
    def scored(self) -> Ints:
        """The numbers of the rows that are held out, fold after fold."""
        return np.concatenate([self.held_out(fold) for fold in self.folds])

    @property
    def fold_of_scored(self) -> Ints:
        """The fold of each of ``scored``."""
        return self.plan.data.folds[self.scored]

    def held_out(self, fold: int) -> Ints:
        return np.flatnonzero(self.plan.data.folds == fold)

    def train(self, reporter: Reporter) -> list[list[Scorer]]:
        """Trains all models. Returns the scores of ``scored`` for each size, by draw. Nothing is
        written. Raises DivergedError."""
        progress = _CurveProgress(reporter, sum(model.steps for model in self.models))
        first_chain, started = len(self.sizes), time.monotonic()
        logits: dict[tuple[int, int, int], Logits] = {}
        try:
            for i, model in enumerate(self.models, start=1):
                held_out = self.held_out(model.fold)
                found = held_out_logits(model.plan, model.learned, held_out, progress)
                logits[model.draw, model.size, model.fold] = found
                progress.add_model(model.steps)
                if i == first_chain:
                    seconds = (time.monotonic() - started) * (1 / progress.share - 1)
                    reporter.say(
                        f"{i} of {len(self.models)} models: about {_duration(seconds)} more"
                    )
        finally:
            reporter.finish()
        chunks = [self._held_out_rows(fold) for fold in self.folds]
        draws, sizes = range(self.plan.recipe.seeds), self.sizes
        return [
            [
                self._scorer(chunks, [logits[draw, size, fold] for fold in self.folds])
                for size in sizes
            ]
            for draw in draws
        ]

    def _held_out_rows(self, fold: int) -> tuple[Sequence[Any], Encodings]:
        numbers = self.held_out(fold)
        return self.plan.data.on_rows(numbers).rows, self.plan.scored_encodings.of_rows(numbers)

    def _scorer(
        self, encoded: Sequence[tuple[Sequence[Any], Encodings]], by_fold: Sequence[Logits]
    ) -> Scorer:
        """The scores of all held-out rows, each by the model of its fold, with the decoding tuned
        on them as ``train`` does."""
        chunks = [(*part, logits) for part, logits in zip(encoded, by_fold, strict=True)]
        rows = [row for part in encoded for row in part[0]]
        return self.plan.task.without_unit().tune(rows, iter(chunks))[1]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} minutes"


class _CurveProgress:
    """Passes on the progress of all models as that of one, and none of their remarks."""

    def __init__(self, reporter: Reporter, total: int) -> None:
        self.reporter, self.total = reporter, total
        self.done = 0
        """The steps of the finished models."""
        self.started = False

    @property
    def share(self) -> float:
        return self.done / self.total

    def add_model(self, steps: int) -> None:
        self.done += steps

    def start(self, total_steps: int, part: str) -> None:
        if not self.started:
            self.started = True
            self.reporter.start(self.total, part)

    def step(self, progress: RunProgress) -> None:
        at = min(self.done + progress.step, self.total)  # a stuck model is trained again
        self.reporter.step(replace(progress, step=at))

    def prepare(self, what: str, rows: int, total: int | None) -> None: ...
    def say(self, remark: str) -> None: ...
    def evaluated(
        self, epoch: float, scores: dict[str, float], metric: str, best: bool
    ) -> None: ...
    def finish(self) -> None: ...
