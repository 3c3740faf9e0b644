"""The trainer: fine-tunes a model by a plan and keeps the best state."""

from __future__ import annotations

from contextlib import closing, suppress
from dataclasses import replace

from onelayer.base.errors import OneLayerError, Place
from onelayer.evaluation.report.write_report import NAME, write_report
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.training.fit import DivergedError, Fit
from onelayer.training.history import History
from onelayer.training.plan import Plan
from onelayer.training.precision import remarks_on_device
from onelayer.training.prior import SEED_STEP
from onelayer.training.progress import Reporter
from onelayer.training.remarks import (
    Remarks,
    remarks_on_dev,
    remarks_on_model,
    remarks_on_rows,
)
from onelayer.training.run_record import DevResult
from onelayer.training.run_store import RunState, SavedState, Store, environment_changes
from onelayer.training.signals import DeferredSignals, WorkInterrupted


class Trainer:
    """One run, from the first step to the last: its model, when it is scored, and what is kept."""

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
        self.fit = Fit(self.plan, saved.history.attempt if saved else 0)
        self.remarks.say_all(remarks_on_model(self.fit.built))
        assert recipe.precision is not None, "a completed plan has no open choices"
        self.remarks.say_all(remarks_on_device(self.plan.config, recipe.precision))
        if saved is not None:
            self._resume(saved)

    @property
    def history(self) -> History:
        return self.fit.history

    # The loop ----------------------------------------------------------------------------------

    def train(self) -> None:
        """Trains to the end; then the store has the best model.

        On SIGINT or SIGTERM the current step is finished, but an evaluation is interrupted, because
        it can be repeated. Then the state is saved and the signal takes effect.
        """
        self.reporter.start(self.fit.total_steps)
        with DeferredSignals() as signals:
            while signals.received is None and not self.is_finished:
                try:
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
        """Makes a step, or what is due after the last one. Raises DivergedError."""
        if self.is_evaluation_due:
            with suppress(WorkInterrupted):
                self.evaluate(signals)
        elif self.history.stuck:
            self.restart()
        else:
            self.reporter.step(self.fit.train_step())

    @property
    def is_finished(self) -> bool:
        """Whether the last step has been evaluated, or early stopping ends the run before it."""
        history, patience = self.history, self.plan.recipe.patience
        if not history.evaluated or history.stuck:
            return False
        stops_early = patience is not None and history.since_best >= patience
        return self.fit.is_trained or stops_early

    @property
    def is_evaluation_due(self) -> bool:
        """True at the end of every epoch, and after the last step."""
        step = self.history.step
        is_end = self.fit.is_trained or (step > 0 and step % self.fit.steps_per_epoch == 0)
        return is_end and not self.fit.is_contrasting and not self.history.evaluated

    def evaluate(self, signals: DeferredSignals) -> None:
        """Scores the model on dev, saves it if it is the best so far, and checks whether the run is
        stuck. Raises WorkInterrupted on a signal while it scores; then nothing has changed."""
        history, metric = self.history, self.task.metric
        self.fit.check_weights()
        with signals.interruptible():
            evaluation = self.score_dev()
        is_best = history.add_scores(evaluation.scores, metric)
        epoch = history.step / self.fit.steps_per_epoch
        self.reporter.evaluated(epoch, evaluation.scores, metric, is_best)
        if is_best:
            told = self.remarks.told
            self.store.save_best(self.plan, self.fit.built, evaluation, history, told)
        history.stuck = self.fit.is_stuck()

    def score_dev(self) -> DevResult:
        """The dev scores of the current model, with its decoding tuned on dev."""
        dev = self.plan.data.dev
        with closing(self.fit.chunks(dev, self.plan.dev_encodings)) as chunks:
            tuned, scorer = self.task.without_unit().tune(dev, chunks)
        return DevResult(tuned, scorer(), scorer)

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
        """Starts the run from the first step with another seed."""
        step, attempt = self.history.step, self.history.attempt + 1
        self.reporter.finish()
        self.remarks.say(
            f"stuck after step {step:,}: one class for all dev rows, and a loss no lower than "
            "that of guessing by frequency; restarted with seed = "
            f"{self.plan.recipe.seed + SEED_STEP * attempt}"
        )
        del self.fit  # two models may not fit into memory
        self.fit = Fit(self.plan, attempt)
        self.reporter.start(self.fit.total_steps)

    # The state between two steps ---------------------------------------------------------------

    def save_state(self, *, stopping: bool) -> None:
        """Saves the state. If it can't be written, the run continues with a warning."""
        step = self.history.step
        state = RunState(self.plan.recipe, self.remarks.told, self.history)
        try:
            self.store.save_state(state, self.fit.state_dict())
        except OneLayerError as error:
            self.reporter.say(f"warning: the state after step {step:,} is not saved: {error}")
            return
        if stopping:
            best = f"; the best model so far is in {self.store.target}"
            self.reporter.finish()
            self.reporter.say(
                f"stopped after step {step:,}; the same command resumes from there"
                f"{best if self.history.best_step else ''}"
            )

    def _resume(self, saved: SavedState) -> None:
        self.reporter.say(f"resumes after step {saved.history.step:,}")
        if changed := environment_changes(saved.environment):
            self.reporter.say(f"warning: not as it was, so the last digits may differ: {changed}")
        self.remarks.told = list(saved.remarks)
        self.fit.history = saved.history
        self.fit.load_state_dict(saved.tensors())

    def _say_finished(self) -> None:
        progress = self.history.progress
        self.reporter.say(
            f"{progress.step:,} steps, {progress.tokens:,} tokens in {progress.seconds:,.0f} s "
            f"({progress.tokens_per_second:,.0f} tokens/s); best after step "
            f"{self.history.best_step:,}"
        )


def train_and_load(plan: Plan, store: Store, reporter: Reporter) -> Predictor:
    """Trains to the end and loads the best model."""
    Trainer(plan, store, reporter).train()
    predictor = load(store.target)
    for remark in remarks_on_dev(predictor, plan.data.dev):
        reporter.say(remark)
    return predictor


def draw_report(predictor: Predictor, plan: Plan, reporter: Reporter) -> None:
    """Writes the report on the dev rows. If that fails, the run is kept and a warning says why."""
    assert predictor.path is not None
    try:
        write_report(predictor, plan.data.dev, plan.files.dev_rows_name, predictor.path / NAME)
    except Exception as error:
        reporter.say(f"warning: no {NAME}: {error}")
