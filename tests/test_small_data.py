"""What helps where rows are few: each option against an oracle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import onelayer
from onelayer.base.errors import Place, UsageError
from onelayer.checkpoint.build import build
from onelayer.checkpoint.read import read
from onelayer.nn.heads import HEADS, IGNORED
from onelayer.nn.model import Model
from onelayer.nn.packed import Packed, pack
from onelayer.recipe import Recipe
from onelayer.tasks import Classify
from onelayer.tasks.texts import TextRow
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training import ema, loop
from onelayer.training.ema import EVERY, WeightAverage
from onelayer.training.loop import train
from onelayer.training.optimizer import adamw, layer_scales
from onelayer.training.progress import Silent
from onelayer.training.state import History
from support.encodings import LENGTHS, random_encodings
from support.tiny_bert import MakeBert

TASK = Classify(labels=("a", "b"), max_length=64)
N_OUTPUTS = {"value": 1, "span": 2, "option": 1}


def some(head: str, passes: int = 1) -> tuple[Packed, Tensor]:
    """A batch of random examples, so many times over, and random logits."""
    encodings = random_encodings(head, LENGTHS)
    batch = pack(encodings, np.tile(np.arange(encodings.n_examples), passes))
    generator = torch.Generator().manual_seed(0)
    return batch, torch.randn(len(batch.gold), N_OUTPUTS.get(head, 3), generator=generator)


# Label smoothing -------------------------------------------------------------------------------


@pytest.mark.parametrize("class_weights", [None, torch.tensor([0.5, 1.0, 3.0])])
@pytest.mark.parametrize("head", ["label", "tags"])
def test_classes_are_smoothed_as_in_torch(head: str, class_weights: Tensor | None) -> None:
    batch, logits = some(head)
    layer = HEADS[head]
    assert layer.uniform is not None
    ours = 0.7 * layer.loss(logits, batch, class_weights)
    ours += 0.3 * layer.uniform(logits, batch, class_weights)
    theirs = F.cross_entropy(
        logits, batch.gold, class_weights, ignore_index=IGNORED, label_smoothing=0.3
    )
    torch.testing.assert_close(ours / layer.weight(batch, class_weights), theirs)


@pytest.mark.parametrize("head", ["option", "span"])
def test_choices_among_reads_are_smoothed_as_in_torch(head: str) -> None:
    batch, logits = some(head)
    layer = HEADS[head]
    assert layer.uniform is not None
    ours = 0.7 * layer.loss(logits, batch, None) + 0.3 * layer.uniform(logits, batch, None)
    columns = batch.gold.reshape(len(batch.gold), -1)
    parts = zip(logits.split(batch.groups), columns.split(batch.groups), strict=True)
    theirs = [
        F.cross_entropy(chosen, right.argmax(), label_smoothing=0.3)
        for z, gold in parts
        for chosen, right in zip(z.T, gold.T, strict=True)
    ]
    torch.testing.assert_close(ours / layer.weight(batch, None), torch.stack(theirs).mean())


# R-Drop ----------------------------------------------------------------------------------------


def kl(p: Tensor, q: Tensor) -> Tensor:
    """Of distributions along the last dimension, summed."""
    return F.kl_div(q.log_softmax(-1), p.log_softmax(-1), log_target=True, reduction="sum")


def two_way(a: Tensor, b: Tensor) -> Tensor:
    return (kl(a, b) + kl(b, a)) / 2


def yes_no(logits: Tensor) -> Tensor:
    """A sigmoid as a softmax of two."""
    return torch.stack([logits, torch.zeros_like(logits)], dim=-1)


@pytest.mark.parametrize("head", sorted(HEADS))
def test_r_drop_is_the_mean_of_both_divergences_as_torch_has_them(head: str) -> None:
    batch, logits = some(head, passes=2)
    ours = HEADS[head].divergence(logits, batch, None) / HEADS[head].weight(batch, None)
    a, b = logits.chunk(2)
    groups = list(batch.groups[: len(batch.groups) // 2])
    n = len(groups)
    if head in ("option", "span"):
        by_group = zip(a.split(groups), b.split(groups), strict=True)
        theirs = sum(two_way(x.T, y.T) for x, y in by_group) / (n * a.shape[1])
    elif head == "value":
        theirs = F.mse_loss(a, b)
    elif head == "labels":
        theirs = two_way(yes_no(a), yes_no(b)) / a.numel()
    elif head == "tags":
        learned = batch.gold.chunk(2)[0] != IGNORED
        theirs = two_way(a[learned], b[learned]) / learned.sum()
    else:
        theirs = two_way(a, b) / n
    torch.testing.assert_close(ours, torch.as_tensor(theirs))


def test_r_drop_weighs_rows_by_their_class() -> None:
    batch, logits = some("label", passes=2)
    weights = torch.tensor([0.5, 1.0, 3.0])
    ours = HEADS["label"].divergence(logits, batch, weights)
    a, b = logits.chunk(2)
    by_row = torch.stack([two_way(x, y) for x, y in zip(a, b, strict=True)])
    gold = batch.gold.chunk(2)[0]
    torch.testing.assert_close(ours / 2, (by_row * weights[gold]).sum())


# Layers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["compiled", "plain"])
def test_layers_learn_at_rates_of_their_own(
    way: str, bert: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against torch's AdamW with a group a depth, over a few steps of given gradients."""
    if way == "plain":
        monkeypatch.setattr("onelayer.nn.compiled.kernels", lambda: None)
    ours, theirs = (build(read(bert), TASK).model for _ in range(2))
    optimizer = adamw(ours, lr=0.01, weight_decay=0.3, layer_decay=0.5)
    rates = {"head": 1.0, "pooler": 1.0, "encoder.layers.1": 0.5, "encoder.layers.0": 0.25}
    rates["encoder.embeddings"] = 0.125
    torchs = torch.optim.AdamW(
        {
            "params": [parameter],
            "lr": 0.01 * next(rate for start, rate in rates.items() if name.startswith(start)),
            "weight_decay": 0.3 if parameter.dim() > 1 else 0.0,
        }
        for name, parameter in theirs.named_parameters()
    )
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.grad = torch.randn(other.shape, generator=generator)
            sparse = mine is ours.encoder.embeddings.word.weight and way == "compiled"
            mine.grad = other.grad.to_sparse(1) if sparse else other.grad.clone()
        nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        optimizer.step(0.5)
        torchs.step()
    optimizer.settle()
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=2e-6, rtol=2e-6, msg=lambda m, n=name: n + m)


