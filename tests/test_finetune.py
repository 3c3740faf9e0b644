"""Fine-tuning from a file to a saved run."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

import onelayer
from onelayer.base import digest
from onelayer.base.errors import CheckpointError, DataError, Place, UsageError
from onelayer.checkpoint import read as reading
from onelayer.checkpoint import weight_files
from onelayer.checkpoint.build import build_model, with_positions
from onelayer.checkpoint.read import read_checkpoint
from onelayer.engines.torch_engine import TorchEngine
from onelayer.nn.packed import pack
from onelayer.recipe import Precision, Recipe
from onelayer.tasks import AnswerTask, Choose, Classify, Regress, Tag
from onelayer.tasks.tag.schemes import Scheme
from onelayer.tasks.texts import TextRow
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training.optimizer import freeze
from onelayer.training.progress import Silent
from onelayer.training.trainer import Trainer
from support.encodings import padded
from support.tiny_bert import MakeBert

pytestmark = pytest.mark.slow

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
    """A checkpoint that has the head of ``TASK``, without dropout."""
    return make_bert("BertForSequenceClassification", **SINGLE)


@pytest.fixture
def encodings(tokenizer: Tokenizer) -> Encodings:
    return TASK.encode(rows(12), tokenizer, labelled=True)


# From file to run --------------------------------------------------------------------------------


def finetuned(
    folder: Path, found: list[TextRow], *, model: Path, out: str = "run", **choices: Any
) -> onelayer.Predictor:
    file = folder / "rows.jsonl"
    lines = [{"text": row.text, "label": row.label} for row in found]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    settings = {"epochs": 2, "lr": 5e-3, "batch_size": 8, "folds": 0} | choices
    return onelayer.finetune(file, model=str(model), out=folder / out, **settings)


def test_same_seed_writes_the_same_bytes(make_bert: MakeBert, tmp_path: Path) -> None:
    """With dropout: order, masks and the new head all follow from the seed."""
    model = make_bert(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)
    torch.manual_seed(0)
    finetuned(tmp_path, rows(24), model=model, out="one")
    torch.manual_seed(1)  # the state of the process has no influence
    finetuned(tmp_path, rows(24), model=model, out="two")
    finetuned(tmp_path, rows(24), model=model, out="other", seed=2)
    one, two, other = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two", "other")
    )
    assert one == two
    assert one != other


def test_base_is_hashed_once_and_read_once_per_seed(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[Path] = []
    read_from: list[Path] = []
    of_file = digest.of_file
    monkeypatch.setattr(digest, "of_file", lambda path: hashed.append(path) or of_file(path))

    def read_weights(folder: Path) -> dict[str, Tensor]:
        read_from.append(folder)
        return weight_files.read_weights(folder)

    monkeypatch.setattr(reading, "read_weights", read_weights)
    finetuned(tmp_path, rows(24), model=bert, seeds=3)
    assert hashed.count(bert / "model.safetensors") == 1
    assert hashed.count(tmp_path / "rows.jsonl") == 1
    assert read_from.count(bert) == 3


def test_base_without_weights_is_refused_before_tokenizing(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "vocab.txt"):
        (model / name).write_bytes((bert / name).read_bytes())
    monkeypatch.setattr("onelayer.training.plan.read_data", pytest.fail)
    with pytest.raises(CheckpointError, match="holds no weights"):
        finetuned(tmp_path, rows(24), model=model)
    with (model / "model.safetensors").open("wb") as file:
        file.truncate(1 << 40)  # a sparse terabyte, which would take an hour to hash
    with pytest.raises(CheckpointError, match="weights of 1,099,511"):
        finetuned(tmp_path, rows(24), model=model)
    assert not (tmp_path / "run").exists()


def test_class_weights_equal_sklearns_balanced_weights(
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
    assert not (tmp_path / "run").exists()  # a failed run leaves nothing


def test_multi_label_class_weights_are_negatives_per_positive(
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
    """Records the arguments of training and stops before the first step."""
    seen: dict[str, Any] = {}

    def stop(trainer: Trainer) -> None:
        seen.update(encodings=trainer.fit.encodings, class_weights=trainer.fit.class_weights)
        raise InterruptedError

    monkeypatch.setattr(Trainer, "train", stop)
    return seen


def test_class_weights_without_classes_are_refused(bert: Path, tmp_path: Path) -> None:
    found = [replace(row, label=float(i) / 7) for i, row in enumerate(rows(24))]
    with pytest.raises(UsageError, match="class-weights"):
        finetuned(tmp_path, found, model=bert, class_weights=True)
    assert not (tmp_path / "run").exists()


def test_label_found_only_in_dev_is_refused_before_anything_is_written(
    bert: Path, tmp_path: Path
) -> None:
    dev = tmp_path / "dev.jsonl"
    dev.write_text('{"text": "x", "label": "new"}\n{"text": "y", "label": "bad"}\n')
    with pytest.raises(DataError, match="'new'"):
        finetuned(tmp_path, rows(24), model=bert, dev=dev)
    assert not (tmp_path / "run").exists()


def test_dev_rows_that_are_also_training_rows_are_counted(bert: Path, tmp_path: Path) -> None:
    found = rows(24)
    dev = tmp_path / "dev.jsonl"
    lines = [
        {"text": f" {row.text.upper()}!" if i < 5 else f"new {i}", "label": row.label}
        for i, row in enumerate(found[:12])
    ]
    dev.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    for out in ("run", "again"):  # the second time from the cache
        run = finetuned(tmp_path, found, model=bert, out=out, dev=dev, epochs=1)
        assert run.record is not None
        (said,) = (one for one in run.record.choices or () if "training rows" in one)
        assert said.startswith("warning: 5 of 12 dev rows have the texts of training rows")
        assert said.endswith("leave them out of dev.jsonl")


def test_chosen_settings_are_reported_and_saved(bert: Path, tmp_path: Path) -> None:
    """Few rows get more epochs and narrow models a higher rate; both are reported and saved."""
    remarks: list[str] = []

    class Reporter(Silent):
        def say(self, remark: str) -> None:
            remarks.append(remark)

    run = finetuned(
        tmp_path, rows(24), model=bert, reporter=Reporter(), epochs=None, lr=None, batch_size=32
    )
    assert run.record is not None
    info = run.record.to_json()
    assert info["recipe"]["epochs"] == 20
    assert info["recipe"]["lr"] == pytest.approx(3e-5 * 768 / 32, rel=0.05)
    assert info["recipe"]["task"] == "classify"
    assert set(info["choices"]) <= set(remarks)
    assert any("epochs = 20" in remark for remark in info["choices"])
    assert Recipe.from_json(info["recipe"]).epochs == 20


# Regression --------------------------------------------------------------------------------------


def test_saved_regression_predicts_in_the_original_unit(bert: Path, tmp_path: Path) -> None:
    """Prices in thousands: trained with a standard deviation of one, saved in their own unit."""
    found = [
        TextRow("good " * (1 + i % 4), None, 250_000.0 + 50_000.5 * (i % 4), HERE)
        for i in range(48)
    ]
    file = tmp_path / "rows.jsonl"  # also dev, so that all four texts are learned
    run = finetuned(tmp_path, found, model=bert, epochs=20, lr=0.01, seed=2, dev=file)
    texts = ["good " * n for n in range(1, 5)]
    values = [one.value for one in run.predict(texts)]
    assert values == pytest.approx([row.label for row in found[:4]], rel=0.1)
    assert values == sorted(values)
    expected = Regress(max_length=64, stride=16, pooling="mean")
    assert run.task == expected  # the scale is part of the weights

    model = transformers.BertForSequenceClassification.from_pretrained(tmp_path / "run").eval()
    tokenize = transformers.AutoTokenizer.from_pretrained(tmp_path / "run")
    with torch.inference_mode():
        theirs = model(**tokenize(texts, padding=True, return_tensors="pt")).logits[:, 0]
    assert model.config.problem_type == "regression"
    assert values == pytest.approx(theirs.tolist(), rel=1e-5)


def test_kept_regression_head_gives_the_same_numbers_on_new_data(
    make_bert: MakeBert, tokenizer: Tokenizer
) -> None:
    """A kept head gives the same numbers for any mean and deviation of the new rows."""
    folder = make_bert("BertForSequenceClassification", num_labels=1, problem_type="regression")
    inputs = [replace(row, label=None) for row in rows(6)]

    def values(task: Regress) -> list[float]:
        built = build_model(read_checkpoint(folder), task)
        assert built.kept_head
        encodings = task.encode(inputs, tokenizer, labelled=False)
        logits = TorchEngine(built.model).logits(encodings)
        return [one.value for one in task.decode(inputs, encodings, logits)]

    plain = values(Regress(max_length=64))
    assert values(Regress(max_length=64, mean=300.0, deviation=50.0)) == pytest.approx(
        plain, abs=1e-4
    )


# A checkpoint's own head -------------------------------------------------------------------------

TAGGER = Tag(labels=("B-X", "I-X", "O"), scheme=Scheme.IOB2, max_length=64, stride=8)


@pytest.mark.parametrize("order", [LABELS, LABELS[::-1], ("good", "so-so", "bad")])
def test_head_for_the_same_labels_is_kept_and_reordered_by_name(
    order: tuple[str, ...], make_bert: MakeBert, tokenizer: Tokenizer
) -> None:
    folder = make_bert("BertForSequenceClassification", labels=order)
    built = build_model(read_checkpoint(folder), TASK)
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
def test_head_for_other_labels_is_initialized_from_the_seed(
    architecture: str, config: dict[str, Any], task: Any, kept: bool, make_bert: MakeBert
) -> None:
    checkpoint = read_checkpoint(make_bert(architecture, **config))
    built = build_model(checkpoint, task, seed=1)
    assert built.kept_head == kept
    weight, bias = built.model.head.weight, built.model.head.bias
    if kept:
        theirs = checkpoint.head["head.weight"]
        assert sorted(weight.tolist()) == sorted(theirs.tolist())
        return
    assert weight.shape == (len(task.outputs), 32)
    assert not bias.any()
    assert 0.01 < float(weight.detach().std()) < 0.03  # the config's initializer_range is 0.02
    assert torch.equal(weight, build_model(checkpoint, task, seed=1).model.head.weight)
    assert not torch.equal(weight, build_model(checkpoint, task, seed=2).model.head.weight)


def test_training_continues_from_a_run_with_its_head(bert: Path, tmp_path: Path) -> None:
    """The head is kept for the same labels, and the record counts no new parameters."""
    first = finetuned(tmp_path, rows(24), model=bert, epochs=1)
    assert first.path is not None
    second = finetuned(tmp_path, rows(24)[::-1], model=first.path, out="next", lr=1e-9)
    assert second.record is not None
    assert second.record.to_json()["parameters"]["new"] == 0
    for run in (first, second):  # each is calibrated on its own dev rows
        assert isinstance(run.task, Classify)
        run.task = replace(run.task, calibration=None)
    texts = [row.text for row in rows(6)]
    for one, other in zip(first.predict(texts), second.predict(texts), strict=True):
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)


def test_missing_pooler_is_initialized_if_the_task_needs_it(make_bert: MakeBert) -> None:
    """A tagger's checkpoint has no pooler: a classifier initializes one, a tagger needs none."""
    checkpoint = read_checkpoint(make_bert("BertForTokenClassification", labels=LABELS))
    built = build_model(checkpoint, TASK)
    assert not built.kept_pooler
    assert built.model.pooler is not None
    assert 0.01 < float(built.model.pooler.weight.detach().std()) < 0.03
    assert build_model(checkpoint, TAGGER).model.pooler is None


