"""How wrong predicted labels are, in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from onelayer.tasks.classify.class_predictions import Label, Labels
from onelayer.tasks.mistakes import Judged, Mistake, Passage


def judge_one_label(gold: str, prediction: Label) -> Judged:
    """As wrong as the model was sure."""
    right = prediction.label == gold
    pair = (gold, prediction.label or "")
    return Judged(0.0 if right else prediction.probability, confusions=(pair,))


def judge_several_labels(gold: Sequence[str], prediction: Labels) -> Judged:
    """As wrong as the model was sure of its surest mistake."""
    p_of = prediction.probabilities
    wrong = set(gold) ^ set(prediction.labels)
    return Judged(max((abs((name in gold) - p_of[name]) for name in wrong), default=0.0))


def one_label_mistake(gold: str, prediction: Label, passages: tuple[Passage, ...]) -> Mistake:
    p_gold = prediction.probabilities[gold]
    remark = f"{prediction.probability:.1%} sure; gold got {p_gold:.1%}"
    return Mistake(gold, prediction.label or "", remark, passages)


def several_labels_mistake(
    gold: Sequence[str], prediction: Labels, passages: tuple[Passage, ...]
) -> Mistake:
    """Each label with its probability."""

    def named(names: Iterable[str]) -> str:
        each = (f"{name} ({prediction.probabilities[name]:.0%})" for name in names)
        return ", ".join(each) or "none"

    wrong = set(gold) ^ set(prediction.labels)
    return Mistake(named(gold), named(prediction.labels), f"{len(wrong)} wrong", passages)
