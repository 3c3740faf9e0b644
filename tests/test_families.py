"""A second encoder family is one file and one registry entry: every command then takes it."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

import onelayer
from onelayer.base.errors import CheckpointError
from onelayer.checkpoint.bundle import read_bundle
from onelayer.checkpoint.families import FAMILIES, family_with_class
from onelayer.checkpoint.family import Family
from onelayer.checkpoint.read import read_checkpoint
from onelayer.checkpoint.weights import to_theirs
from onelayer.cli import main as cli
from onelayer.engines.registry import engines_for
from support.tiny_bert import MakeBert

SPROUT = '''
"""An encoder without segments, whose keys and tensors are called as in DistilBERT."""

from onelayer.checkpoint.family import Family, ModelClass, Module
from onelayer.tokens.tokenizer import TokenizerKind

_LAYER = "transformer.layer.{i}"

SPROUT = Family(
    model_type="sprout",
    title="Sprout",
    prefix="sprout.",
    modules=(
        Module("embeddings.word", ("embeddings.word_embeddings",), "VD"),
        Module("embeddings.position", ("embeddings.position_embeddings",), "PD"),
        Module("embeddings.norm", ("embeddings.LayerNorm",), "D", "D"),
        Module(
            "layers.{i}.attention.qkv",
            tuple(f"{_LAYER}.attention.{part}_lin" for part in "qkv"),
            "DD",
            "D",
        ),
        Module("layers.{i}.attention.output", (f"{_LAYER}.attention.out_lin",), "DD", "D"),
        Module("layers.{i}.attention.norm", (f"{_LAYER}.sa_layer_norm",), "D", "D"),
        Module("layers.{i}.feed_forward.up", (f"{_LAYER}.ffn.lin1",), "FD", "F"),
        Module("layers.{i}.feed_forward.down", (f"{_LAYER}.ffn.lin2",), "DF", "D"),
        Module("layers.{i}.feed_forward.norm", (f"{_LAYER}.output_layer_norm",), "D", "D"),
    ),
    classes={
        "SproutModel": ModelClass(pooler="pre_classifier", bare=True),
        "SproutForSequenceClassification": ModelClass(
            "SequenceClassification", "classifier", pooler="pre_classifier"
        ),
        "SproutForTokenClassification": ModelClass("TokenClassification", "classifier"),
    },
    keys={
        "hidden_size": "dim",
        "num_hidden_layers": "n_layers",
        "num_attention_heads": "n_heads",
        "intermediate_size": "hidden_dim",
        "hidden_act": "activation",
        "hidden_dropout_prob": "dropout",
        "attention_probs_dropout_prob": "attention_dropout",
        "classifier_dropout": "seq_classif_dropout",
    },
    fixed={"type_vocab_size": 0, "layer_norm_eps": 1e-12},
    tokenizer=TokenizerKind("WordPiece", ("SproutTokenizer",)),
)
'''


@pytest.fixture
def sprout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Family:
    """Registers the family, written in a file of its own, for one test."""
    package = tmp_path / "sprout_family"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "sprout.py").write_text(SPROUT)
    monkeypatch.syspath_prepend(tmp_path)
    family: Family = importlib.import_module("sprout_family.sprout").SPROUT
    monkeypatch.setitem(FAMILIES, family.model_type, family)
    yield family
    for name in ("sprout_family.sprout", "sprout_family"):
        sys.modules.pop(name)


@pytest.fixture
def pretrained(sprout: Family, bert: Path, tmp_path: Path) -> Path:
    """A Sprout with a BERT's weights; its position vectors include BERT's first segment vector."""
    folder = tmp_path / "sprout-base"
    folder.mkdir()
    config = json.loads((bert / "config.json").read_text())
    sprout_config = {sprout.keys.get(name, name): value for name, value in config.items()}
    del sprout_config["type_vocab_size"], sprout_config["layer_norm_eps"]
    sprout_config |= {"model_type": "sprout", "architectures": ["SproutModel"]}
    (folder / "config.json").write_text(json.dumps(sprout_config))
    (folder / "vocab.txt").write_bytes((bert / "vocab.txt").read_bytes())
    tensors = load_file(bert / "model.safetensors")
    segments = tensors.pop("embeddings.token_type_embeddings.weight")
    tensors["embeddings.position_embeddings.weight"] += segments[0]
    theirs = {
        "encoder.layer": "transformer.layer",
        "attention.self.query": "attention.q_lin",
        "attention.self.key": "attention.k_lin",
        "attention.self.value": "attention.v_lin",
        "attention.output.dense": "attention.out_lin",
        "attention.output.LayerNorm": "sa_layer_norm",
        "intermediate.dense": "ffn.lin1",
        "output.dense": "ffn.lin2",
        "output.LayerNorm": "output_layer_norm",
        "pooler.dense": "pre_classifier",
    }
    renamed = {}
    for name, tensor in tensors.items():
        for old, new in theirs.items():
            name = name.replace(old, new)
        renamed[name] = tensor
    save_file(renamed, folder / "model.safetensors")
    return folder


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    texts = [("good cat", "yes"), ("bad cat", "no"), ("the good cats", "yes"), ("a bad day", "no")]
    rows = (f"{text} {i},{label}\n" for i, (text, label) in enumerate(texts * 6))
    path.write_text("text,label\n" + "".join(rows))
    return path


@pytest.mark.slow
def test_new_family_works_with_every_command(
    pretrained: Path,
    reviews: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments: object) -> str:
        assert cli.main([str(argument) for argument in arguments]) == 0
        return capsys.readouterr().out

    plain = ("--epochs", 1, "--read", "cls")
    run_command("train", reviews, "--model", pretrained, "--out", "run", *plain)
    config = json.loads(Path("run/config.json").read_text())
    assert config["architectures"] == ["SproutForSequenceClassification"]
    assert (config["model_type"], config["dim"]) == ("sprout", 32)
    assert "hidden_size" not in config
    names = load_file("run/model.safetensors").keys()
    assert "sprout.transformer.layer.1.attention.k_lin.weight" in names
    assert not any("token_type" in name for name in names)
    settings = json.loads(Path("run/tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "SproutTokenizer"
    card = Path("run/README.md").read_text()
    assert "This Sprout sorts texts" in card
    assert "- sprout\n" in card

    assert "accuracy" in run_command("eval", "run", reviews)
    predictions = run_command("predict", "run", reviews)
    assert len(predictions.splitlines()) == 24
    assert "2 layers" in run_command("inspect", "run")
    run_command("report", "run", reviews)

    torch_labels = [json.loads(line)["prediction"]["label"] for line in predictions.splitlines()]
    for form in ([], ["--int8"]):
        run_command("export", "run", "--out", "bundle", "--accept", *form)
        here = engines_for(read_bundle(Path("bundle")))
        assert "onnxruntime" in here
        for engine in here:
            answers = run_command("predict", "bundle", reviews, "--engine", engine)
            labels = [json.loads(line)["prediction"]["label"] for line in answers.splitlines()]
            assert len(labels) == 24
            assert form or labels == torch_labels


@pytest.mark.slow
def test_new_family_with_berts_weights_predicts_the_same_as_bert(
    pretrained: Path, sprout: Family, bert: Path, reviews: Path, tmp_path: Path
) -> None:
    """The Sprout has a BERT's weights, so equal training gives equal predictions."""
    predictions = []
    for model in (bert, pretrained):
        recipe = onelayer.Recipe(model=str(model), epochs=1, read="cls", seed=3, lr=1e-9)
        run = onelayer.finetune(reviews, out=tmp_path / f"run-{model.name}", recipe=recipe)
        predictions.append([row.probability for row in run.predict(["a good cat", "the bad day"])])
    np.testing.assert_allclose(*predictions, atol=1e-5)