def test_without_decay_all_layers_learn_alike(bert: Path) -> None:
    assert set(layer_scales(build(read(bert), TASK).model, 1.0).values()) == {1.0}


def test_top_layers_are_drawn_anew_and_nothing_else_is(bert: Path) -> None:
    pretrained = build(read(bert), TASK, seed=5).model
    drawn, again = (build(read(bert), TASK, seed=5, reinit_layers=1).model for _ in range(2))
    other = build(read(bert), TASK, seed=6, reinit_layers=1).model.state_dict()
    for name, tensor in drawn.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
        if not name.startswith(("encoder.layers.1.", "pooler.")):
            assert torch.equal(tensor, pretrained.state_dict()[name])
        elif tensor.dim() > 1:
            assert not torch.equal(tensor, other[name])
            assert float(tensor.std()) == pytest.approx(0.02, rel=0.1)  # initializer_range
        else:
            assert torch.equal(tensor, torch.full_like(tensor, "norm.weight" in name))


def test_no_more_layers_are_drawn_than_there_are(bert: Path) -> None:
    with pytest.raises(UsageError, match="--reinit-layers 3: the model has 2 layers"):
        build(read(bert), TASK, reinit_layers=3)


# The moving average ----------------------------------------------------------------------------


class Moving(nn.Module):
    """A weight that is a given number at each step, and one that is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.moves = nn.Parameter(torch.zeros(3))
        self.stays = nn.Parameter(torch.ones(2), requires_grad=False)

    def at(self, step: int) -> None:
        self.moves.data.fill_(float(np.sin(step)))


STEPS = [10, 20, 24, 30, 40]
"""Looks; one comes between, for an evaluation."""


def averaged(decay: float, steps: list[int] = STEPS) -> WeightAverage:
    model = Moving()
    average = WeightAverage(model, decay)
    for step in steps:
        model.at(step)
        average.look(step)
    return average


def value(average: WeightAverage) -> float:
    return float(average.state()["moves"][0])


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.99])
def test_the_average_is_the_sum_by_hand(decay: float) -> None:
    """What a look saw counts for every step since the look before it."""
    seen = np.repeat(np.sin(STEPS), np.diff([0, *STEPS]))
    shares = decay ** np.arange(len(seen))[::-1]
    assert value(averaged(decay)) == pytest.approx(float(seen @ shares / shares.sum()), abs=1e-6)


def test_a_look_at_every_step_is_adams_average() -> None:
    mean, decay = 0.0, 0.9
    for step in range(1, 8):
        mean = decay * mean + (1 - decay) * float(np.sin(step))
    by_hand = mean / (1 - decay**7)
    assert value(averaged(decay, list(range(1, 8)))) == pytest.approx(by_hand, abs=1e-6)


def test_two_looks_at_one_step_are_one() -> None:
    assert value(averaged(0.9, [10, 20, 20])) == value(averaged(0.9, [10, 20]))


def test_looks_are_due_now_and_then() -> None:
    average = averaged(0.9)
    assert [step for step in range(1, 3 * EVERY) if average.due(step)] == [EVERY, 2 * EVERY]


def test_the_average_stands_in_for_the_weights_and_leaves() -> None:
    model = Moving()
    average = WeightAverage(model, 0.9)
    for step in (10, 20):
        model.at(step)
        average.look(step)
    mean = value(average)
    with average.in_place():
        assert model.moves.tolist() == pytest.approx([mean] * 3)
        assert model.stays.tolist() == [1.0, 1.0]
    assert model.moves.tolist() == pytest.approx([np.sin(20)] * 3)
    assert value(average) == mean


def test_an_average_that_was_put_away_goes_on_bit_for_bit() -> None:
    model, other = Moving(), Moving()
    whole, resumed = WeightAverage(model, 0.9), WeightAverage(other, 0.9)
    for step in STEPS:
        model.at(step)
        whole.look(step)
        if step == 24:
            kept = {name: tensor.clone() for name, tensor in whole.state().items()}
    resumed.load(kept)
    for step in (30, 40):
        other.at(step)
        resumed.look(step)
    for name, tensor in whole.state().items():
        assert torch.equal(tensor, resumed.state()[name])


# In the loop -----------------------------------------------------------------------------------


def trained(
    folder: Path, recipe: Recipe, tokenizer: Tokenizer, seen: list[Tensor] | None = None
) -> tuple[Model, History]:
    """Two epochs of three steps on twelve rows; the layer's weights at each evaluation."""
    rows = [TextRow(f"x {i}", None, "ab"[i % 2], Place("rows.jsonl")) for i in range(12)]
    model = build(read(folder), TASK, seed=1).model

    def evaluate() -> dict[str, float]:
        if seen is not None:
            seen.append(model.head.weight.detach().clone())
        return {"accuracy": 0.5}

    history = train(
        model,
        "label",
        TASK.encode(rows, tokenizer, labelled=True),
        replace(recipe, epochs=2, lr=5e-3, batch_size=4),
        metric="accuracy",
        evaluate=evaluate,
        keep=lambda *_: None,
        reporter=Silent(),
    )
    return model, history


