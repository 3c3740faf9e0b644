"""What a classifier says of a text, and how it is judged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from onelayer import metrics
from onelayer.base.library_structs import Found
from onelayer.tasks.logits import EPSILON, log_loss
from onelayer.tasks.predictions import BasePrediction


@dataclass(frozen=True, slots=True)
class Label(BasePrediction):
    """The likeliest label of a text, and the probability of every label.

    Where that was asked for, ``label`` is None if it is too uncertain, and ``label_set`` has the
    labels that together hold the right one with the chance asked for, likeliest first.
    """

    label: str | None
    probability: float
    probabilities: dict[str, float]
    label_set: tuple[str, ...] | None = None

    @property
    def headline(self) -> str:
        return self.label or ""

    @classmethod
    def of_library(cls, found: Found, names: Sequence[str], sets: bool) -> Self:
        """What the C++ library found, with labels of these names."""
        label = names[found.label] if found.label >= 0 else None
        held = _names(names, found.label_set, found.n_label_set) if sets else None
        return cls(label, found.probability, _by_name(names, found), held)


@dataclass(frozen=True, slots=True)
class Labels(BasePrediction):
    """Every label whose probability reaches its threshold; possibly none.

    Where that was asked for, ``label_set`` has the labels that hold all right ones with the chance
    asked for, likeliest first.
    """

    labels: tuple[str, ...]
    probabilities: dict[str, float]
    label_set: tuple[str, ...] | None = None

    @property
    def headline(self) -> str:
        return ";".join(self.labels)

    @classmethod
    def of_library(cls, found: Found, names: Sequence[str], sets: bool) -> Self:
        """What the C++ library found, with labels of these names."""
        held = _names(names, found.label_set, found.n_label_set) if sets else None
        return cls(_names(names, found.labels, found.n_labels), _by_name(names, found), held)


def _by_name(names: Sequence[str], found: Found) -> dict[str, float]:
    return dict(zip(names, found.probabilities[: found.n_probabilities], strict=True))


def _names(names: Sequence[str], numbers: Sequence[int], n: int) -> tuple[str, ...]:
    return tuple(names[i] for i in numbers[:n])


def judged_labels(
    gold: metrics.Ints,
    predictions: Iterable[Label],
    labels: Sequence[str],
    *,
    sets: bool,
    abstains: bool,
) -> metrics.Classification:
    """One label a row against the (N,) ids of the gold ones; scores of label sets and of
    abstaining where that was asked for. Also where there is no answer, the likeliest label counts
    in all scores but those of abstaining."""

    def facts() -> Iterator[tuple[int, float, float, bool, int, bool]]:
        for right, prediction in zip(gold.tolist(), predictions, strict=True):
            # By name: another model of the same labels may have them in another order.
            p = [prediction.probabilities[label] for label in labels]
            held = prediction.label_set or ()
            answered = prediction.label is not None
            yield (
                p.index(max(p)),
                max(p),
                log_loss(p[right]),
                labels[right] in held,
                len(held),
                answered,
            )

    kinds = {"label": "i8", "p": "f8", "loss": "f8", "covered": "?", "size": "i8", "answered": "?"}
    table = np.fromiter(facts(), dtype=list(kinds.items()))
    label, p, loss, covered, size, answered = (table[name].copy() for name in kinds)
    confidence = metrics.Confidence(
        loss=loss,
        probability=p,
        right=label == gold,
        covered=covered if sets else None,
        set_size=size if sets else None,
        answered=answered if abstains else None,
    )
    # The binary F1 is about the second class, as GLUE counts.
    positive = 1 if len(labels) == 2 else None
    return metrics.Classification(gold, label, len(labels), positive, confidence)


def judged_sets(
    gold: metrics.Bools, predictions: Iterable[Labels], labels: Sequence[str], *, sets: bool
) -> metrics.MultiLabel:
    """Several labels a row against the (N, L) gold ones; scores of label sets where asked for."""
    index = {label: i for i, label in enumerate(labels)}
    n = len(gold)
    mask = np.zeros_like(gold)
    probability = np.zeros(gold.shape, dtype=np.float32)
    loss, covered, size = np.zeros(n), np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.int64)
    for i, prediction in enumerate(predictions):
        mask[i, [index[name] for name in prediction.labels]] = True
        p = np.array([prediction.probabilities[label] for label in labels])
        probability[i] = p
        loss[i] = -np.log(np.maximum(np.where(gold[i], p, 1.0 - p), EPSILON)).mean()
        held = [index[name] for name in prediction.label_set or ()]
        covered[i], size[i] = gold[i, held].sum() == gold[i].sum(), len(held)
    confidence = metrics.Confidence(
        loss=loss,
        probability=probability,
        right=gold,
        covered=covered if sets else None,
        set_size=size if sets else None,
    )
    return metrics.MultiLabel(gold, mask, confidence)
