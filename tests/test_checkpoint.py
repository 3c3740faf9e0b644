"""Model directories: we and transformers read each other's; damaged ones are refused."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, PreTrainedModel

from onelayer.base.disk import publish
from onelayer.base.errors import CheckpointError, UsageError
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.read import Checkpoint, extend_positions, read_checkpoint
from onelayer.checkpoint.record import ModelRecord
from onelayer.checkpoint.save import write_checkpoint
from onelayer.checkpoint.weights import to_ours, to_theirs
from onelayer.data.layout import Layout
from onelayer.nn.encoder import ACTIVATIONS
from onelayer.tasks import Classify

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "##s", "sat", "on"]
WITH_HEAD = {
    "BertForSequenceClassification": ("classifier", 3),
    "BertForTokenClassification": ("classifier", 3),
    "BertForQuestionAnswering": ("qa_outputs", 2),
    "BertForMultipleChoice": ("classifier", 1),
}
ARCHITECTURES = ["BertModel", *WITH_HEAD]
LABELS = ["no", "yes", "可能"]
RECORD = ModelRecord(
    task=Classify(labels=tuple(LABELS), max_length=12), layout=Layout({"text": "t", "label": "l"})
)


def their_model(architecture: str) -> PreTrainedModel:
    """A 2-layer model of transformers with random weights, biases and LayerNorms included."""
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=6,
        max_position_embeddings=12,
        architectures=[architecture],
    )
    if architecture in ("BertForSequenceClassification", "BertForTokenClassification"):
        config.id2label = dict(enumerate(LABELS))
        config.label2id = {label: i for i, label in enumerate(LABELS)}
    model = getattr(transformers, architecture)(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    assert isinstance(model, PreTrainedModel)
    return model


def whole_state(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """The weights under our names, as a model has them."""
    pooler = checkpoint.poolers.get("pooler.dense", {})
    return checkpoint.encoder | pooler | checkpoint.head


def saved(model: PreTrainedModel, folder: Path, **how: Any) -> Path:
    model.save_pretrained(folder, **how)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return folder


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    data = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps(data), encoding="utf-8")


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A directory with a ``BertModel``."""
    return saved(their_model("BertModel"), tmp_path / "bert")


# Reading theirs


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_checkpoints_of_transformers_are_read(architecture: str, tmp_path: Path) -> None:
    model = their_model(architecture)
    state = model.state_dict()
    prefix = "" if architecture == "BertModel" else "bert."

    checkpoint = read_checkpoint(saved(model, tmp_path / "m"))

    assert checkpoint.architecture == architecture
    assert checkpoint.left_out == []
    assert checkpoint.record is None
    assert checkpoint.config.hidden_size == 8
    assert checkpoint.config.head_dropout == 0.1
    query, key, value = (
        state[f"{prefix}encoder.layer.1.attention.self.{part}.weight"]
        for part in ("query", "key", "value")
    )
    found = checkpoint.encoder["layers.1.attention.qkv.weight"]
    assert torch.equal(found, torch.cat([query, key, value]))
    found = checkpoint.encoder["layers.0.feed_forward.norm.bias"]
    assert torch.equal(found, state[f"{prefix}encoder.layer.0.output.LayerNorm.bias"])
    pooled = f"{prefix}pooler.dense.weight" in state
    assert ("pooler.dense" in checkpoint.poolers) is pooled
    if architecture in WITH_HEAD:
        name, rows = WITH_HEAD[architecture]
        assert checkpoint.head["head.weight"].shape == (rows, 8)
        assert torch.equal(checkpoint.head["head.bias"], state[f"{name}.bias"])
        assert checkpoint.labels == (LABELS if rows == 3 else None)
    else:
        assert checkpoint.head == {}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_tensor_names_map_both_ways(architecture: str) -> None:
    model = their_model(architecture)
    config = EncoderConfig.from_json(model.config.to_dict(), "config.json")
    ours = to_ours(model.state_dict(), config, architecture, "model")
    state = ours.encoder | ours.poolers.get("pooler.dense", {}) | ours.head
    theirs = to_theirs(state, config.family, architecture)
    assert ours.left_out == []
    assert theirs.keys() == model.state_dict().keys()
    assert all(torch.equal(theirs[name], tensor) for name, tensor in model.state_dict().items())