def test_weights_survive_reading_and_writing(pretrained: Path, sprout: Family) -> None:
    checkpoint = read_checkpoint(pretrained)
    assert checkpoint.left_out == []
    assert "embeddings.segment.weight" not in checkpoint.encoder
    state = checkpoint.encoder | checkpoint.poolers["pre_classifier"]
    again = to_theirs(state, sprout, sprout.encoder_class)
    there = load_file(pretrained / "model.safetensors")
    assert again.keys() == there.keys()
    assert all((again[name] == tensor).all() for name, tensor in there.items())


def test_more_layers_than_in_the_config_are_refused(pretrained: Path) -> None:
    config = json.loads((pretrained / "config.json").read_text())
    (pretrained / "config.json").write_text(json.dumps(config | {"n_layers": 1}))
    with pytest.raises(CheckpointError, match="2 layers of weights, and"):
        read_checkpoint(pretrained)


def test_wrong_value_is_named_by_the_familys_own_key(pretrained: Path) -> None:
    config = json.loads((pretrained / "config.json").read_text())
    (pretrained / "config.json").write_text(json.dumps(config | {"dim": 0}))
    with pytest.raises(CheckpointError, match="dim is 0, and must be a whole number from 1"):
        read_checkpoint(pretrained)


def test_unknown_family_is_refused_with_the_known_ones(make_bert: MakeBert, tmp_path: Path) -> None:
    known = ", ".join(FAMILIES)
    for given in ("gpt2", ["bert"], None):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": given}))
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(tmp_path)
        assert caught.value.message == f"model_type is {given!r}, and onelayer fine-tunes {known}"


def test_classes_lead_to_their_family(sprout: Family) -> None:
    assert family_with_class("SproutForTokenClassification") is sprout
    assert family_with_class("BertForTokenClassification").model_type == "bert"
    with pytest.raises(KeyError):
        family_with_class("GPT2Model")
