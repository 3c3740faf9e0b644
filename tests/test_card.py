"""The model card: metadata that the Hub reads, and the scores in words."""

from __future__ import annotations

from dataclasses import replace

from huggingface_hub import ModelCard

from onelayer.checkpoint.card import CardFacts, model_card
from onelayer.tasks.classify.classify import Classify


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