def test_the_average_is_what_is_evaluated_and_training_goes_on(
    bert: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, plain_history = trained(bert, Recipe(), tokenizer)
    after: list[Tensor] = []

    class Watched(WeightAverage):
        def look(self, step: int) -> None:
            if step > len(after):
                after.append(self._learned["head.weight"].detach().clone())
            super().look(step)

    monkeypatch.setattr(loop, "WeightAverage", Watched)
    monkeypatch.setattr(ema, "EVERY", 1)
    seen: list[Tensor] = []
    model, history = trained(bert, Recipe(ema=0.8), tokenizer, seen)
    assert history.losses == plain_history.losses
    assert torch.equal(model.head.weight, plain.head.weight)
    for n, averaged in zip((3, 6), seen, strict=True):
        shares = 0.8 ** torch.arange(n).flip(0)
        by_hand = sum(share * w for share, w in zip(shares / shares.sum(), after, strict=False))
        torch.testing.assert_close(averaged, by_hand, atol=1e-6, rtol=1e-5)


def test_without_dropout_r_drop_changes_nothing(bert: Path, tokenizer: Tokenizer) -> None:
    _, plain = trained(bert, Recipe(), tokenizer)
    _, twice = trained(bert, Recipe(r_drop=3.0), tokenizer)
    _, in_parts = trained(bert, Recipe(r_drop=3.0, token_budget=1), tokenizer)
    assert twice.losses == pytest.approx(plain.losses, abs=1e-5)
    assert in_parts.losses == pytest.approx(plain.losses, abs=1e-5)


def test_r_drop_draws_dropout_twice(make_bert: MakeBert, tokenizer: Tokenizer) -> None:
    """So that two passes differ, and the loss of the first step is higher by how much."""
    folder = make_bert(hidden_dropout_prob=0.3)
    losses = [
        trained(folder, Recipe(r_drop=weight), tokenizer)[1].losses[0]
        for weight in (1e-9, 1.0, 2.0)
    ]
    assert losses[1] > losses[0]
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3)


