"""Checkpoints with fewer layers or neurons: any family's, and transformers opens them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from onelayer.checkpoint.build import build_model, state_of
from onelayer.checkpoint.families import FAMILIES
from onelayer.checkpoint.family import Family
from onelayer.checkpoint.read import read_checkpoint
from onelayer.checkpoint.record import ModelRecord
from onelayer.checkpoint.save import write_checkpoint
from onelayer.checkpoint.smaller import with_layers, with_neurons
from onelayer.data.layout import Layout
from support.oracle import (
    LABELS,
    SHAPES,
    TASKS,
    Pair,
    close,
    encodings_for,
)
from support.tiny_bert import MakeBert


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> Family:
    return FAMILIES[request.param]


def test_smaller_model_of_any_family_is_opened_by_transformers(
    family: Family, make_bert: MakeBert, tmp_path: Path
) -> None:
    architecture = family.class_for("SequenceClassification")
    changes = {"num_hidden_layers": 3, **SHAPES.get(family.model_type, {})}
    folder = make_bert(architecture, labels=LABELS, **changes)
    checkpoint = read_checkpoint(folder)
    smaller = with_layers(checkpoint, [0, checkpoint.config.num_hidden_layers - 1])
    inner = smaller.config.intermediate_size
    smaller = with_neurons(smaller, [np.arange(1, inner, 2)] * 2)
    task = TASKS["label"]
    model = build_model(smaller, task).model
    write_checkpoint(
        tmp_path,
        config=smaller.config,
        state=state_of(model),
        architecture=architecture,
        labels=list(task.outputs),
        problem_type="single_label_classification",
        tokenizer=checkpoint.tokenizer,
        record=ModelRecord(task=task, layout=Layout({"text": "text"})),
        card="",
    )
    theirs = getattr(transformers, architecture).from_pretrained(tmp_path).eval()
    pair = Pair("label", model.eval(), theirs)
    encodings = encodings_for(family, "label")
    with torch.no_grad():
        close(pair.our_loss(encodings)[0], pair.their_loss(encodings)[0])


def test_all_layers_and_neurons_are_the_same_model(family: Family, make_bert: MakeBert) -> None:
    folder = make_bert(
        family.class_for("SequenceClassification"),
        labels=LABELS,
        **SHAPES.get(family.model_type, {}),
    )
    whole = read_checkpoint(folder)
    n, inner = whole.config.num_hidden_layers, whole.config.intermediate_size
    same = with_neurons(with_layers(whole, range(n)), [np.arange(inner)] * n)
    assert same.config == whole.config
    assert same.encoder.keys() == whole.encoder.keys()
    assert all(torch.equal(same.encoder[name], whole.encoder[name]) for name in whole.encoder)