def test_pretraining_heads_are_left_out_and_listed(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(saved(their_model("BertForPreTraining"), tmp_path / "m"))
    assert "pooler.weight" in checkpoint.poolers["pooler.dense"]
    assert checkpoint.head == {}
    assert "cls.seq_relationship.weight" in checkpoint.left_out
    assert all(name.startswith("cls.") for name in checkpoint.left_out)


def test_default_label_names_are_ignored(tmp_path: Path) -> None:
    folder = saved(their_model("BertForTokenClassification"), tmp_path / "m")
    edit_config(folder, id2label={"0": "LABEL_0", "1": "LABEL_1", "2": "LABEL_2"})
    assert read_checkpoint(folder).labels is None


def test_legacy_tensor_names_are_read(bert: Path) -> None:
    new = read_checkpoint(bert).encoder

    def age(state: dict[str, torch.Tensor]) -> None:
        for name in list(state):
            old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
            old = old.replace("LayerNorm.bias", "LayerNorm.beta")
            state[f"bert.{old}"] = state.pop(name)
        state["bert.embeddings.position_ids"] = torch.arange(12)[None]

    edit_weights(bert, age)
    old = read_checkpoint(bert)
    assert old.left_out == []
    assert all(torch.equal(old.encoder[name], tensor) for name, tensor in new.items())


@pytest.mark.parametrize("kind", ["sharded", "bin", "legacy bin", "sharded bin"])
def test_every_weight_file_format_is_read(kind: str, tmp_path: Path) -> None:
    model = their_model("BertModel")
    expected = read_checkpoint(saved(model, tmp_path / "whole")).encoder
    folder = saved(model, tmp_path / "m", max_shard_size="2KB" if kind == "sharded" else "1GB")
    if kind == "sharded":
        assert len(list(folder.glob("model-*.safetensors"))) > 1
    else:
        (folder / "model.safetensors").unlink()
        name = "pytorch_model-1.bin" if kind == "sharded bin" else "pytorch_model.bin"
        modern = kind != "legacy bin"
        torch.save(model.state_dict(), folder / name, _use_new_zipfile_serialization=modern)
        if kind == "sharded bin":
            write_index(folder / "pytorch_model.bin.index.json", {name: list(model.state_dict())})
    found = read_checkpoint(folder).encoder
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def write_index(path: Path, parts: dict[str, list[str]]) -> None:
    weight_map = {name: file for file, names in parts.items() for name in names}
    path.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}), encoding="utf-8")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_fp32(dtype: torch.dtype, tmp_path: Path) -> None:
    model = their_model("BertModel").to(dtype)
    encoder = read_checkpoint(saved(model, tmp_path / "m")).encoder
    assert {tensor.dtype for tensor in encoder.values()} == {torch.float32}
    expected = model.state_dict()["embeddings.word_embeddings.weight"].float()
    assert torch.equal(encoder["embeddings.word.weight"], expected)


# Writing ours


@pytest.mark.parametrize("architecture", WITH_HEAD)
def test_transformers_reads_our_checkpoints(architecture: str, tmp_path: Path) -> None:
    model = their_model(architecture)
    ours = read_checkpoint(saved(model, tmp_path / "theirs"))
    labels = ours.labels

    def write(folder: Path) -> None:
        write_checkpoint(
            folder,
            config=ours.config,
            state=whole_state(ours),
            architecture=architecture,
            labels=labels,
            problem_type="single_label_classification" if labels else None,
            tokenizer=ours.tokenizer,
            record=RECORD,
            card="# A card\n",
        )

    publish(tmp_path / "ours", write)

    opened, info = getattr(transformers, architecture).from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(info.values()), info
    for name, tensor in model.state_dict().items():
        assert torch.equal(opened.state_dict()[name], tensor), name
    if labels:
        assert opened.config.id2label == dict(enumerate(LABELS))
        assert opened.config.problem_type == "single_label_classification"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "ours")
    assert tokenizer.model_max_length == 12
    text = "The cats sat on 猫"
    theirs = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert theirs == ours.tokenizer.encode([text])[0].ids

    assert len({path.stat().st_mode for path in (tmp_path / "ours").iterdir()}) == 1
    again = read_checkpoint(tmp_path / "ours")
    weights = (tmp_path / "ours" / "model.safetensors").read_bytes()
    assert again.record == replace(RECORD, sha256=sha256(weights).hexdigest())
    assert (again.labels, again.config) == (labels, ours.config)
    assert again.encoder.keys() == ours.encoder.keys()


