"""The trainer: fine-tunes a model by a plan and keeps the best state."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import replace

import numpy as np
import torch

from onelayer.base.errors import OneLayerError, Place
from onelayer.evaluation.report.write_report import NAME, write_report
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.tasks.logits import Logits
from onelayer.training.fit import DivergedError, Fit
from onelayer.training.history import History
from onelayer.training.kept_memory import kept_memory
from onelayer.training.out_of_fold import OutOfFold
from onelayer.training.plan import Plan
from onelayer.training.precision import remarks_on_device
from onelayer.training.prior import SEED_STEP
from onelayer.training.progress import Reporter
from onelayer.training.ranks import current_ranks
from onelayer.training.remarks import (
    Remarks,
    remarks_on_held_out,
    remarks_on_model,
    remarks_on_rows,
)
from onelayer.training.run_record import HeldOutResult, remarks_on_scores
from onelayer.training.run_store import (
    RunState,
    SavedState,
    Store,
    environment_changes,
    fold_tensor,
)
from onelayer.training.signals import DeferredSignals, WorkInterrupted

MAX_EVALUATIONS = 10
"""Evaluations of a run, at most, evenly over its steps. With more, runs of many short epochs would
spend more time on scores than on steps, and choose by more chances of luck."""


class Trainer:
    """One run, from the first step to the last: its models, when they are scored, what is kept.

    With a dev set there is one model: it is scored several times, and the best state is kept. With
    folds there is a model for each, trained on the other folds. Then one is trained on all rows,
    and its last state is kept, with the scores of the others.
    """

    def __init__(self, plan: Plan, store: Store, reporter: Reporter) -> None:
        """Builds the model, and restores the state that the store found, if any."""
        saved = store.resumed
        self.store = store
        self.reporter = reporter
        self.remarks = Remarks(reporter, plan.remarks)
        self.plan = (
            replace(plan, recipe=saved.recipe) if saved else plan.completed(self.remarks.say)
        )
        recipe, self.task = self.plan.recipe, self.plan.task
        self.remarks.say(self.task.summary)
        self.remarks.say_all(remarks_on_rows(self.plan.data.encodings))
        self.by_fold: list[Logits] = [] if saved is None else saved.logits_by_fold()
        """The logits of the rows of each finished fold."""
        self.is_kept = saved is not None and saved.history.best_step > 0
        """Whether the model of all rows is saved. It may have no steps."""
        self.fit = self._new_fit(saved.history.attempt if saved else 0)
        self.remarks.say_all(remarks_on_model(self.fit.built, self.fit.enlarged))
        assert recipe.precision is not None, "a completed plan has no open choices"
        self.remarks.say_all(remarks_on_device(self.plan.config, recipe.precision))
        if saved is not None:
            self._resume(saved)

    @property
    def history(self) -> History:
        return self.fit.history

    @property
    def fold(self) -> int | None:
        """The fold that the current model is not trained on; None if it is trained on all rows."""
        finished = len(self.by_fold)
        return finished if finished < self.plan.data.n_folds else None

    @property
    def part(self) -> str:
        """What is being trained, in words; empty if there are no folds."""
        n_folds = self.plan.data.n_folds
        if not n_folds:
            return ""
        return "all rows" if self.fold is None else f"fold {self.fold + 1} of {n_folds}"

    def _new_fit(self, attempt: int = 0) -> Fit:
        if not self.plan.data.is_folded:
            return Fit(self.plan, attempt, current_ranks())
        # So few rows are trained by one process: their steps are shorter than messages about them.
        if self.fold is None:
            return Fit(self.plan, attempt)
        learned = np.flatnonzero(self.plan.data.folds != self.fold)
        return Fit(self.plan.on_rows(learned), attempt)

    def _start(self, attempt: int = 0) -> None:
        """Makes the next model, or the current one again with another seed."""
        del self.fit  # two models may not fit into memory
        self.fit = self._new_fit(attempt)
        self.reporter.start(self.fit.total_steps, self.part)

    # The loop ----------------------------------------------------------------------------------

    def train(self) -> None:
        """Trains to the end; then the store has the model to keep.

        On SIGINT or SIGTERM the current step is finished, but an evaluation is interrupted, because
        it can be repeated. Then the state is saved and the signal takes effect.
        """
        self.reporter.start(self.fit.total_steps, self.part)
        with kept_memory(), DeferredSignals() as signals:
            while signals.received is None and not self.is_finished:
                try:
                    with suppress(WorkInterrupted):
                        self.advance(signals)
                except DivergedError as error:
                    raise self._diverged(error) from error
                if signals.received is not None or self.store.is_state_due():
                    self.save_state(stopping=signals.received is not None)
            if signals.received is None and not self.fit.is_trained:
                n, metric = self.history.since_best, self.task.metric
                self.reporter.say(f"stopped early: no better {metric} in {n} evaluations")
            self.reporter.finish()
        signals.deliver()
        self.store.finish(self.plan.files, self.history, self.remarks.told)
        self._say_finished()

    def advance(self, signals: DeferredSignals) -> None:
        """Makes a step, or what is due after the last one. Raises DivergedError. On a signal while
        rows are scored it raises WorkInterrupted, and nothing has changed."""
        if self.history.stuck:
            self.restart()
        elif self.is_evaluation_due:
            self.evaluate(signals)
        elif not self.fit.is_trained:
            self.reporter.step(self.fit.train_step())
            if self.fit.has_collapsed:
                self.remarks.say(
                    "contrast has told the texts no better apart, so it is left out: training "
                    "goes back to the pretrained weights (--contrast 0 saves its time)"
                )
        elif self.fold is not None:
            self.finish_fold(signals)
        else:
            self.keep_last(signals)

    @property
    def is_finished(self) -> bool:
        """Whether the last state is scored, or early stopping ends the run before it."""
        history, patience = self.history, self.plan.recipe.patience
        if self.plan.data.is_folded:
            return self.fold is None and self.is_kept
        if not history.evaluated or history.stuck:
            return False
        stops_early = patience is not None and history.since_best >= patience
        return self.fit.is_trained or stops_early

    @property
    def is_evaluation_due(self) -> bool:
        """With a dev set, true after the last step, before the first epoch if the layer was fitted
        by then, and at the end of every epoch, or of every tenth of the steps if that is longer."""
        fit, step = self.fit, self.history.step - self.fit.contrast_steps
        if self.plan.data.is_folded or self.history.evaluated:
            return False
        n_steps = fit.total_steps - fit.contrast_steps
        longest = max(MAX_EVALUATIONS * fit.steps_per_epoch, n_steps)
        ends = MAX_EVALUATIONS * step // longest > MAX_EVALUATIONS * (step - 1) // longest
        return fit.is_trained or (step > 0 and ends) or (step == 0 and fit.begins_fitted)

    def evaluate(self, signals: DeferredSignals) -> None:
        """Scores the model on dev, saves it if it is the best so far, and checks whether the run is
        stuck."""
        history, metric = self.history, self.task.metric
        self.fit.check_weights()
        with signals.interruptible():
            result = self.score_dev()
        is_best = history.add_scores(result.scores, metric, is_last=self.fit.is_trained)
        epoch = (history.step - self.fit.contrast_steps) / self.fit.steps_per_epoch
        self.reporter.evaluated(epoch, result.scores, metric, is_best)
        if is_best:
            self._save(result)
        history.stuck = self.fit.is_stuck()

    def finish_fold(self, signals: DeferredSignals) -> None:
        """Keeps the logits of the rows that the model was not trained on, and starts the next one;
        if it is stuck, it is trained again."""
        held_out = self.plan.data.on_rows(np.flatnonzero(self.plan.data.folds == self.fold))
        self.fit.check_weights()
        with signals.interruptible():
            logits = self.fit.logits(held_out.rows, held_out.encodings)
        self.history.stuck = self.fit.is_stuck()
        if not self.history.stuck:
            self.by_fold.append(logits)
            self._start()

    def keep_last(self, signals: DeferredSignals) -> None:
        """Saves the model of all rows with the scores of cross-validation, unless it is stuck."""
        data, history = self.plan.data, self.history
        self.fit.check_weights()
        with signals.interruptible():
            result = self.score_folds()
            self.fit.logits(data.rows, data.encodings)  # are they finite, and not of one class?
        history.stuck = self.fit.is_stuck()
        if not history.stuck:
            history.best_step, self.is_kept = history.step, True
            self.remarks.say_all(remarks_on_scores(result, self.plan))
            self._save(result)

    def _save(self, result: HeldOutResult) -> None:
        told = self.remarks.told
        self.store.save_best(self.plan, self.fit.built, result, self.history, told)

    def score_folds(self) -> HeldOutResult:
        """The scores of cross-validation, with the decoding tuned on all rows that were held
        out."""
        data, task = self.plan.data, self.task.without_unit()
        if not data.n_folds:
            return HeldOutResult(task, {}, None)
        out_of_fold = OutOfFold.of(data, self.by_fold)
        chunk = out_of_fold.chunk(self.plan)
        tuned, scorer = task.tune(chunk[0], [chunk])
        return HeldOutResult(tuned, scorer(), scorer, out_of_fold)

    def score_dev(self) -> HeldOutResult:
        """The dev scores of the current model, with its decoding tuned on dev."""
        dev, encodings = self.plan.data.dev, self.plan.scored_encodings
        with closing(self.fit.chunks(dev, encodings)) as chunks:
            tuned, scorer = self.task.without_unit().tune(dev, chunks)
        return HeldOutResult(tuned, scorer(), scorer)

    def _diverged(self, error: DivergedError) -> OneLayerError:
        """The error for a run whose numbers are no longer finite. Its states are removed: each of
        them leads to the same end."""
        self.reporter.finish()
        self.store.clear()
        kept = ""
        if self.history.best_step:
            kept = f"; {self.store.target} has the best model, of step {self.history.best_step:,}"
        place = Place(self.store.target)
        return OneLayerError(f"{error.message}{kept}", place=place, hint=error.hint)

    def restart(self) -> None:
        """Starts the model from the first step with another seed."""
        step, attempt = self.history.step, self.history.attempt + 1
        rows = "rows" if self.plan.data.is_folded else "dev rows"
        self.reporter.finish()
        self.remarks.say(
            f"stuck after step {step:,}{self._of_part}: one class for all {rows}, and a loss no "
            "lower than that of guessing by frequency; restarted with seed = "
            f"{self.plan.recipe.seed + SEED_STEP * attempt}"
        )
        self._start(attempt)

    # The state between two steps ---------------------------------------------------------------

    def save_state(self, *, stopping: bool) -> None:
        """Saves the state. If it can't be written, the run continues with a warning."""
        step = self.history.step
        n_done, told = len(self.by_fold), self.remarks.told
        state = RunState(self.plan.recipe, told, self.history, n_done)
        folds = {fold_tensor(i): torch.from_numpy(found) for i, found in enumerate(self.by_fold)}
        try:
            self.store.save_state(state, self.fit.state_dict() | folds)
        except OneLayerError as error:
            self.reporter.say(f"warning: the state after step {step:,} is not saved: {error}")
            return
        if stopping:
            best = f"; the best model so far is in {self.store.target}"
            self.reporter.finish()
            self.reporter.say(
                f"stopped after step {step:,}{self._of_part}; the same command resumes from there"
                f"{best if self.history.best_step else ''}"
            )

    def _resume(self, saved: SavedState) -> None:
        self.reporter.say(f"resumes after step {saved.history.step:,}{self._of_part}")
        if changed := environment_changes(saved.environment):
            self.reporter.say(f"warning: not as it was, so the last digits may differ: {changed}")
        self.remarks.told = list(saved.remarks)
        self.fit.history = saved.history
        self.fit.load_state_dict(saved.tensors())

    @property
    def _of_part(self) -> str:
        return f" of {self.part}" if self.part else ""

    def _say_finished(self) -> None:
        if not self.fit.total_steps:
            return
        progress, best = self.history.progress, f"; best after step {self.history.best_step:,}"
        self.reporter.say(
            f"{progress.step:,} steps{self._of_part}, {progress.tokens:,} tokens in "
            f"{progress.seconds:,.0f} s ({progress.tokens_per_second:,.0f} tokens/s)"
            f"{'' if self.plan.data.is_folded else best}"
        )


def train_and_load(plan: Plan, store: Store, reporter: Reporter) -> Predictor:
    """Trains to the end and loads the model that is kept."""
    Trainer(plan, store, reporter).train()
    predictor = load(store.target)
    for remark in remarks_on_held_out(predictor, plan.data.dev):
        reporter.say(remark)
    return predictor


def draw_report(predictor: Predictor, plan: Plan, reporter: Reporter) -> None:
    """Writes the report on the rows that scored the model. If that fails, the run is kept and a
    warning says why."""
    path, data = predictor.path, plan.data
    assert path is not None
    if data.is_folded and not data.n_folds:
        reporter.say(f"no {NAME}: no row was held out")
        return
    try:
        out_of_fold = OutOfFold.read(path).chunk(plan) if data.is_folded else None
        rows = data.dev if out_of_fold is None else out_of_fold[0]
        name = plan.files.scored_name(data.n_folds)
        write_report(predictor, rows, name, path / NAME, out_of_fold)
    except Exception as error:
        reporter.say(f"warning: no {NAME}: {error}")
