"""The lazy AdamW, which updates only the words of a batch, compared with PyTorch's AdamW."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from onelayer.checkpoint.build import build_model
from onelayer.checkpoint.read import read_checkpoint
from onelayer.nn import compiled
from onelayer.nn.kernels import kernels, why_no_kernels
from onelayer.nn.model import Model
from onelayer.tasks import Classify
from onelayer.training import optimizer
from onelayer.training.adamw import LazyAdamW, unwritten_zeros
from onelayer.training.optimizer import Optimizer, TorchAdamW

needs_kernels = pytest.mark.skipif(
    kernels() is None, reason=why_no_kernels() or "kernels are there"
)

N_WORDS, WIDTH, N_STEPS = 40, 32, 30


class Sentences(nn.Module):
    """Averaged and projected word vectors: enough for every kind of gradient."""

    def __init__(self, *, sparse: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.words = nn.Embedding(N_WORDS, WIDTH, sparse=sparse)
        self.layer = nn.Linear(WIDTH, 3)  # neither 3 x 32 nor 3 numbers fill whole vectors

    def loss(self, ids: Tensor) -> Tensor:
        return self.layer(self.words(ids).mean(0)).square().sum()


def batches() -> list[Tensor]:
    """Batches with some words always, most words rarely, the last words never."""
    rng = np.random.default_rng(1)
    ids = [rng.integers(0, rng.choice([3, N_WORDS - 5]), size=12) for _ in range(N_STEPS)]
    return [torch.from_numpy(batch) for batch in ids]


def rate(step: int) -> float:
    return 0.01 * (1 - step / N_STEPS)


def learned(make: Callable[[Sentences], Optimizer], *, sparse: bool) -> list[Tensor]:
    """The losses of thirty steps and the weights after them."""
    model = Sentences(sparse=sparse)
    adamw = make(model)
    losses = []
    for step, ids in enumerate(batches()):
        adamw.lr = rate(step)
        adamw.apply_missed_steps(ids)
        for part in ids.split(6):  # micro-batches
            loss = model.loss(part)
            loss.backward()
            losses.append(loss.detach())
        adamw.step(0.5)
        assert all(parameter.grad is None for parameter in model.parameters())
    adamw.apply_all_missed_steps()
    return [torch.stack(losses), *(parameter.detach() for parameter in model.parameters())]


def lazy(model: Sentences) -> LazyAdamW:
    words, weight, bias = model.words.weight, model.layer.weight, model.layer.bias
    return LazyAdamW([words, weight], [bias], words, lr=0.0, weight_decay=0.3)


def plain(model: Sentences) -> TorchAdamW:
    decayed = [model.words.weight, model.layer.weight]
    return TorchAdamW(decayed, [model.layer.bias], lr=0.0, weight_decay=0.3)


class Eager(LazyAdamW):
    """The lazy AdamW, with every word brought up to date at every step."""

    def step(self, max_norm: float) -> None:
        super().step(max_norm)
        self.apply_all_missed_steps()


@needs_kernels
def test_lazy_adamw_learns_the_same_as_pytorchs() -> None:
    for ours, theirs in zip(learned(lazy, sparse=True), learned(plain, sparse=False), strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-6, rtol=2e-6)


@needs_kernels
def test_lazy_and_eager_updates_give_the_same_bits() -> None:
    def eager(model: Sentences) -> Eager:
        words, weight, bias = model.words.weight, model.layer.weight, model.layer.bias
        return Eager([words, weight], [bias], words, lr=0.0, weight_decay=0.3)

    for ours, theirs in zip(learned(lazy, sparse=True), learned(eager, sparse=True), strict=True):
        assert torch.equal(ours, theirs)


@needs_kernels
def test_words_in_no_batch_are_decayed() -> None:
    words = learned(lazy, sparse=True)[1][-5:]
    decay = np.prod([1 - rate(step) * 0.3 for step in range(N_STEPS)])
    torch.testing.assert_close(words, Sentences(sparse=False).words.weight.detach()[-5:] * decay)


@needs_kernels
def test_step_table_grows_with_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def short(model: Sentences) -> LazyAdamW:
        adamw = lazy(model)
        monkeypatch.setattr(adamw, "_steps", np.zeros((2, 3), dtype=np.float32))
        return adamw

    for ours, theirs in zip(learned(short, sparse=True), learned(lazy, sparse=True), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("way", [pytest.param("compiled", marks=needs_kernels), "plain"])
def test_biases_and_norms_are_not_decayed(
    way: str, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With zero gradients only the decay changes weights."""
    if way == "plain":
        monkeypatch.setattr(compiled, "kernels", lambda: None)
    model = build_model(read_checkpoint(bert), Classify(labels=("a", "b"), max_length=64)).model
    adamw = optimizer.adamw(model, lr=1.0, weight_decay=0.3)
    assert isinstance(adamw, LazyAdamW if way == "compiled" else TorchAdamW)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    zero_gradients(model)
    adamw.step(1.0)
    adamw.apply_all_missed_steps()
    for name, parameter in model.named_parameters():
        spared = name.endswith("bias") or ".norm." in name
        torch.testing.assert_close(parameter.detach(), before[name] * (1.0 if spared else 0.7))


def zero_gradients(model: Model) -> None:
    words = model.encoder.embeddings.word
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    if words.sparse:
        words.weight.grad = words.weight.new_zeros(words.weight.shape).to_sparse(1)


@pytest.mark.parametrize("shape", [(3, 16), (1000, 384), (1, 48), (7,)])
def test_moments_begin_at_zero_and_at_a_cache_line(shape: tuple[int, ...]) -> None:
    zeros = unwritten_zeros(shape)
    assert zeros.shape == shape
    assert zeros.is_contiguous()
    assert zeros.data_ptr() % 64 == 0
    assert not zeros.any()
