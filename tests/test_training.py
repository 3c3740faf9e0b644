"""Training: the curve, what repeats exactly, what is left alone, and what is chosen."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from sklearn.utils.class_weight import compute_class_weight
from torch.nn.utils.rnn import pad_sequence

import onelayer
from onelayer.checkpoint.build import Built, build, with_positions
from onelayer.checkpoint.load import read
from onelayer.errors import DataError, Place, UsageError
from onelayer.nn.heads import IGNORED
from onelayer.recipe import Recipe
from onelayer.runtime.torch_engine import TorchEngine
from onelayer.tasks import AnswerTask, Choose, Classify, Regress, Tag
from onelayer.tasks.answer import AnswerRow
from onelayer.tasks.texts import TextRow
from onelayer.text.encoding import Encodings
from onelayer.text.tags import Scheme
from onelayer.text.tokenizer import Tokenizer
from onelayer.train import run as running
from onelayer.train.loop import History, train
from onelayer.train.optimizer import adamw, freeze, lr_factor
from onelayer.train.progress import Silent
from onelayer.train.sampler import batches
from onelayer.train.split import carve

MakeBert = Callable[..., Path]

HERE = Place("rows.jsonl")
LABELS = ("bad", "good", "so-so")
TASK = Classify(labels=LABELS, max_length=64)
SINGLE: dict[str, Any] = {"labels": LABELS, "problem_type": "single_label_classification"}
WORDS = ["the cat", "good", "x y z and more of it", "京 bad", "a rather longer text, this is"]
RECIPE = Recipe(epochs=2, lr=5e-3, batch_size=4, seed=3)


def rows(n: int) -> list[TextRow]:
    return [TextRow(f"{WORDS[i % 5]} {i}", None, LABELS[i % 3], HERE) for i in range(n)]


@pytest.fixture
def classifier(make_bert: MakeBert) -> Path:
    """A checkpoint that already has the layer of ``TASK``, without dropout."""
    return make_bert("BertForSequenceClassification", **SINGLE)


@pytest.fixture
def encodings(tokenizer: Tokenizer) -> Encodings:
    return TASK.encode(rows(12), tokenizer, labelled=True)


def trained(
    folder: Path,
    encodings: Encodings,
    recipe: Recipe = RECIPE,
    scores: Iterator[float] | None = None,
    kept: list[int] | None = None,
) -> tuple[Built, History]:
    """A model trained in memory, its dev scores given."""
    built = build(read(folder), TASK, seed=recipe.seed)
    freeze(built.model, recipe.freeze)

    def keep(_: dict[str, float], history: History) -> None:
        if kept is not None:
            kept.append(history.progress.step)

    history = train(
        built.model,
        "label",
        encodings,
        recipe,
        metric="accuracy",
        evaluate=lambda: {"accuracy": 0.5 if scores is None else next(scores)},
        keep=keep,
        reporter=Silent(),
    )
    return built, history


# The curve -------------------------------------------------------------------------------------


def test_losses_are_those_of_a_loop_by_hand(classifier: Path, encodings: Encodings) -> None:
    """Six steps of our loop against transformers' model, torch's AdamW and a schedule by hand."""
    _, history = trained(classifier, encodings)

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
    assert max(by_hand) - min(by_hand) > 0.05  # it did move
    assert history.progress.lr == pytest.approx(1e-3)


def padded(
    encodings: Encodings, examples: np.ndarray
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    starts, ends = encodings.cu_seqlens[examples], encodings.cu_seqlens[examples + 1]
    ids = [
        torch.from_numpy(encodings.ids[start:end].astype(np.int64))
        for start, end in zip(starts, ends, strict=True)
    ]
    assert encodings.targets is not None
    inputs = {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(x) for x in ids], batch_first=True),
    }
    return inputs, torch.from_numpy(encodings.targets[examples])


def test_micro_batches_change_nothing(classifier: Path, encodings: Encodings) -> None:
    """Whether a batch is worked through at once or one example at a time."""
    whole, whole_history = trained(classifier, encodings)
    parts, parts_history = trained(classifier, encodings, replace(RECIPE, token_budget=1))
    assert parts_history.losses == pytest.approx(whole_history.losses, abs=1e-6)
    logits = TorchEngine(whole.model).logits(encodings)
    np.testing.assert_allclose(
        TorchEngine(parts.model, token_budget=1).logits(encodings), logits, atol=1e-5
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
def test_the_learning_rate_rises_then_falls_to_zero(
    total: int, warmup: float, rates: list[float]
) -> None:
    assert [lr_factor(step, total, warmup) for step in range(total)] == pytest.approx(rates)
    assert lr_factor(total, total, warmup) == 0.0


@given(st.integers(1, 300), st.floats(0.0, 0.99))
def test_the_learning_rate_is_positive_and_has_one_peak(total: int, warmup: float) -> None:
    rates = [lr_factor(step, total, warmup) for step in range(total)]
    assert min(rates) > 0
    assert max(rates) == 1.0
    peak = rates.index(1.0)
    assert rates[: peak + 1] == sorted(rates[: peak + 1])
    assert rates[peak:] == sorted(rates[peak:], reverse=True)


def test_biases_and_norms_do_not_decay(classifier: Path) -> None:
    model = build(read(classifier), TASK).model
    decay = {
        id(parameter): group["weight_decay"]
        for group in adamw(model, lr=1.0, weight_decay=0.3).param_groups
        for parameter in group["params"]
    }
    for name, parameter in model.named_parameters():
        spared = name.endswith("bias") or ".norm." in name
        assert decay[id(parameter)] == (0.0 if spared else 0.3), name


def test_a_fraction_of_an_epoch_is_trained(classifier: Path, encodings: Encodings) -> None:
    kept: list[int] = []
    scores = iter([0.1, 0.2, 0.3])
    _, history = trained(classifier, encodings, replace(RECIPE, epochs=1.34), scores, kept)
    assert history.progress.step == len(history.losses) == 4  # 3 a whole epoch
    assert kept == [3, 4]
    lengths = encodings.example_lengths
    order = next(batches(12, 4, seed=3, epoch=1))
    assert history.progress.tokens == int(lengths.sum() + lengths[order].sum())


# The order of the data -------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(1, 20), st.integers(0, 5), st.integers(0, 5))
def test_an_epoch_has_every_example_once_in_an_order_of_seed_and_epoch(
    n: int, size: int, seed: int, epoch: int
) -> None:
    found = [part.tolist() for part in batches(n, size, seed=seed, epoch=epoch)]
    assert sorted(i for part in found for i in part) == list(range(n))
    assert [len(part) for part in found[:-1]] == [size] * (len(found) - 1)
    assert 1 <= len(found[-1]) <= size
    again = [part.tolist() for part in batches(n, size, seed=seed, epoch=epoch)]
    assert again == found


def test_other_seeds_and_epochs_have_other_orders() -> None:
    orders = {
        tuple(next(batches(50, 50, seed=seed, epoch=epoch)).tolist())
        for seed in range(4)
        for epoch in range(4)
    }
    assert len(orders) == 16


# The dev set -----------------------------------------------------------------------------------


def test_dev_has_a_tenth_of_every_label() -> None:
    labels = ["a"] * 500 + ["b"] * 300 + ["c"] * 100 + ["d"] * 10 + ["e"]
    found = [TextRow(f"text {i}", None, label, HERE) for i, label in enumerate(labels)]
    train_rows, dev_rows = carve(Classify, found, seed=1)
    assert Counter(row.label for row in dev_rows) == {"a": 50, "b": 30, "c": 10, "d": 1}
    assert "e" in {row.label for row in train_rows}  # what is unseen there can't be learned
    assert sorted(map(id, train_rows + dev_rows)) == sorted(map(id, found))


def test_many_rare_labels_still_give_a_tenth() -> None:
    found = [TextRow(f"text {i}", None, f"label {i // 4}", HERE) for i in range(200)]
    train_rows, dev_rows = carve(Classify, found, seed=1)
    assert len(dev_rows) == 20
    assert len({row.label for row in train_rows}) == 50


def test_a_labels_only_row_is_trained_on() -> None:
    labels = [f"rare {i}" for i in range(20)] + ["common"] * 80
    found = [TextRow(f"text {i}", None, label, HERE) for i, label in enumerate(labels)]
    _, dev_rows = carve(Classify, found, seed=1)
    assert [row.label for row in dev_rows] == ["common"] * 10


def test_questions_about_one_passage_stay_together() -> None:
    found = [AnswerRow(str(i), "?", f"passage {i // 5}", (), HERE) for i in range(200)]
    train_rows, dev_rows = carve(AnswerTask, found, seed=1)
    assert not {row.passage for row in train_rows} & {row.passage for row in dev_rows}
    assert len(dev_rows) == 20


def test_the_split_follows_from_the_seed() -> None:
    found = rows(90)
    assert carve(Classify, found, seed=1) == carve(Classify, found, seed=1)
    assert carve(Classify, found, seed=1) != carve(Classify, found, seed=2)


@given(st.lists(st.sampled_from("abcde"), min_size=2, max_size=60), st.integers(0, 3))
def test_a_split_leaves_rows_on_both_sides(labels: list[str], seed: int) -> None:
    found = [TextRow(str(i), None, label, HERE) for i, label in enumerate(labels)]
    train_rows, dev_rows = carve(Classify, found, seed=seed)
    assert train_rows
    assert dev_rows
    assert sorted(int(row.text) for row in train_rows + dev_rows) == list(range(len(found)))


def test_evaluating_drops_nothing_and_training_goes_on(
    make_bert: MakeBert, encodings: Encodings
) -> None:
    folder = make_bert("BertForSequenceClassification", hidden_dropout_prob=0.4, **SINGLE)
    model = build(read(folder), TASK).model.train()
    logits = TorchEngine(model).logits(encodings)
    assert model.training
    np.testing.assert_array_equal(logits, TorchEngine(model).logits(encodings))
    np.testing.assert_array_equal(logits, TorchEngine(model.eval()).logits(encodings))


# When it stops, and what it keeps --------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "patience", "kept", "best"),
    [
        ([0.1, 0.3, 0.2, 0.1, 0.4], None, [3, 6, 15], 15),
        ([0.3, 0.3, 0.2, 0.3, 0.1], None, [3, 6, 12], 12),  # of equals the later one
        ([0.1, 0.3, 0.2, 0.3], 2, [3, 6, 12], 12),  # twice no better: no fifth epoch
        ([0.5, 0.4], 1, [3], 3),
        ([0.1, 0.2, 0.1, 0.3, 0.1], 2, [3, 6, 12], 12),
        ([math.nan, math.nan, 0.1, math.nan, 0.0], None, [3, 6, 9], 9),
        ([math.nan, 0.1, 0.0], 1, [3, 6], 6),  # a score that isn't one is nothing to fall behind
    ],
)
def test_the_best_is_kept_and_patience_ends(
    scores: list[float],
    patience: int | None,
    kept: list[int],
    best: int,
    classifier: Path,
    encodings: Encodings,
) -> None:
    steps: list[int] = []
    recipe = replace(RECIPE, epochs=5, patience=patience)
    _, history = trained(classifier, encodings, recipe, iter(scores), steps)
    assert steps == kept
    assert history.best_step == best
    assert len(history.evaluations) == len(scores)
    assert history.progress.step == 3 * len(scores)


# What is left as pretrained --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "frozen"),
    [
        ("none", ()),
        ("embeddings", ("embeddings.",)),
        ("0", ("embeddings.",)),
        ("1", ("embeddings.", "encoder.layer.0.")),
        ("2", ("embeddings.", "encoder.layer.")),
        ("encoder", ("embeddings.", "encoder.layer.", "pooler.")),
    ],
)
def test_frozen_weights_stay_and_all_others_move(
    what: str, frozen: tuple[str, ...], bert: Path, tmp_path: Path
) -> None:
    run = finetuned(tmp_path, rows(24), model=bert, freeze=what, epochs=1)
    before = load_file(bert / "model.safetensors")
    after = {
        name.removeprefix("bert."): tensor
        for name, tensor in load_file(tmp_path / "run" / "model.safetensors").items()
    }
    assert after.keys() - before.keys() == {"classifier.weight", "classifier.bias"}
    for name, tensor in before.items():
        assert torch.equal(tensor, after[name]) == name.startswith(frozen or ("-",)), name
    trained_ = sum(t.numel() for n, t in after.items() if not n.startswith(frozen or ("-",)))
    assert run.info is not None
    assert run.info["parameters"] == {
        "all": sum(tensor.numel() for tensor in after.values()),
        "trained": trained_,
        "new": 16 * 3 + 3,
    }


def test_more_layers_than_there_are_cannot_be_frozen(bert: Path) -> None:
    with pytest.raises(UsageError, match="2 layers"):
        freeze(build(read(bert), TASK).model, "3")


# From file to run ------------------------------------------------------------------------------


def finetuned(
    folder: Path, found: list[TextRow], *, model: Path, out: str = "run", **choices: Any
) -> onelayer.Predictor:
    file = folder / "rows.jsonl"
    lines = [{"text": row.text, "label": row.label} for row in found]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    settings = {"epochs": 2, "lr": 5e-3, "batch_size": 8} | choices
    return onelayer.finetune(file, model=str(model), out=folder / out, **settings)


def test_two_runs_write_the_same_bytes(make_bert: MakeBert, tmp_path: Path) -> None:
    """Dropout on: order, masks and the new layer all follow from the seed."""
    model = make_bert(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    torch.manual_seed(0)
    finetuned(tmp_path, rows(24), model=model, out="one")
    torch.manual_seed(1)  # what the process did before has no part in it
    finetuned(tmp_path, rows(24), model=model, out="two")
    finetuned(tmp_path, rows(24), model=model, out="other", seed=2)
    one, two, other = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "other")
    )
    assert one == two
    assert one != other


def test_class_weights_are_scikit_learns_balanced_ones(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [TextRow(f"x {i}", None, "ab"[i % 10 == 0], HERE) for i in range(100)]
    seen = spy_on_training(monkeypatch)
    with pytest.raises(InterruptedError):
        finetuned(tmp_path, found, model=bert, class_weights=True)
    targets = seen["encodings"].targets
    assert Counter(targets.tolist()) == {0: 81, 1: 9}
    expected = compute_class_weight("balanced", classes=np.arange(2), y=targets)
    assert seen["class_weights"].tolist() == pytest.approx(expected.tolist())
    assert not (tmp_path / "run").exists()  # a run that came to nothing leaves nothing


def test_class_weights_of_several_labels_are_absences_per_presence(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        TextRow(f"x {i}", None, ["a", "b"] if i % 4 == 0 else ["b"], HERE)  # type: ignore[arg-type]
        for i in range(40)
    ]
    seen = spy_on_training(monkeypatch)
    with pytest.raises(InterruptedError):
        finetuned(tmp_path, found, model=bert, class_weights=True)
    targets = seen["encodings"].targets
    present = targets.sum(axis=0)
    assert present.tolist() == [9, 36]
    assert seen["class_weights"].tolist() == pytest.approx([27 / 9, 0.0])


def spy_on_training(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Sees what would be trained with, and stops before it is."""
    seen: dict[str, Any] = {}

    def stop(model: Any, head: str, encodings: Encodings, recipe: Recipe, **how: Any) -> None:
        seen.update(how, encodings=encodings, recipe=recipe)
        raise InterruptedError

    monkeypatch.setattr(running, "train", stop)
    return seen


