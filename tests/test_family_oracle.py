"""Every encoder family, compared with transformers' on random weights: hidden states, logits,
losses, gradients and files, for each head."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file

from onelayer.base.errors import CheckpointError
from onelayer.checkpoint.build import build_model, state_of
from onelayer.checkpoint.families import FAMILIES
from onelayer.checkpoint.family import Family
from onelayer.checkpoint.read import read_checkpoint
from onelayer.checkpoint.weights import to_theirs
from onelayer.nn import compiled
from onelayer.nn.buckets import FARTHEST, bucket_of_distances
from onelayer.nn.heads import HEADS
from onelayer.nn.packed import pack
from support.oracle import (
    SHAPES,
    TASKS,
    close,
    encodings_for,
    equals_transformers,
    every_token,
    everything,
    padded,
    pair_of,
    read_at,
)
from support.tiny_bert import VOCABULARY, MakeBert


@pytest.fixture(params=["compiled", "plain"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without the compiled kernels."""
    if request.param == "plain":
        monkeypatch.setattr(compiled, "kernels", lambda: None)


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("head", HEADS)
def test_logits_losses_and_gradients_equal_transformers(
    head: str, family: Family, make_bert: MakeBert
) -> None:
    pair = pair_of(family, head, make_bert)
    equals_transformers(pair, encodings_for(family, head))


@pytest.mark.usefixtures("way")
def test_hidden_states_equal_transformers(family: Family, make_bert: MakeBert) -> None:
    folder = make_bert(family.encoder_class, **SHAPES.get(family.model_type, {}))
    theirs = getattr(transformers, family.encoder_class).from_pretrained(folder).eval()
    ours = build_model(read_checkpoint(folder), TASKS["tags"]).model.eval()
    encodings = every_token(encodings_for(family, "label"))
    batch, (rows, columns) = pack(encodings, everything(encodings)), read_at(encodings)
    inputs = padded(encodings)
    if not getattr(theirs.config, "type_vocab_size", 0):
        del inputs["token_type_ids"]
    with torch.no_grad():
        close(ours.encoder(batch), theirs(**inputs).last_hidden_state[rows, columns])


@pytest.mark.parametrize("head", HEADS)
def test_files_round_trip(head: str, family: Family, make_bert: MakeBert, tmp_path: Path) -> None:
    pair = pair_of(family, head, make_bert)
    folder = Path(pair.theirs.name_or_path)
    checkpoint = read_checkpoint(folder)
    assert checkpoint.left_out == []
    again = to_theirs(state_of(pair.ours), family, checkpoint.architecture)
    there = load_file(folder / "model.safetensors")
    assert again.keys() == there.keys()
    for name, tensor in there.items():
        assert torch.equal(again[name], tensor), name
    written = checkpoint.config.to_json()
    theirs = json.loads((folder / "config.json").read_text())
    assert written == {key: theirs[key] for key in written}


def test_pretraining_heads_are_left_out(family: Family, make_bert: MakeBert) -> None:
    name = next(name for name in family.classes if name.endswith("ForMaskedLM"))
    checkpoint = read_checkpoint(make_bert(name, **SHAPES.get(family.model_type, {})))
    assert checkpoint.left_out
    assert not any(tensor.startswith(family.prefix) for tensor in checkpoint.left_out)
    assert checkpoint.head == {}


def test_head_of_its_own_is_new_for_other_labels_and_its_dense_layer_kept(
    make_bert: MakeBert,
) -> None:
    """RoBERTa's dense layer belongs to its head; a fine-tuned one is kept, a pooler isn't taken for
    it."""
    roberta = FAMILIES["roberta"]
    bare = read_checkpoint(make_bert(roberta.encoder_class))
    assert not build_model(bare, TASKS["label"]).kept_pooler
    assert build_model(bare, TASKS["option"]).kept_pooler
    tuned = read_checkpoint(
        make_bert(roberta.class_for("SequenceClassification"), labels=("a", "b"))
    )
    built = build_model(tuned, TASKS["label"])
    assert built.kept_pooler
    assert not built.kept_head


def test_fewer_positions_than_the_first_are_refused(make_bert: MakeBert, tmp_path: Path) -> None:
    folder = make_bert("RobertaModel")
    config = json.loads((folder / "config.json").read_text())
    for name in ("vocab.txt", "model.safetensors"):
        (tmp_path / name).symlink_to(folder / name)
    (tmp_path / "config.json").write_text(json.dumps(config | {"max_position_embeddings": 2}))
    with pytest.raises(CheckpointError, match="max_position_embeddings 2 leaves no place"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("architecture", ["RobertaModel", "XLMRobertaModel"])
def test_padding_that_is_a_token_around_texts_is_refused(
    architecture: str, make_bert: MakeBert
) -> None:
    cls = VOCABULARY.index("[CLS]")
    with pytest.raises(CheckpointError, match=f"pad_token_id {cls} is of a token around each text"):
        read_checkpoint(make_bert(architecture, pad_token_id=cls))


def test_wrong_value_of_a_familys_own_key_is_refused(make_bert: MakeBert, tmp_path: Path) -> None:
    config = json.loads((make_bert("ElectraModel", embedding_size=16) / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"embedding_size": "wide"}))
    with pytest.raises(CheckpointError, match="embedding_size is 'wide', and must be a whole"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("n_buckets", [32, 64])
def test_buckets_of_distances_equal_transformers(n_buckets: int) -> None:
    longest = 3 * FARTHEST
    encoder = transformers.models.mpnet.modeling_mpnet.MPNetEncoder
    theirs = encoder.relative_position_bucket(
        torch.arange(1 - longest, longest), num_buckets=n_buckets
    )
    np.testing.assert_array_equal(bucket_of_distances(longest, n_buckets), theirs)
