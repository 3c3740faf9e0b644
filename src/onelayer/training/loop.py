"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import activate_flash_attention_impl

from onelayer.nn.heads import HEADS
from onelayer.nn.model import Model
from onelayer.nn.packed import pack
from onelayer.recipe import Recipe
from onelayer.tokens.encodings import Encodings, Ints
from onelayer.tokens.packing import micro_batches
from onelayer.training.optimizer import Optimizer, adamw, lr_factor
from onelayer.training.sampler import Sampler
from onelayer.training.signals import BrokenOff, HeldSignals
from onelayer.training.state import History, Progress, TrainState


class Reporter(Protocol):
    """Who is told how the run goes."""

    def say(self, remark: str) -> None: ...
    def prepare(self, what: str, rows: int, total: int | None) -> None: ...
    def start(self, total_steps: int) -> None: ...
    def step(self, progress: Progress) -> None: ...
    def evaluated(
        self, epoch: float, scores: dict[str, float], metric: str, best: bool
    ) -> None: ...
    def finish(self) -> None: ...


Evaluate = Callable[[], dict[str, float]]
A_CHANCE = 100
"""Steps. That fewer have taught nothing is no bad luck."""


def train(
    model: Model,
    head_name: str,
    encodings: Encodings,
    recipe: Recipe,
    *,
    metric: str,
    evaluate: Evaluate,
    keep: Callable[[dict[str, float], History], None],
    reporter: Reporter,
    class_weights: Tensor | None = None,
    attempt: int = 0,
    stuck: Callable[[Sequence[float]], bool] = lambda _: False,
    begin: Callable[[TrainState], None] = lambda _: None,
    between: Callable[[TrainState, bool], None] = lambda *_: None,
) -> History:
    """Fine-tunes ``model`` in place. After every epoch ``evaluate`` scores it, and ``keep`` is
    called whenever the score is the best so far. From the middle of the run on, if it has had
    a chance, ``stuck`` looks at an epoch's losses after each evaluation, and may end it.

    ``begin`` may turn the fresh state into that of a run that was stopped; ``between`` sees the
    state between any two steps, and whether the run is about to stop: a SIGINT or SIGTERM lets the
    step under way finish or breaks an evaluation off, and is passed on after that.
    """
    assert recipe.epochs is not None
    peak = recipe.lr
    assert peak is not None
    sampler = Sampler(encodings.n_examples, recipe.batch_size, recipe.seed)
    total = max(1, round(recipe.epochs * sampler.per_epoch))
    torch.manual_seed(recipe.seed)
    optimizer = adamw(model, lr=peak, weight_decay=recipe.weight_decay)
    state = TrainState(model, optimizer, History(attempt=attempt))
    begin(state)
    history = state.history
    reporter.start(total)
    model.train()
    network: nn.Module = compiled(model) if model.head.weight.is_cuda else model

    def step() -> None:
        started = time.perf_counter()
        examples = sampler.batch(history.step)
        optimizer.lr = peak * lr_factor(history.step, total, recipe.warmup)
        loss = train_step(network, head_name, encodings, examples, optimizer, recipe, class_weights)
        tokens = int(encodings.example_lengths(examples).sum())
        history.add_step(loss, optimizer.lr, tokens, time.perf_counter() - started)
        reporter.step(history.progress)

    def score(signals: HeldSignals) -> None:
        optimizer.settle()
        with signals.breakable():
            scores = evaluate()
        is_best = history.add_scores(scores, metric)
        reporter.evaluated(history.step / sampler.per_epoch, scores, metric, is_best)
        if is_best:
            keep(scores, history)
        # An epoch's losses, but never those that the run began with.
        recent = history.losses[-min(sampler.per_epoch, -(-history.step // 2)) :]
        history.stuck = history.step >= max(A_CHANCE, total / 2) and stuck(recent)

    with HeldSignals() as signals:
        while signals.received is None:
            at_an_end = history.step and history.step % sampler.per_epoch == 0
            if (at_an_end or history.step == total) and not history.evaluated:
                with suppress(BrokenOff):
                    score(signals)
            elif history.step == total or history.stuck:
                break
            elif recipe.patience is not None and history.since_best >= recipe.patience:
                n = history.since_best
                reporter.say(f"stopped early: no better {metric} in {n} evaluations")
                break
            else:
                step()
            between(state, signals.received is not None)
        reporter.finish()
    signals.pass_on()
    return history


def compiled(model: Model) -> nn.Module:
    """For a GPU, and batches of any size. The modules are the model's own, which evaluation takes
    as it is."""
    with suppress(ImportError):  # where its package is installed
        activate_flash_attention_impl("FA3")
    network = torch.compile(model, dynamic=True)
    assert isinstance(network, nn.Module)
    return network


def train_step(
    model: nn.Module,
    head_name: str,
    encodings: Encodings,
    examples: Ints,
    optimizer: Optimizer,
    recipe: Recipe,
    class_weights: Tensor | None,
) -> float:
    """One step of the optimizer over a batch, micro-batch by micro-batch; returns its loss."""
    head = HEADS[head_name]
    device = next(model.parameters()).device
    lengths = encodings.example_lengths(examples)
    parts = [
        pack(encodings, examples[part]) for part in micro_batches(lengths, recipe.token_budget)
    ]
    weight = sum(head.weight(part, class_weights) for part in parts)
    if weight == 0:
        return 0.0  # a batch of windows without a single word of their own
    losses = []
    for part in parts:
        optimizer.catch_up(part.ids_T)
        batch = part.to(device)
        loss = head.loss(model(batch), batch, class_weights) / weight
        loss.backward()
        losses.append(loss.detach())
    optimizer.step(recipe.max_grad_norm)
    return float(sum(losses))  # a GPU is waited for here, and nowhere before
