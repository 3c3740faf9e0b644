"""The trainer: fine-tunes a model by a plan and keeps the best state."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.attention import activate_flash_attention_impl

from onelayer.base.errors import CheckpointError, OneLayerError, Place
from onelayer.checkpoint.build import Built, as_saved, build_model, with_positions
from onelayer.checkpoint.read import with_weights
from onelayer.engines.torch_engine import TorchEngine, best_device
from onelayer.evaluation.report.write_report import NAME, write_report
from onelayer.nn.heads import HEADS, Head
from onelayer.nn.model import Model
from onelayer.nn.packed import Packed, pack
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.tokens.encodings import Encodings, Ints
from onelayer.tokens.packing import micro_batches
from onelayer.training.history import History
from onelayer.training.optimizer import Optimizer, adamw, freeze, lr_factor
from onelayer.training.plan import Plan
from onelayer.training.precision import remarks_on_device
from onelayer.training.prior import MAX_RESTARTS, SEED_STEP, class_prior
from onelayer.training.progress import Reporter
from onelayer.training.remarks import (
    Remarks,
    remarks_on_dev,
    remarks_on_model,
    remarks_on_rows,
)
from onelayer.training.run_record import DevResult
from onelayer.training.run_store import RunState, SavedState, Store, environment_changes
from onelayer.training.sampler import Sampler
from onelayer.training.signals import DeferredSignals, WorkInterrupted

MIN_STEPS_BEFORE_RESTART = 100
"""Don't restart a run before this many steps. If it grows, a stuck run costs more time; if it
shrinks, a run that would have learned later is given up."""


class Trainer:
    """One run, from the first step to the last.

    The next batch follows from (seed, step). So model, optimizer, random generators and history are
    the whole state of a run between two steps, and a run resumes from them bit for bit.
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
        recipe, task, encodings = self.plan.recipe, self.plan.task, self.plan.data.encodings
        assert recipe.epochs is not None, "a completed plan has no open choices"
        assert recipe.lr is not None
        assert recipe.precision is not None
        self.recipe, self.task, self.encodings = recipe, task, encodings
        self.head: Head = HEADS[task.head]
        self.peak_lr, self.precision = recipe.lr, recipe.precision
        self.steps_per_epoch = Sampler(encodings.n_examples, recipe.batch_size, 0).steps_per_epoch
        self.total_steps = max(1, round(recipe.epochs * self.steps_per_epoch))

        self.remarks.say(task.summary)
        self.remarks.say_all(remarks_on_rows(encodings))
        self._start(attempt=saved.history.attempt if saved else 0)
        self.remarks.say_all(remarks_on_model(self.built))
        self.remarks.say_all(remarks_on_device(self.plan.config, recipe.precision))
        if saved is not None:
            self._resume(saved)

    def _start(self, attempt: int) -> None:
        """Makes a new model, optimizer and history. Each attempt has another seed."""
        plan, recipe, device = self.plan, self.recipe, best_device()
        self.seed = recipe.seed + SEED_STEP * attempt
        # Reading the base's weights for each attempt saves the memory of keeping them.
        checkpoint = with_weights(plan.base)
        if recipe.positions is not None:
            checkpoint = with_positions(checkpoint, recipe.positions)
        self.built: Built = build_model(
            checkpoint, self.task, seed=self.seed, prior=plan.initial_biases()
        )
        freeze(self.built.model, recipe.freeze)
        self.model: Model = self.built.model.to(device)
        self.model.train_in(self.precision)
        self.model.train()
        self.network = compiled(self.model) if device.type == "cuda" else self.model

        weights = plan.class_weights
        self.class_weights = None if weights is None else torch.from_numpy(weights).to(device)
        self.prior = class_prior(self.task.head, self.encodings, weights)
        self.sampler = Sampler(self.encodings.n_examples, recipe.batch_size, self.seed)
        torch.manual_seed(self.seed)  # dropout draws from it
        self.optimizer: Optimizer = adamw(
            self.model, lr=self.peak_lr, weight_decay=recipe.weight_decay
        )
        self.history = History(attempt=attempt)

    # The loop ----------------------------------------------------------------------------------

    def train(self) -> None:
        """Trains to the end; then the store has the best model.

        On SIGINT or SIGTERM the current step is finished, but an evaluation is interrupted, because
        it can be repeated. Then the state is saved and the signal takes effect.
        """
        self.reporter.start(self.total_steps)
        with DeferredSignals() as signals:
            while signals.received is None and not self.is_finished:
                if self.is_evaluation_due:
                    with suppress(WorkInterrupted):
                        self.evaluate(signals)
                elif self.history.stuck:
                    self.restart()
                else:
                    self.train_step()
                if signals.received is not None or self.store.is_state_due():
                    self.save_state(stopping=signals.received is not None)
            if signals.received is None and self.history.step < self.total_steps:
                n, metric = self.history.since_best, self.task.metric
                self.reporter.say(f"stopped early: no better {metric} in {n} evaluations")
            self.reporter.finish()
        signals.deliver()
        self.store.finish(self.plan.files, self.history, self.remarks.told)
        self._say_finished()

    @property
    def is_finished(self) -> bool:
        """Whether the last step has been evaluated, or early stopping ends the run before it."""
        history, patience = self.history, self.recipe.patience
        if not history.evaluated or history.stuck:
            return False
        stops_early = patience is not None and history.since_best >= patience
        return history.step == self.total_steps or stops_early

    @property
    def is_evaluation_due(self) -> bool:
        """True at the end of every epoch, and after the last step."""
        step = self.history.step
        is_end = step == self.total_steps or (step > 0 and step % self.steps_per_epoch == 0)
        return is_end and not self.history.evaluated

    def train_step(self) -> None:
        """One step of the optimizer over the next batch."""
        started = time.perf_counter()
        step = self.history.step
        examples = self.sampler.batch(step)
        parts = packed_parts(self.encodings, examples, self.recipe.token_budget)
        lr = self.peak_lr * lr_factor(step, self.total_steps, self.recipe.warmup)
        self.optimizer.lr = lr
        max_norm = self.recipe.max_grad_norm
        loss = update_weights(
            self.network, self.head, parts, self.optimizer, max_norm, self.class_weights
        )
        tokens = sum(len(part.ids_T) for part in parts)
        if not math.isfinite(loss):
            raise self._diverged(f"the loss of step {step + 1:,} is {loss}")
        self.history.add_step(loss, lr, tokens, time.perf_counter() - started)
        self.reporter.step(self.history.progress)

    def evaluate(self, signals: DeferredSignals) -> None:
        """Scores the model on dev, saves it if it is the best so far, and checks whether the run is
        stuck. Raises WorkInterrupted on a signal while it scores; then nothing has changed."""
        history, metric = self.history, self.task.metric
        self.optimizer.apply_all_missed_steps()
        if not are_finite(self.model):
            raise self._diverged(f"the weights after step {history.step:,} are not finite")
        with signals.interruptible():
            try:
                evaluation = self.score_dev()
            except CheckpointError as error:
                what = f"the dev logits after step {history.step:,} are not finite"
                raise self._diverged(what) from error
        is_best = history.add_scores(evaluation.scores, metric)
        epoch = history.step / self.steps_per_epoch
        self.reporter.evaluated(epoch, evaluation.scores, metric, is_best)
        if is_best:
            self.store.save_best(self.plan, self.built, evaluation, history, self.remarks.told)
        history.stuck = self._is_stuck()

    def score_dev(self) -> DevResult:
        """The dev scores of the current model, with its decoding tuned on dev."""
        plan = self.plan
        engine = TorchEngine(self.model, self.recipe.token_budget)
        with as_saved(self.model, self.task) as task:
            predictor = Predictor(task, plan.base.tokenizer, engine, plan.layout)
            chunks = predictor.run_encoded(plan.data.dev, plan.dev_encodings)
            if self.prior is not None:
                chunks = self.prior.watch(chunks)
            tuned, scorer = task.tune(plan.data.dev, chunks)
        return DevResult(tuned, scorer(), scorer)

    def _diverged(self, what: str) -> OneLayerError:
        """The error for a run whose numbers are no longer finite. Its states are removed: each of
        them leads to the same end."""
        self.reporter.finish()
        self.store.clear()
        losses = self.history.losses
        before = f", after a loss of {losses[-1]:.3g}" if losses else ""
        kept = ""
        if self.history.best_step:
            kept = f"; {self.store.target} has the best model, of step {self.history.best_step:,}"
        precision = ", or try --precision fp32" if self.precision != "fp32" else ""
        return OneLayerError(
            f"training diverged: {what}{before}{kept}",
            place=Place(self.store.target),
            hint=f"lower --lr, which is {self.peak_lr:g}{precision}; 2e-5 is a usual value",
        )

    def _is_stuck(self) -> bool:
        """Whether the model, halfway through the run, has learned only the class frequencies."""
        history = self.history
        if self.prior is None or history.attempt == MAX_RESTARTS:
            return False
        if history.step < max(MIN_STEPS_BEFORE_RESTART, self.total_steps / 2):
            return False
        # The last epoch's losses, but none of the first half of the steps: there the layer is new.
        recent = min(self.steps_per_epoch, -(-history.step // 2))
        return self.prior.explains(history.losses[-recent:])

    def restart(self) -> None:
        """Starts the run from the first step with another seed."""
        step, attempt = self.history.step, self.history.attempt + 1
        self.reporter.finish()
        self.remarks.say(
            f"stuck after step {step:,}: one class for all dev rows, and a loss no lower than "
            "that of guessing by frequency; restarted with seed = "
            f"{self.recipe.seed + SEED_STEP * attempt}"
        )
        self._start(attempt)
        self.reporter.start(self.total_steps)

    # The state between two steps ---------------------------------------------------------------

    def save_state(self, *, stopping: bool) -> None:
        """Saves the state. If it can't be written, the run continues with a warning."""
        step = self.history.step
        state = RunState(self.recipe, self.remarks.told, self.history)
        try:
            self.store.save_state(state, self.state_dict())
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

    def state_dict(self) -> dict[str, Tensor]:
        """Weights, the optimizer's moments, and the generators that dropout draws from."""
        self.optimizer.apply_all_missed_steps()
        found = {f"model.{name}": tensor for name, tensor in self.model.state_dict().items()}
        found |= {f"optimizer.{name}": x for name, x in self.optimizer.state().items()}
        found["generator.cpu"] = torch.get_rng_state()
        if torch.cuda.is_available():
            found["generator.cuda"] = torch.cuda.get_rng_state()
        return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}

    def load_state_dict(self, tensors: dict[str, Tensor]) -> None:
        """Restores what `state_dict` gave."""

        def under(prefix: str) -> dict[str, Tensor]:
            found = (name for name in tensors if name.startswith(prefix))
            return {name.removeprefix(prefix): tensors[name] for name in found}

        self.model.load_state_dict(under("model."))
        self.optimizer.restore(under("optimizer."))
        torch.set_rng_state(tensors["generator.cpu"])
        if "generator.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["generator.cuda"])

    def _resume(self, saved: SavedState) -> None:
        self.reporter.say(f"resumes after step {saved.history.step:,}")
        if changed := environment_changes(saved.environment):
            self.reporter.say(f"warning: not as it was, so the last digits may differ: {changed}")
        self.remarks.told = list(saved.remarks)
        self.history = saved.history
        self.load_state_dict(saved.tensors())

    def _say_finished(self) -> None:
        progress = self.history.progress
        self.reporter.say(
            f"{progress.step:,} steps, {progress.tokens:,} tokens in {progress.seconds:,.0f} s "
            f"({progress.tokens_per_second:,.0f} tokens/s); best after step "
            f"{self.history.best_step:,}"
        )


def are_finite(model: Model) -> bool:
    """Whether all weights are finite numbers. A finite sum means that, and needs no memory."""
    return all(
        math.isfinite(float(weight.detach().sum())) or bool(weight.isfinite().all())
        for weight in model.parameters()
    )


def packed_parts(encodings: Encodings, examples: Ints, token_budget: int) -> list[Packed]:
    """The micro-batches of a batch, of at most ``token_budget`` tokens each."""
    lengths = encodings.example_lengths(examples)
    return [pack(encodings, examples[part]) for part in micro_batches(lengths, token_budget)]


def update_weights(
    network: nn.Module,
    head: Head,
    parts: Sequence[Packed],
    optimizer: Optimizer,
    max_norm: float,
    class_weights: Tensor | None,
) -> float:
    """One step of the optimizer over the micro-batches of a batch; returns the batch's loss."""
    weight = sum(head.weight(part, class_weights) for part in parts)
    if weight == 0:
        return 0.0  # windows whose words all belong to other windows
    device = next(network.parameters()).device
    losses = []
    for part in parts:
        optimizer.apply_missed_steps(part.ids_T)
        batch = part.to(device) if device.type == "cpu" else part.filled().to(device)
        loss = head.loss(network(batch), batch, class_weights) / weight
        loss.backward()
        losses.append(loss.detach())
    optimizer.step(max_norm)
    return float(sum(losses))  # the only place where the CPU waits for a GPU


def compiled(model: Model) -> nn.Module:
    """The model compiled for a GPU and batches of any size. It shares the model's weights;
    evaluation uses the model itself."""
    with suppress(ImportError):  # its package may be missing
        activate_flash_attention_impl("FA3")
    network = torch.compile(model, dynamic=True)
    assert isinstance(network, nn.Module)
    return network


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