def test_class_weights_need_classes(bert: Path, tmp_path: Path) -> None:
    found = [replace(row, label=float(i) / 7) for i, row in enumerate(rows(24))]
    with pytest.raises(UsageError, match="class-weights"):
        finetuned(tmp_path, found, model=bert, class_weights=True)
    assert not (tmp_path / "run").exists()


def test_a_label_that_only_dev_has_is_refused_before_anything_is_written(
    bert: Path, tmp_path: Path
) -> None:
    dev = tmp_path / "dev.jsonl"
    dev.write_text('{"text": "x", "label": "new"}\n{"text": "y", "label": "bad"}\n')
    with pytest.raises(DataError, match="'new'"):
        finetuned(tmp_path, rows(24), model=bert, dev=dev)
    assert not (tmp_path / "run").exists()


def test_what_is_chosen_is_kept(bert: Path, tmp_path: Path) -> None:
    """Few rows are passed over more often, narrow models learn faster; both are said and saved."""
    said: list[str] = []

    class Reporter(Silent):
        def say(self, remark: str) -> None:
            said.append(remark)

    run = finetuned(
        tmp_path, rows(24), model=bert, reporter=Reporter(), epochs=None, lr=None, batch_size=32
    )
    info = run.info
    assert info is not None
    assert info["recipe"]["epochs"] == 20
    assert info["recipe"]["lr"] == pytest.approx(3e-5 * 768 / 16, rel=0.05)
    assert info["recipe"]["task"] == "classify"
    assert set(info["choices"]) <= set(said)
    assert any("epochs = 20" in remark for remark in info["choices"])
    assert Recipe.from_json(info["recipe"]).epochs == 20


