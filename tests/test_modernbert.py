"""ModernBERT beyond what all families are tested for: its options, old and wrong configurations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import transformers

import onelayer
from onelayer.base.errors import CheckpointError, UsageError
from onelayer.checkpoint.config import EncoderConfig, read_config
from onelayer.checkpoint.families import FAMILIES
from onelayer.engines.onnx_engine import OnnxEngine
from onelayer.engines.torch_engine import TorchEngine
from onelayer.exporting.products import in_float
from onelayer.nn.bricks import Rotation
from onelayer.nn.heads import HEADS
from support.graphs import state_of, write_graph
from support.oracle import SHAPES, close, encodings_for, gradients, pair_of
from support.tiny_bert import MakeBert

MODERNBERTS: dict[str, dict[str, object]] = {
    "biases": dict.fromkeys(("attention_bias", "mlp_bias", "norm_bias", "classifier_bias"), True),
    "mean": {"classifier_pooling": "mean"},
    "no kernels for its gate": {"hidden_activation": "relu"},
    "heads": {"num_attention_heads": 2},
    "last layer global": {"global_attn_every_n_layers": 2},
}
"""What a ModernBERT may have besides the defaults."""


@pytest.mark.parametrize("head", ["label", "tags", "option"])
@pytest.mark.parametrize("changes", MODERNBERTS.values(), ids=MODERNBERTS)
def test_modernberts_of_other_kinds_equal_transformers(
    changes: dict[str, object], head: str, make_bert: MakeBert
) -> None:
    family = FAMILIES["modernbert"]
    pair, encodings = pair_of(family, head, make_bert, **changes), encodings_for(family, head)
    (logits, loss), (their_logits, their_loss) = (
        pair.our_loss(encodings),
        pair.their_loss(encodings),
    )
    close(logits, their_logits)
    loss.backward()
    their_loss.backward()
    ours = gradients(pair.ours, family.class_for(HEADS[head].form))
    theirs = {name: parameter.grad for name, parameter in pair.theirs.named_parameters()}
    assert ours.keys() == theirs.keys()
    for name, grad in theirs.items():
        assert grad is not None
        close(ours[name], grad)


def test_old_config_of_modernbert_is_read_as_transformers_reads_it() -> None:
    old = {
        "model_type": "modernbert",
        "vocab_size": 100,
        "hidden_size": 64,
        "num_hidden_layers": 5,
        "num_attention_heads": 2,
        "intermediate_size": 96,
        "pad_token_id": 0,
        "global_attn_every_n_layers": 2,
        "global_rope_theta": 80_000.0,
        "local_rope_theta": 20_000.0,
        "local_attention": 64,
    }
    bricks = EncoderConfig.from_json(old, "config.json").bricks
    near, all_ = Rotation(20_000.0, 32), Rotation(80_000.0)
    assert bricks.rotations == (all_, near, all_, near, all_)
    theirs = transformers.ModernBertConfig(**old)
    ours = EncoderConfig.from_json(old, "config.json").to_json()
    again = transformers.ModernBertConfig(**ours)
    assert again.layer_types == theirs.layer_types
    assert again.rope_parameters == theirs.rope_parameters
    without = EncoderConfig.from_json(old | {"local_rope_theta": None}, "config.json")
    assert without.bricks.rotations[1] == Rotation(80_000.0, 32)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layer_types": ["full_attention"]}, "layer_types lists 1 of 3 layers"),
        ({"layer_types": ["wide"]}, "layer_types is .*must be a list of 'full_attention'"),
        ({"rope_parameters": {"full_attention": {"rope_type": "yarn"}}}, "rope_type 'default'"),
        ({"rope_parameters": 7}, "rope_parameters is 7"),
        ({"max_position_embeddings": 10**9}, "max_position_embeddings must be at most 131072"),
        ({"num_hidden_layers": 10**12, "layer_types": None}, "at most 1000 layers"),
        ({"classifier_pooling": "max"}, "must be cls or mean"),
        ({"mlp_bias": 1}, "must be true or false"),
        ({"num_attention_heads": 32}, "heads have an odd width"),
        ({"mlp_dropout": 2}, "must be at least 0 and below 1"),
    ],
)
def test_wrong_config_of_modernbert_is_refused(
    changes: dict[str, object], message: str, make_bert: MakeBert
) -> None:
    folder = make_bert("ModernBertModel", **SHAPES["modernbert"])
    data = json.loads((folder / "config.json").read_text())
    with pytest.raises(CheckpointError, match=message):
        EncoderConfig.from_json(data | changes, "config.json")


@pytest.mark.parametrize("head", ["label", "tags"])
@pytest.mark.parametrize("changes", MODERNBERTS.values(), ids=MODERNBERTS)
def test_graphs_of_modernberts_of_other_kinds_give_torchs_logits(
    changes: dict[str, object], head: str, make_bert: MakeBert, tmp_path: Path
) -> None:
    family = FAMILIES["modernbert"]
    pair, encodings = pair_of(family, head, make_bert, **changes), encodings_for(family, head)
    config, data = read_config(Path(pair.theirs.name_or_path))
    graph = write_graph(tmp_path, state_of(pair.ours), config, data["architectures"][0], in_float)
    found = OnnxEngine(graph, threads=1).logits(encodings)
    np.testing.assert_allclose(found, TorchEngine(pair.ours).logits(encodings), atol=1e-5)


def test_positions_are_rotations_whatever_their_old_key_says() -> None:
    """``sans_pos`` is in the files of mmBERT and Ettin."""
    data = transformers.ModernBertConfig(position_embedding_type="sans_pos").to_dict()
    config = EncoderConfig.from_json(data, "config.json")
    assert not config.bricks.positions
    assert len(config.bricks.rotations) == config.num_hidden_layers


def test_layer_for_the_mean_is_refused(make_bert: MakeBert, tmp_path: Path) -> None:
    """One more layer gives the mean where norms come last. Here config.json says what is read."""
    model = str(make_bert("ModernBertModel", **SHAPES["modernbert"]))
    rows = [{"text": f"a {'good' if i % 2 else 'bad'} cat {i}", "label": i % 2} for i in range(8)]
    with pytest.raises(UsageError, match="--read mean: one more layer of ModernBERT"):
        onelayer.finetune(rows, model=model, read="mean", out=tmp_path / "run")