def test_labels_are_smoothed_in_the_first_steps_loss(bert: Path, tokenizer: Tokenizer) -> None:
    """Two classes: what a smoothed target adds follows from the losses at two other shares."""
    losses = [
        trained(bert, Recipe(label_smoothing=share), tokenizer)[1].losses[0]
        for share in (0.0, 0.25, 0.5)
    ]
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], abs=1e-6)
    assert losses[0] != pytest.approx(losses[1], abs=1e-6)


def test_lower_layers_move_less_with_layer_decay(bert: Path, tokenizer: Tokenizer) -> None:
    before = build(read(bert), TASK, seed=1).model.state_dict()
    after = trained(bert, Recipe(layer_decay=0.1), tokenizer)[0].state_dict()
    moved = [
        float((after[name] - before[name]).abs().max())
        for name in (
            "pooler.weight",
            *(f"encoder.layers.{i}.feed_forward.up.weight" for i in (1, 0)),
        )
    ]
    assert moved[0] > 3 * moved[1] > 9 * moved[2] > 0


def test_smoothing_is_refused_where_nothing_is_chosen(bert: Path, tmp_path: Path) -> None:
    file = tmp_path / "numbers.csv"
    file.write_text("text,label\n" + "".join(f"x {i},{i / 7:.3f}\n" for i in range(40)))
    with pytest.raises(UsageError, match="--label-smoothing"):
        onelayer.finetune(file, model=str(bert), out=tmp_path / "run", label_smoothing=0.1)
    assert not (tmp_path / "run").exists()


# What can't be asked for -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"layer_decay": 0.0}, "--layer-decay is above 0 and at most 1, not 0.0"),
        ({"layer_decay": 1.1}, "--layer-decay"),
        ({"ema": 1.0}, "--ema is 0 to below 1, not 1.0"),
        ({"label_smoothing": -0.1}, "--label-smoothing is 0 to below 1"),
        ({"r_drop": -1.0}, "--r-drop"),
        ({"reinit_layers": -1}, "--reinit-layers"),
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, float], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        replace(Recipe(), **change)
