"""One model that is trained on the rows of a plan: its weights, its optimizer and its steps."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onelayer.base.errors import CheckpointError, OneLayerError
from onelayer.checkpoint.build import (
    Built,
    as_saved,
    build_model,
    pretrained_state,
    state_of,
    with_positions,
)
from onelayer.checkpoint.larger_vectors import with_larger_vectors
from onelayer.checkpoint.mean_layer import is_tuned, with_mean_layer
from onelayer.checkpoint.read import Checkpoint, with_weights
from onelayer.engines.torch_engine import TorchEngine, best_device
from onelayer.nn.model import Model
from onelayer.nn.packed import Packed
from onelayer.prediction.predictor import Predictor
from onelayer.tasks.logits import Logits
from onelayer.tasks.protocol import Chunk
from onelayer.tokens.encodings import Encodings, Ints
from onelayer.training.gpu_steps import GpuSteps, compiled
from onelayer.training.history import History, RunProgress
from onelayer.training.new_layer import fit_layer
from onelayer.training.optimizer import Optimizer, TorchAdamW, adamw, freeze, lr_factor
from onelayer.training.plan import Plan
from onelayer.training.prior import MAX_RESTARTS, SEED_STEP, class_prior
from onelayer.training.progress import Reporter
from onelayer.training.ranks import ALONE, NewFit, Ranks, Step
from onelayer.training.sampler import CONTRAST_BATCH, Sampler, evenly
from onelayer.training.schedule import steps_of
from onelayer.training.weight_updates import draw_together, packed_parts, update_weights

MIN_STEPS_BEFORE_RESTART = 100
"""Don't restart a run before this many steps. If it grows, a stuck run costs more time; if it
shrinks, a run that would have learned later is given up."""

CONTRAST_RATE = 4
"""The learning rate of contrast, as a multiple of that of the epochs. At twice the rate of epochs,
emotions were told apart less well."""
SHALLOW = 6
"""Layers up to which this holds; deeper models learn the more slowly. At this rate 12 layers gave
all 5,000 headlines of tnews the same vector: the accuracy was 0.11, and with half of it 0.51."""
MIN_STEPS_TO_JUDGE = 20
"""Fewer steps of contrast don't tell whether their loss falls."""
PRETRAINED_SHARE = 0.4
"""How far the weights go back to the pretrained ones after the steps of contrast (Wortsman et al.,
2022). If it grows, what pretraining knew of texts is kept; if it shrinks, what the rows say."""


class DivergedError(OneLayerError):
    """The numbers of a model are no longer finite: ``what`` says which."""

    def __init__(self, what: str, fit: Fit) -> None:
        losses = fit.history.losses
        before = f", after a loss of {losses[-1]:.3g}" if losses else ""
        precision = ", or try --precision fp32" if fit.recipe.precision != "fp32" else ""
        super().__init__(
            f"training diverged: {what}{before}",
            hint=f"lower --lr, which is {fit.peak_lr:g}{precision}; 2e-5 is a usual value",
        )


