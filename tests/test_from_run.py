"""Directories that transformers saved, opened for prediction: what has an answer, and what is
refused because its files leave the answer open."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from onelayer.base.errors import CheckpointError
from onelayer.checkpoint.families import FAMILIES
from onelayer.prediction.load import load
from onelayer.tasks.classify.classify import Labels
from support.oracle import LABELS, SHAPES
from support.tiny_bert import MakeBert

Edit = Callable[[dict[str, torch.Tensor]], object]


def changed(folder: Path, to: Path, edit: Edit = lambda _: None, **config: object) -> Path:
    """A copy of a model directory with other weights and other values in its config."""
    shutil.copytree(folder, to)
    state = load_file(to / "model.safetensors")
    edit(state)
    save_file(state, to / "model.safetensors")
    data = json.loads((to / "config.json").read_text(encoding="utf-8")) | config
    (to / "config.json").write_text(json.dumps(data), encoding="utf-8")
    return to


@pytest.mark.parametrize("model_type", FAMILIES)
def test_missing_layer_before_the_output_layer_is_refused(
    model_type: str, make_bert: MakeBert, tmp_path: Path
) -> None:
    """Drawn at random it would answer without a word."""
    family = FAMILIES[model_type]
    architecture = family.class_for("SequenceClassification")
    pooler = family.classes[architecture].pooler
    folder = make_bert(architecture, labels=LABELS, **SHAPES.get(model_type, {}))

    def lose_pooler(state: dict[str, torch.Tensor]) -> None:
        del state[f"{pooler}.weight"]

    with pytest.raises(CheckpointError, match=f"the weights lack {pooler}"):
        load(changed(folder, tmp_path / "model", lose_pooler))


def test_one_label_of_a_multi_label_model_has_a_probability(make_bert: MakeBert) -> None:
    folder = make_bert(
        "BertForSequenceClassification",
        labels=("toxic",),
        problem_type="multi_label_classification",
    )
    predictor = load(folder)
    (found,) = predictor.predict(["a good cat"])
    assert isinstance(found, Labels)
    ids = predictor.tokenizer.template.single(predictor.tokenizer.encode(["a good cat"])[0].ids)
    theirs = transformers.BertForSequenceClassification.from_pretrained(folder)
    with torch.inference_mode():
        logits = theirs(torch.tensor([ids])).logits
    assert found.probabilities["toxic"] == pytest.approx(float(logits.sigmoid()), abs=1e-6)


@pytest.mark.parametrize("architectures", [None, ["BertModel"], ["MyModel"]])
def test_output_layer_without_its_class_is_refused_with_the_classes_that_have_it(
    architectures: list[str] | None, make_bert: MakeBert, tmp_path: Path
) -> None:
    folder = make_bert("BertForQuestionAnswering")
    with pytest.raises(CheckpointError, match=r"doesn't say what qa_outputs\.weight") as caught:
        load(changed(folder, tmp_path / "model", architectures=architectures))
    assert "architectures: BertForQuestionAnswering" in str(caught.value)


def test_several_numbers_for_a_text_are_refused(make_bert: MakeBert) -> None:
    folder = make_bert("BertForSequenceClassification", num_labels=3, problem_type="regression")
    with pytest.raises(CheckpointError, match="3 numbers for a text, and regress predicts one"):
        load(folder)