def test_default_looking_label_names_survive_a_round_trip(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(
        saved(their_model("BertForSequenceClassification"), tmp_path / "m")
    )
    labels = ["LABEL_0", "LABEL_1", "a lone \ud800"]
    (tmp_path / "ours").mkdir()
    write_checkpoint(
        tmp_path / "ours",
        config=checkpoint.config,
        state=whole_state(checkpoint),
        architecture=checkpoint.architecture,
        labels=labels,
        problem_type=None,
        tokenizer=checkpoint.tokenizer,
        record=RECORD,
        card="",
    )
    assert read_checkpoint(tmp_path / "ours").labels == labels


def write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


# Damage, each refused in one line


def truncate(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def put_a_program(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(print, protocol=2))


def put_noise(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"PK\x03\x04 cut off")


def point_elsewhere(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    write_index(folder / "model.safetensors.index.json", {"../elsewhere.safetensors": ["a"]})


def lose_a_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    write_index(folder / "model.safetensors.index.json", {"model-1.safetensors": ["a"]})


WORD, QUERY = "embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.query.weight"

DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda f: (f / "config.json").unlink(), "bert: holds no config.json"),
    "config isn't JSON": (
        lambda f: write_text(f / "config.json", "{"),
        "config.json:1:2: isn't JSON",
    ),
    "not a BERT": (lambda f: edit_config(f, model_type="gpt2"), "model_type is 'gpt2'"),
    "a decoder": (lambda f: edit_config(f, is_decoder=True), "is_decoder is True"),
    "relative positions": (
        lambda f: edit_config(f, position_embedding_type="relative_key"),
        "position_embedding_type is 'relative_key'",
    ),
    "a size that is text": (
        lambda f: edit_config(f, hidden_size="8"),
        "config.json: hidden_size is '8', and must be a whole number from 1",
    ),
    "an invalid rate": (
        lambda f: edit_config(f, hidden_dropout_prob=1.5),
        "hidden_dropout_prob is 1.5",
    ),
    "uneven heads": (lambda f: edit_config(f, num_attention_heads=3), "3 attention heads"),
    "another activation": (lambda f: edit_config(f, hidden_act="swish"), "hidden_act is 'swish'"),
    "another config's": (
        lambda f: edit_config(f, intermediate_size=7),
        "encoder.layer.0.intermediate.dense.weight is 6×8, and config.json makes it 7×8",
    ),
    "fewer layers counted": (
        lambda f: edit_config(f, num_hidden_layers=1),
        "2 layers of weights, and config.json counts 1",
    ),
    "more layers counted": (
        lambda f: edit_config(f, num_hidden_layers=3),
        "encoder.layer.2.attention.self.query.weight is missing",
    ),
    "no words": (lambda f: edit_weights(f, lambda s: s.pop(WORD)), f"{WORD} is missing"),
    "quantized": (
        lambda f: edit_weights(f, lambda state: state.update({QUERY: state[QUERY].to(torch.int8)})),
        f"{QUERY} holds int8",
    ),
    "numbers of 8 bits, whose scale is elsewhere": (
        lambda f: edit_weights(f, lambda s: s.update({QUERY: s[QUERY].to(torch.float8_e4m3fn)})),
        f"{QUERY} holds float8_e4m3fn",
    ),
    "quantized and packed": (
        lambda f: edit_weights(
            f, lambda s: s.update({QUERY: s[QUERY].to(torch.uint8).view(-1, 1)})
        ),
        f"{QUERY} holds uint8",
    ),
    "a model within another": (
        lambda f: edit_weights(
            f, lambda s: [s.update({f"module.{name}": s.pop(name)}) for name in [*s]]
        ),
        f"{WORD} is missing (the file has module.{WORD}: ",
    ),
    "truncated": (truncate, "model.safetensors: truncated or damaged"),
    "a pointer": (
        lambda f: write_text(f / "model.safetensors", "version https://git-lfs.github.com/spec/v1"),
        "model.safetensors: a Git LFS pointer",
    ),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "holds no weights"),
    "a program": (put_a_program, "pytorch_model.bin: holds more than tensors"),
    "noise": (put_noise, "pytorch_model.bin: "),
    "a shard elsewhere": (point_elsewhere, "'../elsewhere.safetensors' is no plain file name"),
    "a lost shard": (lose_a_shard, "model-1.safetensors is missing"),
    "a longer vocabulary": (
        lambda f: write_text(f / "vocab.txt", "\n".join([*WORDS, "mat"])),
        "a vocabulary that doesn't match the weights: 11 tokens, 10 embeddings",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damaged_checkpoint_is_refused_in_one_line(case: str, bert: Path) -> None:
    damage, message = DAMAGE[case]
    damage(bert)
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(bert)
    line = str(caught.value)
    assert message in line
    assert "\n" not in line
    assert line.startswith(str(bert))
    assert caught.value.exit_code == 2


def test_directory_around_models_names_them(bert: Path, tmp_path: Path) -> None:
    for name in ("checkpoint-20", "checkpoint-10"):
        shutil.copytree(bert, tmp_path / "out" / name)
    (tmp_path / "out" / "1_Pooling").mkdir()
    write_text(tmp_path / "out" / "1_Pooling" / "config.json", "{}")
    with pytest.raises(CheckpointError, match="give checkpoint-10 or checkpoint-20 in it"):
        read_checkpoint(tmp_path / "out")


def test_adapter_without_its_model_is_refused(tmp_path: Path) -> None:
    write_text(tmp_path / "adapter_config.json", "{}")
    with pytest.raises(CheckpointError, match="it is an adapter: merge it into its base model"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("id2label", "message"),
    [
        ({"0": "no", "1": "yes"}, "id2label names 2 labels, and the weights have 3"),
        ({"0": "no", "1": "yes", "3": "maybe"}, "id2label names 3 labels"),
        ({"0": "no", "1": "yes", "2": "no"}, "id2label names 'no' twice"),
    ],
)
def test_wrong_id2label_is_refused(id2label: dict[str, str], message: str, tmp_path: Path) -> None:
    folder = saved(their_model("BertForSequenceClassification"), tmp_path / "m")
    edit_config(folder, id2label=id2label)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(folder)


def test_missing_head_tensor_is_refused(tmp_path: Path) -> None:
    folder = saved(their_model("BertForQuestionAnswering"), tmp_path / "m")
    edit_weights(folder, lambda state: state.pop("qa_outputs.bias"))
    with pytest.raises(CheckpointError, match=r"qa_outputs\.bias is missing"):
        read_checkpoint(folder)


@pytest.mark.parametrize(
    ("name", "same"),
    [("gelu_pytorch_tanh", "gelu_new"), ("gelu_fast", "gelu_new"), ("gelu_python", "gelu")],
)
def test_other_names_of_gelu_are_read(name: str, same: str, bert: Path) -> None:
    edit_config(bert, _name_or_path="https://evil.example/x", hidden_act=name)
    assert read_checkpoint(bert).config.hidden_act == same
    x = torch.linspace(-6, 6, 99)
    theirs = transformers.activations.ACT2FN[name](x)
    torch.testing.assert_close(ACTIVATIONS[same](x), theirs, atol=1e-6, rtol=0.0)


def test_vocabulary_smaller_than_the_embeddings_is_accepted(bert: Path) -> None:
    write_text(bert / "vocab.txt", "\n".join(WORDS[:-1]))
    assert read_checkpoint(bert).tokenizer.vocab_size == 9


# Positions


def test_extended_positions_interpolate_between_the_old_ends() -> None:
    weight = torch.arange(4.0)[:, None] * torch.tensor([1.0, -2.0])
    longer = extend_positions(weight, 7)
    assert torch.allclose(longer[:, 0], torch.arange(7) / 2)
    assert torch.allclose(longer[:, 1], -torch.arange(7.0))
    assert torch.equal(extend_positions(weight, 4), weight)
    with pytest.raises(UsageError, match="fewer than the checkpoint's 4"):
        extend_positions(weight, 3)
