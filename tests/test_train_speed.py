"""The models of the benchmark of training speed: every family, with the tokens of a BERT."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

from benchmarks.training import train_sets
from onelayer.base.errors import Place
from onelayer.checkpoint.build import build_model
from onelayer.checkpoint.config import read_config, read_tokenizer
from onelayer.checkpoint.families import FAMILIES
from onelayer.checkpoint.read import read_checkpoint
from onelayer.engines.torch_engine import TorchEngine
from onelayer.tasks import Classify
from onelayer.tasks.texts import TextRow
from support.tiny_bert import VOCABULARY

SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


@pytest.mark.parametrize("family", FAMILIES)
def test_both_sides_train_every_family_on_the_same_tokens(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(train_sets.SHAPES, "starter", SMALL)
    words = tmp_path / "words"
    transformers.BertTokenizer(
        vocab={word: i for i, word in enumerate(VOCABULARY)}
    ).save_pretrained(words)
    folder = train_sets.random_model(family, "starter", words, tmp_path)
    assert train_sets.shape_of(folder).width == 32

    task = Classify(labels=("no", "yes"), max_length=64)
    row = TextRow("a good cat", "the cat is bad", None, Place("test"))
    tokenizer = read_tokenizer(folder, read_config(folder)[0])
    encodings = task.encode([row], tokenizer, labelled=False)
    model = build_model(read_checkpoint(folder), task).model
    assert TorchEngine(model).logits(encodings).shape == (1, 2)

    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    inputs = theirs(row.text, row.pair, return_tensors="pt")
    assert inputs["input_ids"][0].tolist() == encodings.ids.tolist()
    classifier = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=2
    )
    with torch.no_grad():
        assert classifier(**inputs).logits.shape == (1, 2)