# Regression ------------------------------------------------------------------------------------


def test_numbers_come_out_in_their_unit_for_every_reader(bert: Path, tmp_path: Path) -> None:
    """Prices in thousands: learned as numbers of deviation one, saved as what they are."""
    found = [
        TextRow("good " * (1 + i % 4), None, 250_000.0 + 50_000.5 * (i % 4), HERE)
        for i in range(48)
    ]
    run = finetuned(tmp_path, found, model=bert, epochs=20, lr=0.01, seed=2)
    texts = ["good " * n for n in range(1, 5)]
    values = [one.value for one in run.predict(texts)]
    assert values == pytest.approx([row.label for row in found[:4]], rel=0.1)
    assert values == sorted(values)
    assert run.task == Regress(max_length=64)  # nothing is left to scale

    model = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "run").eval()
    tokenize = transformers.AutoTokenizer.from_pretrained(tmp_path / "run")
    with torch.inference_mode():
        theirs = model(**tokenize(texts, padding=True, return_tensors="pt")).logits[:, 0]
    assert model.config.problem_type == "regression"
    assert values == pytest.approx(theirs.tolist(), rel=1e-5)


def test_a_regression_goes_on_from_where_it_was(make_bert: MakeBert, tokenizer: Tokenizer) -> None:
    """A kept layer gives the same numbers, whatever mean and deviation the new rows have."""
    folder = make_bert("BertForSequenceClassification", num_labels=1, problem_type="regression")
    inputs = [replace(row, label=None) for row in rows(6)]

    def values(task: Regress) -> list[float]:
        built = build(read(folder), task)
        assert built.kept_head
        encodings = task.encode(inputs, tokenizer, labelled=False)
        logits = TorchEngine(built.model).logits(encodings)
        return [one.value for one in task.decode(inputs, encodings, logits)]

    plain = values(Regress(max_length=64))
    assert values(Regress(max_length=64, mean=300.0, deviation=50.0)) == pytest.approx(
        plain, abs=1e-4
    )


