"""A published directory appears complete or not at all."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from onelayer.base.disk import publish
from onelayer.base.errors import OneLayerError
from onelayer.checkpoint.card import CardFacts, model_card
from onelayer.tasks.classify.classify import Classify


def write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def test_failed_publish_keeps_the_old_directory(tmp_path: Path) -> None:
    target = tmp_path / "runs" / "best"
    publish(target, lambda folder: write_text(folder / "a", "first"))
    publish(target, lambda folder: write_text(folder / "a", "second"))
    assert (target / "a").read_text() == "second"

    def fill_the_disk(folder: Path) -> None:
        write_text(folder / "a", "third")
        raise OSError(28, "No space left on device")

    def stumble(folder: Path) -> None:
        write_text(folder / "a", "third")
        raise KeyboardInterrupt

    with pytest.raises(OneLayerError, match="No space left on device"):
        publish(target, fill_the_disk)
    with pytest.raises(KeyboardInterrupt):
        publish(target, stumble)
    assert (target / "a").read_text() == "second"
    assert [path.name for path in target.parent.iterdir()] == ["best"]


def test_publish_restores_the_directory_after_a_killed_process(tmp_path: Path) -> None:
    (tmp_path / ".best.staged").mkdir()
    (tmp_path / ".best.old").mkdir()
    write_text(tmp_path / ".best.old" / "a", "the last good one")

    def fail(folder: Path) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OneLayerError):
        publish(tmp_path / "best", fail)
    assert (tmp_path / "best" / "a").read_text() == "the last good one"
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_hub_reads_the_model_card() -> None:
    facts = CardFacts(
        name='评论 "run"',
        task=Classify(labels=("no", "yes", "可能"), max_length=64),
        architecture="BertForSequenceClassification",
        base_model="starter",
        hub_name="sentence-transformers/all-MiniLM-L6-v2",
        data="reviews: 1.csv",
        rows={"train": 1200, "dev": 100},
        labels=["no", "yes", "可能"],
        scores={"accuracy": 0.9125, "mcc": float("nan")},
        intervals={"accuracy": (0.87, 0.95)},
    )
    card = ModelCard(model_card(facts))
    assert card.data.pipeline_tag == "text-classification"
    assert card.data.base_model == "sentence-transformers/all-MiniLM-L6-v2"
    assert card.data.model_name == '评论 "run"'
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.9125)
    assert result.dataset_name == "reviews: 1.csv"
    assert "| accuracy | 0.9125 | 0.8700 to 0.9500 |" in card.text
    assert "`可能`" in card.text
    local = ModelCard(model_card(replace(facts, hub_name=None, base_model="runs/a", scores={})))
    assert local.data.base_model is None
    assert "`runs/a`" in local.text
