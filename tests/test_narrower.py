"""Narrower models: what a basis keeps, and norms that fit it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from onelayer.checkpoint.build import build_model
from onelayer.checkpoint.families import FAMILIES
from onelayer.checkpoint.mean_layer import (
    GAIN,
    takes_mean,
    with_learned_mean,
    with_mean_layer,
)
from onelayer.checkpoint.narrower import can_be_narrower, with_width
from onelayer.checkpoint.read import Checkpoint, read_checkpoint
from onelayer.engines.torch_engine import TorchEngine
from onelayer.nn.packed import pack
from onelayer.shrinking.importance import neurons_left
from onelayer.shrinking.narrowing import narrowed
from support.encodings import LENGTHS
from support.oracle import LABELS, SHAPES, TASKS, encodings_for
from support.tiny_bert import MakeBert

NARROW = ("bert", "camembert", "distilbert", "mpnet", "roberta", "xlm-roberta")


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_families_without_other_parts_can_be_narrower(name: str, make_bert: MakeBert) -> None:
    family = FAMILIES[name]
    folder = make_bert(family.class_for("SequenceClassification"), **SHAPES.get(name, {}))
    assert can_be_narrower(read_checkpoint(folder)) == (name in NARROW)


def test_basis_of_the_whole_width_gives_the_same_logits(make_bert: MakeBert) -> None:
    """A permutation of all coordinates changes nothing, once norms are permuted, too."""
    checkpoint = read_checkpoint(make_bert("BertForSequenceClassification", labels=LABELS))
    width, heads = checkpoint.config.hidden_size, checkpoint.config.num_attention_heads
    order = torch.from_numpy(np.random.default_rng(0).permutation(width))
    permuted = with_width(checkpoint, torch.eye(width)[:, order], range(heads))
    norms = {name: x[order] for name, x in checkpoint.encoder.items() if "norm." in name}
    permuted.encoder.update(norms)
    encodings = encodings_for(FAMILIES["bert"], "label")
    one, other = (
        TorchEngine(build_model(each, TASKS["label"]).model).logits(encodings)
        for each in (checkpoint, permuted)
    )
    np.testing.assert_allclose(other, one, atol=1e-5)


@pytest.mark.parametrize("name", ["bert", "mpnet"])
def test_narrowed_model_has_the_heads_that_fit_its_width(name: str, make_bert: MakeBert) -> None:
    family = FAMILIES[name]
    checkpoint = read_checkpoint(
        make_bert(family.class_for("SequenceClassification"), labels=LABELS)
    )
    encodings = encodings_for(family, "label")
    whole = narrowed(checkpoint, TASKS["label"], encodings, 1.0)
    half = narrowed(checkpoint, TASKS["label"], encodings, 0.5)
    assert whole.config == checkpoint.config
    assert half.config.hidden_size == checkpoint.config.hidden_size // 2
    assert half.config.num_attention_heads == checkpoint.config.num_attention_heads // 2
    for smaller in (whole, half):
        logits = TorchEngine(build_model(smaller, TASKS["label"]).model).logits(encodings)
        assert np.isfinite(logits).all()


def test_mean_of_all_tokens_loses_nothing_with_fewer_heads(make_bert: MakeBert) -> None:
    """Its heads attend alike, so those that stay can hold what all of them did."""
    checkpoint = with_mean_layer(read_checkpoint(make_bert()))
    width, layer = checkpoint.config.hidden_size, checkpoint.config.num_hidden_layers - 1
    narrow = with_width(checkpoint, torch.eye(width)[:, : width // 2], [0])
    attention = f"layers.{layer}.attention."
    assert takes_mean(narrow, layer)
    assert not takes_mean(narrow, 0)
    values = narrow.encoder[attention + "qkv.weight"].chunk(3)[2]
    torch.testing.assert_close(
        narrow.encoder[attention + "output.weight"] @ values, GAIN * torch.eye(width // 2)
    )


def test_mean_can_be_weighted_by_what_a_model_learns(make_bert: MakeBert) -> None:
    """The same vectors at first, and a gradient for the queries, which the mean doesn't have."""
    checkpoint = with_mean_layer(read_checkpoint(make_bert("BertForSequenceClassification")))
    layer = checkpoint.config.num_hidden_layers - 1
    batch = pack(encodings_for(FAMILIES["bert"], "label"), np.arange(2))

    def read(one: Checkpoint) -> tuple[torch.Tensor, torch.Tensor]:
        model = build_model(one, TASKS["label"]).model.eval()
        vectors = model.vectors(batch)
        vectors.square().sum().backward()
        gradient = dict(model.named_parameters())[
            f"encoder.layers.{layer}.attention.qkv.weight"
        ].grad
        assert gradient is not None
        return vectors.detach(), gradient.chunk(3)[0]

    vectors, queries = read(checkpoint)
    learned = with_learned_mean(checkpoint)
    same, moved = read(learned)
    torch.testing.assert_close(same, vectors)
    assert not queries.any()
    assert moved.any()
    assert with_learned_mean(learned) is learned


def test_neurons_that_add_nothing_are_left_out(make_bert: MakeBert) -> None:
    checkpoint = read_checkpoint(
        make_bert("BertForSequenceClassification", labels=LABELS, intermediate_size=128)
    )
    silent = torch.arange(0, 128, 2)
    for name, tensor in checkpoint.encoder.items():
        if name.endswith(".down.weight"):
            tensor[:, silent] = 0.0
    model = build_model(checkpoint, TASKS["label"]).model
    encodings = encodings_for(FAMILIES["bert"], "label", LENGTHS)
    for kept in neurons_left(model, encodings, 0.5):
        assert kept.tolist() == list(range(1, 128, 2))
