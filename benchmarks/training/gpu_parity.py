"""Does a GPU compute what a CPU computes? The same weights and rows on both, without dropout."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.training.train_contestant import MAX_GRAD_NORM, WEIGHT_DECAY
from benchmarks.training.train_sets import SpeedSet, random_batches, read_rows
from onelayer.checkpoint.build import build_model
from onelayer.checkpoint.read import read_checkpoint
from onelayer.nn.heads import HEADS, Head
from onelayer.nn.model import Model
from onelayer.recipe import Precision, Recipe
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training.gpu_steps import GpuSteps, compiled
from onelayer.training.optimizer import TorchAdamW, adamw
from onelayer.training.weight_updates import packed_parts, update_weights

LR = 1e-4
STEPS = 30
EXAMPLES = 32


@dataclass(frozen=True)
class Parity:
    """How far one way of computing is from fp32 on the CPU, as norms of differences divided by the
    norm of the CPU's values."""

    way: str
    logits: float
    gradients: float
    losses: float
    """The largest relative difference of the loss in ``STEPS`` steps of training."""
    bound: float
    """What is allowed; the losses may differ by as much."""

    @property
    def is_right(self) -> bool:
        return max(self.logits, self.gradients, self.losses) <= self.bound


@dataclass(frozen=True)
class _Found:
    logits: Tensor
    gradients: Tensor
    losses: Tensor


def compare_with_cpu(speed_set: SpeedSet, data: Path, model: Path, device: str) -> Iterator[Parity]:
    """The ways of a device against fp32 on the CPU; ``model`` has to be without dropout."""
    kind, rows = read_rows(speed_set, data)
    tokenizer = Tokenizer.read(model)
    task = kind.fit(rows, tokenizer, Recipe(task=speed_set.task), speed_set.max_length)
    encodings = task.encode(rows, tokenizer, labelled=True)

    def computed(device: str, precision: Precision, compile_it: bool) -> _Found:
        network = build_model(read_checkpoint(model), task).model.to(device)
        network.train_in(precision)
        return _computed(network, encodings, HEADS[task.head], compile_it)

    cpu = computed("cpu", "fp32", compile_it=False)
    yield _parity("CPU, bf16", computed("cpu", "bf16", compile_it=False), cpu, 3e-2)
    if device == "cpu":
        return
    for way, precision, compile_it, bound in WAYS:
        yield _parity(f"GPU, {way}", computed(device, precision, compile_it), cpu, bound)


WAYS: tuple[tuple[str, Precision, bool, float], ...] = (
    ("fp32", "fp32", False, 1e-3),
    ("bf16", "bf16", False, 3e-2),
    ("bf16, compiled: as runs train", "bf16", True, 3e-2),
)


def _computed(network: Model, encodings: Encodings, head: Head, compile_it: bool) -> _Found:
    network.train()
    (device,) = {parameter.device for parameter in network.parameters()}
    called = compiled(network) if compile_it else network
    batches = random_batches(encodings.n_examples, EXAMPLES)
    (part,) = packed_parts(encodings, next(batches), 1 << 30)
    batch = part.to(device)
    logits = called(batch)
    head.loss(logits, batch, None).backward()
    gradients = [p.grad.to_dense() for p in network.parameters() if p.grad is not None]
    network.zero_grad()
    optimizer = adamw(network, lr=LR, weight_decay=WEIGHT_DECAY)
    losses: list[float] = []
    if device.type == "cuda":
        assert isinstance(optimizer, TorchAdamW)
        steps = GpuSteps(called, head, optimizer, MAX_GRAD_NORM, None)
    for _ in range(STEPS):
        parts = packed_parts(encodings, next(batches), 1 << 30)
        if device.type == "cuda":
            losses.append(steps.update_weights(steps.prepare(parts)))
        else:
            losses.append(update_weights(called, head, parts, optimizer, MAX_GRAD_NORM, None))
    flat = torch.cat([gradient.flatten().float() for gradient in gradients])
    return _Found(logits.detach().float().cpu(), flat.cpu(), torch.tensor(losses))


def _parity(way: str, found: _Found, cpu: _Found, bound: float) -> Parity:
    of_losses = float(((found.losses - cpu.losses).abs() / cpu.losses).max())
    return Parity(
        way,
        _distance(found.logits, cpu.logits),
        _distance(found.gradients, cpu.gradients),
        of_losses,
        bound,
    )


def _distance(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())