# A checkpoint's own layer ----------------------------------------------------------------------

TAGGER = Tag(labels=("B-X", "I-X", "O"), scheme=Scheme.IOB2, max_length=64, stride=8)


@pytest.mark.parametrize("order", [LABELS, LABELS[::-1], ("good", "so-so", "bad")])
def test_a_layer_for_the_same_labels_is_kept_by_name(
    order: tuple[str, ...], make_bert: MakeBert, tokenizer: Tokenizer
) -> None:
    folder = make_bert("BertForSequenceClassification", labels=order)
    built = build(read(folder), TASK)
    assert built.kept_head
    inputs = [replace(row, label=None) for row in rows(5)]
    encodings = TASK.encode(inputs, tokenizer, labelled=False)
    found = TASK.decode(inputs, encodings, TorchEngine(built.model).logits(encodings))

    model = transformers.BertForSequenceClassification.from_pretrained(folder).eval()
    for i, one in enumerate(found):
        ids, _ = padded(TASK.encode(rows(5), tokenizer, labelled=True), np.asarray([i]))
        with torch.inference_mode():
            p = model(**ids).logits[0].softmax(-1).tolist()
        assert one.probabilities == pytest.approx(dict(zip(order, p, strict=True)), abs=1e-5)


@pytest.mark.parametrize(
    ("architecture", "config", "task", "kept"),
    [
        ("BertForSequenceClassification", {"labels": ("bad", "good", "ok")}, TASK, False),
        ("BertForSequenceClassification", {"labels": ("bad", "good")}, TASK, False),
        ("BertForSequenceClassification", {"num_labels": 3}, TASK, False),
        ("BertForSequenceClassification", SINGLE, replace(TASK, multi_label=True), False),
        ("BertForSequenceClassification", SINGLE, Regress(max_length=64), False),
        ("BertForTokenClassification", {"labels": LABELS}, TASK, False),
        ("BertForTokenClassification", {"labels": ("O", "B-X", "I-X")}, TAGGER, True),
        ("BertForTokenClassification", {"labels": ("O", "B-Y", "I-Y")}, TAGGER, False),
        ("BertForMultipleChoice", {}, Choose(max_length=64), True),
        ("BertModel", {}, TASK, False),
    ],
)
def test_a_layer_for_anything_else_is_drawn_anew(
    architecture: str, config: dict[str, Any], task: Any, kept: bool, make_bert: MakeBert
) -> None:
    checkpoint = read(make_bert(architecture, **config))
    built = build(checkpoint, task, seed=1)
    assert built.kept_head == kept
    weight, bias = built.model.head.weight, built.model.head.bias
    if kept:
        theirs = checkpoint.head["head.weight"]
        assert sorted(weight.tolist()) == sorted(theirs.tolist())
        return
    assert weight.shape == (len(task.outputs), 16)
    assert not bias.any()
    assert 0.01 < float(weight.detach().std()) < 0.03  # the config's initializer_range is 0.02
    assert torch.equal(weight, build(checkpoint, task, seed=1).model.head.weight)
    assert not torch.equal(weight, build(checkpoint, task, seed=2).model.head.weight)


