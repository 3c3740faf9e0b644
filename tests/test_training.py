"""Training: losses, learning rate, order of the data, dev split, best model and patience."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from onelayer.base.errors import Place
from onelayer.checkpoint.build import build_model
from onelayer.checkpoint.read import read_checkpoint
from onelayer.engines.torch_engine import TorchEngine
from onelayer.nn.heads import IGNORED
from onelayer.recipe import Recipe
from onelayer.tasks import Classify, Tag
from onelayer.tasks.tag.schemes import Scheme
from onelayer.tasks.texts import TextRow
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training.optimizer import lr_factor
from onelayer.training.sampler import Sampler
from support.encodings import padded
from support.tiny_bert import MakeBert
from support.trainers import trained

HERE = Place("rows.jsonl")
LABELS = ("bad", "good", "so-so")
TASK = Classify(labels=LABELS, max_length=64)
SINGLE: dict[str, Any] = {"labels": LABELS, "problem_type": "single_label_classification"}
WORDS = ["the cat", "good", "x y z and more of it", "京 bad", "a rather longer text, this is"]
TAGGER = Tag(labels=("B-X", "I-X", "O"), scheme=Scheme.IOB2, max_length=64, stride=8)
RECIPE = Recipe(epochs=2, lr=5e-3, batch_size=4, seed=3, precision="fp32")


def rows(n: int) -> list[TextRow]:
    return [TextRow(f"{WORDS[i % 5]} {i}", None, LABELS[i % 3], HERE) for i in range(n)]


@pytest.fixture
def classifier(make_bert: MakeBert) -> Path:
    """A checkpoint that has the head of ``TASK``, without dropout."""
    return make_bert("BertForSequenceClassification", **SINGLE)


@pytest.fixture
def encodings(tokenizer: Tokenizer) -> Encodings:
    return TASK.encode(rows(12), tokenizer, labelled=True)


# Losses and the learning rate --------------------------------------------------------------------


def test_losses_equal_a_hand_written_loop(classifier: Path, encodings: Encodings) -> None:
    """Six steps, compared with transformers' model, torch's AdamW and a schedule by hand."""
    history = trained(classifier, TASK, encodings, RECIPE).history

    model = transformers.BertForSequenceClassification.from_pretrained(classifier).train()
    spared = {"bias", "LayerNorm.weight"}
    decayed, others = [], []
    for name, parameter in model.named_parameters():
        (others if any(name.endswith(one) for one in spared) else decayed).append(parameter)
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    )
    rates = [1.0, 5 / 5, 4 / 5, 3 / 5, 2 / 5, 1 / 5]  # one step of warm-up, then down to zero
    orders = [np.random.default_rng((3, epoch)).permutation(12) for epoch in (0, 1)]
    parts = [order[start : start + 4] for order in orders for start in (0, 4, 8)]
    by_hand = []
    for examples, rate in zip(parts, rates, strict=True):
        inputs, labels = padded(encodings, examples)
        loss = model(**inputs, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate * 5e-3
        optimizer.step()
        optimizer.zero_grad()
        by_hand.append(float(loss.detach()))

    assert history.losses == pytest.approx(by_hand, abs=1e-5)
    assert max(by_hand) - min(by_hand) > 0.05  # the loss changed
    assert history.progress.lr == pytest.approx(1e-3)


def test_micro_batches_do_not_change_the_losses(classifier: Path, encodings: Encodings) -> None:
    """The whole batch at once, compared with one example at a time."""
    whole = trained(classifier, TASK, encodings, RECIPE)
    parts = trained(classifier, TASK, encodings, replace(RECIPE, token_budget=1))
    assert parts.history.losses == pytest.approx(whole.history.losses, abs=1e-6)
    logits = TorchEngine(whole.fit.model).logits(encodings)
    np.testing.assert_allclose(
        TorchEngine(parts.fit.model, token_budget=1).logits(encodings), logits, atol=1e-5
    )


@pytest.mark.parametrize(
    ("total", "warmup", "rates"),
    [
        (1, 0.1, [1.0]),
        (5, 0.0, [1.0, 0.8, 0.6, 0.4, 0.2]),
        (4, 0.5, [0.5, 1.0, 1.0, 0.5]),
        (10, 0.1, [1.0, 1.0, *(n / 9 for n in range(8, 0, -1))]),
    ],
)
def test_learning_rate_rises_then_falls_to_zero(
    total: int, warmup: float, rates: list[float]
) -> None:
    assert [lr_factor(step, total, warmup) for step in range(total)] == pytest.approx(rates)
    assert lr_factor(total, total, warmup) == 0.0


@given(st.integers(1, 300), st.floats(0.0, 0.99))
def test_learning_rate_is_positive_and_has_one_peak(total: int, warmup: float) -> None:
    rates = [lr_factor(step, total, warmup) for step in range(total)]
    assert min(rates) > 0
    assert max(rates) == 1.0
    peak = rates.index(1.0)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_fraction_of_an_epoch_is_trained(classifier: Path, encodings: Encodings) -> None:
    recipe, scores = replace(RECIPE, epochs=1.34), iter([0.1, 0.2, 0.3])
    trainer = trained(classifier, TASK, encodings, recipe, scores)
    history = trainer.history
    assert history.progress.step == len(history.losses) == 4  # 3 a whole epoch
    assert trainer.no_store.kept == [3, 4]
    lengths = encodings.lengths
    order = Sampler(12, 4, seed=3).batch(3)
    assert history.progress.tokens == int(lengths.sum() + lengths[order].sum())


# The order of the data ---------------------------------------------------------------------------


def epoch_of(sampler: Sampler, epoch: int) -> list[list[int]]:
    first = epoch * sampler.steps_per_epoch
    return [sampler.batch(step).tolist() for step in range(first, first + sampler.steps_per_epoch)]


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 5), st.integers(0, 5))
def test_epoch_has_every_example_once_in_an_order_set_by_seed_and_epoch(
    n: int, size: int, seed: int, epoch: int
) -> None:
    found = epoch_of(Sampler(n, size, seed), epoch)
    assert sorted(i for part in found for i in part) == list(range(n))
    assert [len(part) for part in found[:-1]] == [size] * (len(found) - 1)
    assert 1 <= len(found[-1]) <= size
    Sampler(n, size, seed + 1).batch(0)  # another sampler in between has no influence
    assert epoch_of(Sampler(n, size, seed), epoch) == found


def test_other_seeds_and_epochs_have_other_orders() -> None:
    orders = {
        tuple(Sampler(50, 50, seed).batch(epoch).tolist())
        for seed in range(4)
        for epoch in range(4)
    }
    assert len(orders) == 16


# The dev set -------------------------------------------------------------------------------------


def test_evaluation_uses_no_dropout_and_restores_training_mode(
    make_bert: MakeBert, encodings: Encodings
) -> None:
    folder = make_bert("BertForSequenceClassification", hidden_dropout_prob=0.4, **SINGLE)
    model = build_model(read_checkpoint(folder), TASK).model.train()
    logits = TorchEngine(model).logits(encodings)
    assert model.training
    np.testing.assert_array_equal(logits, TorchEngine(model).logits(encodings))
    np.testing.assert_array_equal(logits, TorchEngine(model.eval()).logits(encodings))


# Patience and the best model ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "patience", "kept", "best"),
    [
        ([0.1, 0.3, 0.2, 0.1, 0.4], None, [3, 6, 15], 15),
        ([0.3, 0.3, 0.2, 0.3, 0.1], None, [3], 3),  # the first of equal scores
        ([0.3, 0.3, 0.2, 0.1, 0.3], None, [3, 15], 15),  # but for the last step's
        ([0.1, 0.3, 0.2, 0.3], 2, [3, 6], 6),  # no improvement twice: no fifth epoch
        ([0.5, 0.4], 1, [3], 3),
        ([0.1, 0.2, 0.1, 0.3, 0.1], 2, [3, 6, 12], 12),
        ([math.nan, math.nan, 0.1, math.nan, 0.0], None, [3, 9], 9),
        ([math.nan, 0.1, 0.0], 1, [3, 6], 6),  # any score is better than nan
    ],
)
def test_best_model_is_kept_and_patience_stops_training(
    scores: list[float],
    patience: int | None,
    kept: list[int],
    best: int,
    classifier: Path,
    encodings: Encodings,
) -> None:
    recipe = replace(RECIPE, epochs=5, patience=patience)
    trainer = trained(classifier, TASK, encodings, recipe, iter(scores))
    history = trainer.history
    assert trainer.no_store.kept == kept
    assert history.best_step == best
    assert len(history.evaluations) == len(scores)
    assert history.progress.step == 3 * len(scores)


@pytest.mark.parametrize(
    ("epochs", "steps"),
    [(2, [3, 6]), (10, list(range(3, 31, 3))), (20, list(range(6, 61, 6))), (2.34, [3, 6, 7])],
)
def test_run_is_evaluated_ten_times_at_most(
    epochs: float, steps: list[int], classifier: Path, encodings: Encodings
) -> None:
    recipe = replace(RECIPE, epochs=epochs)
    history = trained(classifier, TASK, encodings, recipe).history
    assert [one["step"] for one in history.evaluations] == steps


# Ignored words -----------------------------------------------------------------------------------


def test_ignored_words_do_not_affect_the_loss(make_bert: MakeBert, tokenizer: Tokenizer) -> None:
    """A batch with only ignored words changes no weight."""
    folder = make_bert("BertForTokenClassification", labels=("O", "B-X", "I-X"))
    row = Tag.row({"text": ["a", "b"], "label": ["O", "B-X"]}, HERE, True)
    encodings = TAGGER.encode([row], tokenizer, labelled=True)
    assert encodings.targets is not None
    blank = replace(encodings, targets=np.full_like(encodings.targets, IGNORED))
    trainer = trained(folder, TAGGER, blank, replace(RECIPE, epochs=1))
    assert trainer.history.losses == [0.0]
    before = build_model(read_checkpoint(folder), TAGGER, seed=trainer.fit.seed).model.state_dict()
    for name, tensor in trainer.fit.model.state_dict().items():
        assert torch.equal(tensor, before[name])
