"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import activate_flash_attention_impl

from onelayer.nn.heads import HEADS
from onelayer.nn.model import Model
from onelayer.nn.packed import micro_batches, pack
from onelayer.recipe import Recipe
from onelayer.text.encoding import Encodings, Ints
from onelayer.train.optimizer import Optimizer, adamw, lr_factor
from onelayer.train.sampler import batches


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


@dataclass(slots=True)
class Progress:
    """Where a run stands after a step."""

    step: int = 0
    loss: float = math.nan
    """Of the last batch, by example, word or window."""
    lr: float = 0.0
    tokens: int = 0
    """Real tokens learned from so far."""
    seconds: float = 0.0
    """Spent in training steps."""

    @property
    def tokens_per_second(self) -> float:
        return self.tokens / self.seconds if self.seconds else 0.0


@dataclass(slots=True)
class History:
    """What a run leaves behind for its record."""

    progress: Progress = field(default_factory=Progress)
    losses: list[float] = field(default_factory=list)
    evaluations: list[dict[str, Any]] = field(default_factory=list)
    best_step: int = 0


Evaluate = Callable[[], dict[str, float]]


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
) -> History:
    """Fine-tunes ``model`` in place. After every epoch ``evaluate`` scores it, and ``keep`` is
    called whenever the score is the best so far."""
    assert recipe.epochs is not None
    assert recipe.lr is not None
    n_examples = encodings.n_examples
    per_epoch = math.ceil(n_examples / recipe.batch_size)
    total = max(1, round(recipe.epochs * per_epoch))
    optimizer = adamw(model, lr=recipe.lr, weight_decay=recipe.weight_decay)
    torch.manual_seed(recipe.seed)
    history = History()
    progress = history.progress
    best, since_best = -math.inf, 0
    reporter.start(total)
    model.train()
    network: nn.Module = compiled(model) if model.head.weight.is_cuda else model
    while progress.step < total:
        epoch = progress.step // per_epoch
        for examples in batches(n_examples, recipe.batch_size, seed=recipe.seed, epoch=epoch):
            if progress.step == total:
                break
            started = time.perf_counter()
            progress.lr = recipe.lr * lr_factor(progress.step, total, recipe.warmup)
            optimizer.lr = progress.lr
            progress.loss = train_step(
                network, head_name, encodings, examples, optimizer, recipe, class_weights
            )
            progress.step += 1
            progress.tokens += int(encodings.example_lengths(examples).sum())
            progress.seconds += time.perf_counter() - started
            history.losses.append(progress.loss)
            reporter.step(progress)
        optimizer.settle()
        scores = evaluate()
        score = scores[metric]
        # Of equal scores the later one, which has learned longer; nan (a constant prediction has
        # no correlation) is only better than nothing.
        is_best = score >= best or best == -math.inf
        since_best = 0 if score > best or best == -math.inf else since_best + 1
        history.evaluations.append({"step": progress.step, "scores": scores})
        reporter.evaluated(progress.step / per_epoch, scores, metric, is_best)
        if is_best:
            best = -math.inf if math.isnan(score) else score
            history.best_step = progress.step
            keep(scores, history)
        if recipe.patience is not None and since_best >= recipe.patience:
            reporter.say(f"stopped early: no better {metric} in {since_best} evaluations")
            break
    reporter.finish()
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