# More positions ----------------------------------------------------------------------------------


def test_positions_option_extends_the_maximum_length(bert: Path, tmp_path: Path) -> None:
    run = finetuned(tmp_path, rows(24), model=bert, positions=128, epochs=1, long="truncate")
    config = json.loads((tmp_path / "run" / "config.json").read_text(encoding="utf-8"))
    assert config["max_position_embeddings"] == 128
    assert isinstance(run.task, Classify)
    assert replace(run.task, calibration=None) == replace(TASK, max_length=128, stride=32)
    run.predict(["x " * 120])
    assert run.cut.tokens == 0
    run.predict(["x " * 130])
    assert run.cut.tokens == 130 - 126
    transformers.BertForSequenceClassification.from_pretrained(tmp_path / "run")


def test_extended_positions_interpolate_trained_positions(bert: Path) -> None:
    name = "embeddings.position.weight"
    checkpoint = read_checkpoint(bert)
    extended = with_positions(checkpoint, 127)  # 64 points with a new one between each pair
    assert extended.config.max_position_embeddings == 127
    old, new = checkpoint.encoder[name], extended.encoder[name]
    torch.testing.assert_close(new[::2], old, atol=1e-5, rtol=0)
    torch.testing.assert_close(new[1::2], (old[1:] + old[:-1]) / 2, atol=1e-5, rtol=0)