def test_a_run_goes_on_from_a_run(bert: Path, tmp_path: Path) -> None:
    """Its layer is kept for the same labels, and the record says that none is new."""
    first = finetuned(tmp_path, rows(24), model=bert, epochs=1)
    assert first.path is not None
    second = finetuned(tmp_path, rows(24)[::-1], model=first.path, out="next", lr=1e-9)
    assert second.info is not None
    assert second.info["parameters"]["new"] == 0
    texts = [row.text for row in rows(6)]
    for one, other in zip(first.predict(texts), second.predict(texts), strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


def test_a_checkpoint_without_a_pooler_gets_one(make_bert: MakeBert) -> None:
    """A tagger's checkpoint has none; a classifier draws it, a tagger does without."""
    checkpoint = read(make_bert("BertForTokenClassification", labels=LABELS))
    built = build(checkpoint, TASK)
    assert not built.kept_pooler
    assert built.model.pooler is not None
    assert 0.01 < float(built.model.pooler.weight.detach().std()) < 0.03
    assert build(checkpoint, TAGGER).model.pooler is None


# More positions --------------------------------------------------------------------------------


def test_positions_are_extended_for_long_texts(bert: Path, tmp_path: Path) -> None:
    run = finetuned(tmp_path, rows(24), model=bert, positions=128, epochs=1)
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["max_position_embeddings"] == 128
    assert run.task == replace(TASK, max_length=128)
    run.predict(["x " * 120])
    assert run.cut.tokens == 0
    run.predict(["x " * 130])
    assert run.cut.tokens == 130 - 126
    transformers.BertForSequenceClassification.from_pretrained(tmp_path / "run")


def test_extended_positions_start_from_the_trained_ones(bert: Path) -> None:
    name = "embeddings.position.weight"
    checkpoint = read(bert)
    extended = with_positions(checkpoint, 127)  # 64 points with one between each two
    assert extended.config.max_position_embeddings == 127
    old, new = checkpoint.encoder[name], extended.encoder[name]
    torch.testing.assert_close(new[::2], old, atol=1e-5, rtol=0)
    torch.testing.assert_close(new[1::2], (old[1:] + old[:-1]) / 2, atol=1e-5, rtol=0)


def test_a_length_beyond_the_positions_is_refused(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="64 positions"):
        finetuned(tmp_path, rows(24), model=bert, max_length=100)


# Words that are read twice ---------------------------------------------------------------------


def test_ignored_words_have_no_part_in_the_loss(make_bert: MakeBert, tokenizer: Tokenizer) -> None:
    """A batch of which nothing is learned from changes nothing."""
    folder = make_bert("BertForTokenClassification", labels=("O", "B-X", "I-X"))
    row = Tag.row({"text": ["a", "b"], "label": ["O", "B-X"]}, HERE, True)
    encodings = TAGGER.encode([row], tokenizer, labelled=True)
    assert encodings.targets is not None
    blank = replace(encodings, targets=np.full_like(encodings.targets, IGNORED))
    built = build(read(folder), TAGGER)
    before = {name: p.detach().clone() for name, p in built.model.named_parameters()}
    history = train(
        built.model,
        "tags",
        blank,
        replace(RECIPE, epochs=1),
        metric="f1",
        evaluate=lambda: {"f1": 0.0},
        keep=lambda *_: None,
        reporter=Silent(),
    )
    assert history.losses == [0.0]
    for name, parameter in built.model.named_parameters():
        assert torch.equal(parameter, before[name])
