"""Small vectors of a pretrained model, enlarged for a new layer."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from onelayer.base.errors import Place
from onelayer.checkpoint.build import build_model
from onelayer.checkpoint.families import FAMILIES
from onelayer.checkpoint.larger_vectors import size_of_vectors, with_larger_vectors
from onelayer.checkpoint.read import Checkpoint, read_checkpoint
from onelayer.nn.packed import pack
from onelayer.recipe import Recipe
from onelayer.tasks import Classify
from onelayer.tasks.texts import TextRow
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training.fit import Fit
from support.oracle import SHAPES, encodings_for
from support.tiny_bert import MakeBert
from support.trainers import plan_of

CLASSIFY = Classify(labels=("bad", "good"), max_length=64)
SAID = "the model's vectors are small (0.20 an element): the layer reads them 5.0 times as large"


def with_size(checkpoint: Checkpoint, size: float) -> Checkpoint:
    """The checkpoint with vectors of this size, by the norm at the end."""
    n_layers, pre_norm = checkpoint.config.num_hidden_layers, checkpoint.config.bricks.pre_norm
    own = checkpoint.config.bricks.own_layers or n_layers
    last = "norm." if pre_norm else f"layers.{own - 1}.feed_forward.norm."
    changed = dict(checkpoint.encoder)
    changed[f"{last}weight"] = torch.full_like(changed[f"{last}weight"], size)
    if f"{last}bias" in changed:
        changed[f"{last}bias"] = torch.zeros_like(changed[f"{last}bias"])
    return replace(checkpoint, encoder=changed)


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - {"albert"}))
def test_vectors_are_the_same_but_for_a_factor(name: str, make_bert: MakeBert) -> None:
    family = FAMILIES[name]
    folder = make_bert(family.encoder_class, **SHAPES.get(name, {}))
    small = with_size(read_checkpoint(folder), 0.2)
    assert size_of_vectors(small) == pytest.approx(0.2)
    large, said = with_larger_vectors(small)
    assert said == SAID
    batch = pack(encodings_for(family, "tags", [5, 9]), np.arange(2))
    with torch.no_grad():
        before, after = (
            build_model(one, CLASSIFY).model.eval().encoder(batch) for one in (small, large)
        )
    torch.testing.assert_close(after, 5 * before, rtol=1e-4, atol=1e-5)


def test_vectors_of_usual_size_stay_as_they_are(make_bert: MakeBert) -> None:
    usual = with_size(read_checkpoint(make_bert()), 0.6)
    assert with_larger_vectors(usual) == (usual, None)


def test_a_norm_that_layers_share_stays_as_it_is(make_bert: MakeBert) -> None:
    shared = with_size(read_checkpoint(make_bert("AlbertModel", **SHAPES["albert"])), 0.2)
    assert size_of_vectors(shared) is None
    assert with_larger_vectors(shared) == (shared, None)


@pytest.mark.parametrize(
    ("architecture", "said"), [("BertModel", SAID), ("BertForSequenceClassification", None)]
)
def test_only_a_model_that_is_not_fine_tuned_gets_larger_vectors(
    architecture: str,
    said: str | None,
    make_bert: MakeBert,
    tokenizer: Tokenizer,
    tmp_path: Path,
) -> None:
    folder = shutil.copytree(make_bert(architecture), tmp_path / "base")
    shrink_last_norm(folder / "model.safetensors", 0.2)
    rows = [
        TextRow(f"good {i}", None, ("bad", "good")[i % 2], Place("rows.jsonl")) for i in range(4)
    ]
    encodings = CLASSIFY.encode(rows, tokenizer, labelled=True)
    recipe = Recipe(epochs=1, lr=1e-3, batch_size=4, precision="fp32", read="cls")
    assert Fit(plan_of(folder, CLASSIFY, encodings, recipe)).enlarged == said


def shrink_last_norm(weights: Path, size: float) -> None:
    tensors = load_file(weights)
    for name, tensor in tensors.items():
        if name.endswith("layer.1.output.LayerNorm.weight"):
            tensor.fill_(size)
        if name.endswith("layer.1.output.LayerNorm.bias"):
            tensor.zero_()
    save_file(tensors, weights, {"format": "pt"})