class Fit:
    """One model that is trained on all rows of a completed plan, from its first step to its last.

    The next batch follows from (seed, step). So model, optimizer, random generators and history are
    the whole state of a fit between two steps, and it resumes from them bit for bit.
    """

    def __init__(self, plan: Plan, attempt: int = 0, ranks: Ranks = ALONE) -> None:
        """Makes a new model, optimizer and history. Each attempt has another seed. The processes
        train it together."""
        recipe, device = plan.recipe, best_device()
        assert recipe.lr is not None, "a completed plan has no open choices"
        assert recipe.batch_size is not None
        assert recipe.precision is not None
        self.ranks = ranks
        self.plan, self.recipe, self.task = plan, recipe, plan.task
        self.encodings = plan.learned
        self.head = plan.head
        self.peak_lr = recipe.lr
        self.seed = recipe.seed + SEED_STEP * attempt
        self.sampler = Sampler(self.encodings.n_examples, recipe.batch_size, self.seed)
        self.steps_per_epoch = self.sampler.steps_per_epoch
        self.contrast_steps = recipe.contrast or 0
        self.contrast_sampler = evenly(self.encodings.n_examples, CONTRAST_BATCH, self.seed)
        self.contrast_rate = CONTRAST_RATE * min(1, SHALLOW / plan.base.config.num_hidden_layers)
        self.total_steps = steps_of(recipe, self.encodings.n_examples)
        epoch_steps = self.total_steps - self.contrast_steps
        self.practice_steps = round((recipe.practice or 0.0) * epoch_steps)
        self.practice = (
            self.task.practice(self.encodings, plan.base.tokenizer) if self.practice_steps else None
        )

        pretrained, self.enlarged = self._pretrained()
        self.built: Built = build_model(
            pretrained, self.task, seed=self.seed, prior=plan.initial_biases()
        )
        freeze(self.built.model, recipe.freeze)
        self.model: Model = self.built.model.to(device)
        self.model.train_in(recipe.precision)
        self.model.train()

        weights = plan.class_weights
        self.class_weights = None if weights is None else torch.from_numpy(weights).to(device)
        self.prior = None
        if plan.lessons is None:
            self.prior = class_prior(self.task.head, self.encodings, weights)
        torch.manual_seed(self.seed)  # dropout draws from it
        self.network = compiled(self.model) if device.type == "cuda" else self.model
        self.optimizer, self.gpu_steps = self._new_optimizer()
        self.history = History(attempt=attempt)
        self._is_shared = False
        if self.ranks.follows:
            return  # rank 0 sends its weights
        self.ranks.send(NewFit(recipe.to_json(), attempt))
        if self.begins_fitted and not self.contrast_steps:
            self._fit_layer()

    def _pretrained(self) -> tuple[Checkpoint, str | None]:
        """The base with the positions and the reading of the recipe, and what the user should know
        of larger vectors. Reading its weights whenever they are needed saves the memory of keeping
        them."""
        checkpoint = with_weights(self.plan.base)
        if self.recipe.positions is not None:
            checkpoint = with_positions(checkpoint, self.recipe.positions)
        if self.recipe.read == "both":
            assert self.recipe.precision is not None, "a completed plan has no open choices"
            both = self.plan.taught.of(checkpoint, self.plan.all_rows, self.recipe.precision)
            return both, None
        if self.recipe.read == "mean":
            return with_mean_layer(checkpoint), None
        return (checkpoint, None) if is_tuned(self.plan.base) else with_larger_vectors(checkpoint)

    def _new_optimizer(self) -> tuple[Optimizer, GpuSteps | None]:
        """An optimizer without a history, and the steps that a GPU makes with it."""
        recipe, weights = self.recipe, self.class_weights
        optimizer = adamw(self.model, lr=self.peak_lr, weight_decay=recipe.weight_decay)
        if not self.model.head.weight.is_cuda:
            return optimizer, None
        assert isinstance(optimizer, TorchAdamW), "there are no kernels for a GPU"
        max_norm = recipe.max_grad_norm
        steps = GpuSteps(self.network, self.head, optimizer, max_norm, weights, self.ranks)
        return optimizer, steps

    def _fit_layer(self) -> None:
        fit_layer(
            self.model,
            self.encodings,
            self.head,
            self.class_weights,
            token_budget=self.recipe.token_budget,
            seed=self.seed,
        )

    @property
    def is_trained(self) -> bool:
        return self.history.step == self.total_steps

    @property
    def begins_fitted(self) -> bool:
        """Whether the epochs, if there are any, begin with a new layer that was fitted in closed
        form."""
        fitted = self.recipe.read in ("mean", "both") and not self.built.kept_head
        return fitted or self.contrast_steps > 0

    @property
    def is_contrasting(self) -> bool:
        """Whether the next step is one of those before the layer has been fitted."""
        return self.history.step < self.contrast_steps

    def train_step(self) -> RunProgress:
        """One step of the optimizer over the next batch."""
        started = time.perf_counter()
        step, contrasting = self.history.step, self.is_contrasting
        if contrasting:
            loss, tokens = self._contrast(step)
        else:
            self._lead(step)
            loss, tokens = self.learn(step)
        if not math.isfinite(loss):
            raise DivergedError(f"the loss of step {step + 1:,} is {loss}", self)
        self.history.add_step(loss, self.lr_of(step), tokens, time.perf_counter() - started)
        if contrasting and not self.is_contrasting:
            self._end_contrast()
        return self.history.progress

    def learn(self, step: int) -> tuple[float, int]:
        """Makes a step with this process's share of the batch. Returns the loss and the real tokens
        of the whole batch."""
        self.optimizer.lr = self.lr_of(step)
        if self.ranks.follows:
            # Masks of its own, which nothing has to save: the generator of rank 0 is in the state.
            mixed = np.random.SeedSequence((self.seed, self.ranks.rank, step))
            torch.manual_seed(int(mixed.generate_state(1)[0]))
        if self.gpu_steps is not None:
            batch = self.gpu_steps.prepared(self.parts, step)
            loss, tokens = self.gpu_steps.update_weights(batch), batch.tokens
        else:
            parts = self.parts(step)
            max_norm, weights = self.recipe.max_grad_norm, self.class_weights
            loss = update_weights(
                self.model, self.head, parts, self.optimizer, max_norm, weights, self.ranks
            )
            tokens = sum(len(part.ids_T) for part in parts)
        loss, all_tokens = self.ranks.total(loss, tokens)
        return loss, int(all_tokens)

    def _lead(self, step: int) -> None:
        """Tells the other processes to make this step, too; the first time, from this state."""
        if not self.ranks.leads:
            return
        if not self._is_shared:
            self.ranks.send_state(self.state_dict())
            self._is_shared = True
        self.ranks.send(Step(step))

    def _contrast(self, step: int) -> tuple[float, int]:
        """A step of contrast, by one process: its few texts are compared with each other."""
        self.optimizer.lr = self.lr_of(step)
        parts = self.parts(step)
        loss = draw_together(
            self.model, self.head, parts, self.optimizer, self.recipe.max_grad_norm
        )
        return loss, sum(len(part.ids_T) for part in parts)

    def lr_of(self, step: int) -> float:
        """The learning rate of a step. Steps count from 0."""
        n, warmup = self.contrast_steps, self.recipe.warmup
        if step < n:
            return self.peak_lr * lr_factor(step, n, warmup) * self.contrast_rate
        return self.peak_lr * lr_factor(step - n, self.total_steps - n, warmup)

    def parts(self, step: int) -> list[Packed]:
        """The micro-batches of a step that this process computes: a function of its number."""
        n, budget = self.contrast_steps, self.recipe.token_budget
        if step < n:
            return packed_parts(self.encodings, self.contrast_sampler.batch(step), budget)
        examples = self.sampler.batch(step - n)
        parts = self._shared_parts(self.encodings, examples)
        if step - n < self.practice_steps:
            parts += self._practice_parts(step, len(examples))
        return parts

    def _practice_parts(self, step: int, n: int) -> list[Packed]:
        """As many examples made of the rows' texts as there are labelled ones in the batch."""
        if self.practice is None:
            return []
        made = self.practice.batch(n, np.random.default_rng((self.seed, step)))
        if made is None:
            return []
        return self._shared_parts(made, np.arange(made.n_examples))

    def _shared_parts(self, encodings: Encodings, examples: Ints) -> list[Packed]:
        own = examples[self.ranks.share(encodings.example_lengths(examples))]
        return packed_parts(encodings, own, self.recipe.token_budget)

    @property
    def has_collapsed(self) -> bool:
        """Whether contrast, just ended, told texts apart no better in its last quarter than in its
        first: a rate too high for a model gives all texts one vector."""
        steps = self.contrast_steps
        if steps < MIN_STEPS_TO_JUDGE or self.history.step != steps:
            return False
        losses = self.history.losses
        return bool(np.mean(losses[-(steps // 4) :]) >= np.mean(losses[: steps // 4]))

    def _end_contrast(self) -> None:
        """Takes the weights some of the way back to the pretrained ones, or the whole way if the
        steps of contrast were for nothing, and fits the new layer."""
        self.check_weights()
        share = 1.0 if self.has_collapsed else PRETRAINED_SHARE
        pretrained = pretrained_state(self._pretrained()[0], self.head)
        for name, weight in state_of(self.model).items():
            if name in pretrained:
                weight.lerp_(pretrained[name].to(weight.device), share)
        self._fit_layer()
        self.optimizer, self.gpu_steps = self._new_optimizer()

    def check_weights(self) -> None:
        """Makes the weights ready to be read. Raises DivergedError if they aren't finite."""
        self.optimizer.apply_all_missed_steps()
        if not are_finite(self.model):
            what = f"the weights after step {self.history.step:,} are not finite"
            raise DivergedError(what, self)

    def chunks(self, rows: Sequence[Any], encodings: Encodings) -> Generator[Chunk[Any]]:
        """Rows with their logits by the model as it is saved: those of a regression are in the
        labels' unit, for ``task.without_unit()`` to decode. The model is changed until the iterator
        is exhausted or closed. Raises DivergedError for logits that aren't finite."""
        engine = TorchEngine(self.model, self.recipe.token_budget)
        with as_saved(self.model, self.task) as task:
            predictor = Predictor(task, self.plan.base.tokenizer, engine, self.plan.layout)
            chunks = predictor.run_encoded(rows, encodings)
            try:
                yield from self.prior.watch(chunks) if self.prior is not None else chunks
            except CheckpointError as error:
                what = f"the logits after step {self.history.step:,} are not finite"
                raise DivergedError(what, self) from error

    def logits(self, rows: Sequence[Any], encodings: Encodings) -> Logits:
        """As `chunks`, all logits in one array, (R, C). Call `check_weights` before."""
        return np.concatenate([logits for _, _, logits in self.chunks(rows, encodings)])

    def is_stuck(self) -> bool:
        """Whether the model, halfway through or later, has learned only the class frequencies: it
        gave all rows of the last ``chunks`` one class."""
        history = self.history
        if self.contrast_steps or not self.total_steps:
            return False  # the layer begins where it can't be better, by a convex loss
        if self.prior is None or history.attempt == MAX_RESTARTS:
            return False
        if history.step < max(MIN_STEPS_BEFORE_RESTART, self.total_steps / 2):
            return False
        # The last epoch's losses, but none of the first half of the steps: there the layer is new.
        recent = min(self.steps_per_epoch, -(-history.step // 2))
        return self.prior.explains(history.losses[-recent:])

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


def held_out_logits(plan: Plan, learned: Ints, held_out: Ints, reporter: Reporter) -> Logits:
    """Logits of some rows by a model that is trained on others. Nothing is written.

    Parameters
    ----------
    plan
        A completed plan with folds, so that it has all rows in memory. Its recipe trains the model
        to the last step, without a look at any score.
    learned
        The numbers of the rows to train on.
    held_out
        The numbers of the rows to give logits for.
    reporter
        Is told of each step.

    Returns
    -------
    Logits
        (R, C), those of a regression in the labels' unit: with the rows and
        ``plan.scored_encodings.of_rows(held_out)`` a chunk for ``task.without_unit()`` to decode.

    Raises
    ------
    DivergedError
        If a loss, a weight or a logit isn't finite.
    """
    fit, judged = Fit(plan.on_rows(learned)), plan.data.on_rows(held_out)
    while True:
        reporter.start(fit.total_steps, "")
        while not fit.is_trained:
            reporter.step(fit.train_step())
        reporter.finish()
        fit.check_weights()
        logits = fit.logits(judged.rows, judged.encodings)
        if not fit.is_stuck():
            return logits
        fit = Fit(fit.plan, fit.history.attempt + 1)


def are_finite(model: Model) -> bool:
    """Whether all weights are finite numbers. A finite sum means that, and needs no memory."""
    return all(
        math.isfinite(float(weight.detach().sum())) or bool(weight.isfinite().all())
        for weight in model.parameters()
    )