def test_max_length_beyond_the_positions_is_refused(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="64 positions"):
        finetuned(tmp_path, rows(24), model=bert, max_length=100)


def test_positions_without_vectors_arent_extended(make_bert: MakeBert, tmp_path: Path) -> None:
    bare = make_bert(
        "DebertaV2Model", relative_attention=True, pos_att_type="c2p", position_biased_input=False
    )
    with pytest.raises(UsageError, match="DeBERTa-v2 without vectors of positions"):
        finetuned(tmp_path, rows(24), model=bare, positions=128)


# Frozen weights and initial values ---------------------------------------------------------------


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
def test_frozen_weights_stay_and_all_others_change(
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
    assert run.record is not None
    assert run.record.to_json()["parameters"] == {
        "all": sum(tensor.numel() for tensor in after.values()),
        "trained": trained_,
        "new": 32 * 3 + 3,
    }


def test_freezing_more_layers_than_exist_is_refused(bert: Path) -> None:
    with pytest.raises(UsageError, match="2 layers"):
        freeze(build_model(read_checkpoint(bert), TASK).model, "3")


def test_new_three_way_head_starts_from_its_prior(make_bert: MakeBert) -> None:
    """At first the three-way head predicts "neither start nor end" for each token."""
    checkpoint = read_checkpoint(make_bert())
    three_way = AnswerTask(max_length=64, stride=8, max_answer_tokens=9, span_head="three-way")

    p = build_model(checkpoint, three_way).model.head.bias.softmax(0)

    assert p[0] > 0.98
    assert p[1] == p[2] > 0
    assert not build_model(checkpoint, replace(three_way, span_head="span")).model.head.bias.any()


def test_new_multi_label_head_starts_from_log_odds(bert: Path, tmp_path: Path) -> None:
    """Nine rows have ``a``, three have ``b``; at this learning rate the biases don't move."""
    found = [TextRow(f"cat {i}", None, ("a",) if i % 4 else ("b",), HERE) for i in range(12)]
    dev = tmp_path / "dev.jsonl"
    dev.write_text('{"text": "cat", "label": ["a"]}\n')
    finetuned(tmp_path, found, model=bert, dev=dev, lr=1e-9, epochs=1, multi_label=True)
    bias = load_file(tmp_path / "run" / "model.safetensors")["classifier.bias"]
    odds = torch.tensor([10 / 4, 4 / 10])
    torch.testing.assert_close(bias, odds.log())


def test_precision_is_measured_reported_and_saved(bert: Path, tmp_path: Path) -> None:
    run = finetuned(tmp_path, rows(12), model=bert, epochs=1)
    assert run.record is not None
    info = run.record.to_json()
    (line,) = (remark for remark in info["choices"] if remark.startswith("precision = "))
    assert line.startswith(f"precision = {info['recipe']['precision']}, ")
    again = finetuned(tmp_path, rows(12), model=bert, epochs=1, out="two", precision="bf16")
    assert again.record is not None
    info = again.record.to_json()
    assert info["recipe"]["precision"] == "bf16"
    assert not [remark for remark in info["choices"] if "measured" in remark]


def test_bf16_is_used_in_training_but_not_in_inference(bert: Path) -> None:
    checkpoint = read_checkpoint(bert)
    task = Classify(labels=("a", "b"), max_length=64)
    model = build_model(checkpoint, task).model
    batch_rows = [task.row({"text": "the good cats", "label": "a"}, Place("-"), True)]
    encodings = task.encode(batch_rows, checkpoint.tokenizer, labelled=True)
    batch = pack(encodings, np.arange(1))

    def logits(precision: Precision, training: bool) -> Tensor:
        model.train_in(precision)
        model.train(training)
        out: Tensor = model(batch)
        return out.detach()

    assert not torch.equal(logits("bf16", True), logits("fp32", True))
    torch.testing.assert_close(logits("bf16", True), logits("fp32", True), atol=0.05, rtol=0.05)
    assert torch.equal(logits("bf16", False), logits("fp32", False))
