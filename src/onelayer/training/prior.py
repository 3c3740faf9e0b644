"""A run that has learned nothing but how frequent the classes are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.nn.heads import HEADS, IGNORED
from onelayer.tasks.protocol import Chunk
from onelayer.tokens.encodings import Encodings

RESTARTS = 2
"""Most of them in one run: what fails three times is hardly bad luck."""
SEEDS_APART = 1000
"""From one attempt to the next; other runs' seeds are seldom so far away."""


@dataclass(slots=True)
class ClassPrior:
    """Notices such a run, which now and then a small set's seed leads to (Mosbach et al., 2021)."""

    loss: float
    """Of the best constant prediction: the entropy of the classes in training."""
    predicted: set[int] = field(default_factory=set)
    """The classes of the last evaluation."""

    def watch(self, chunks: Iterable[Chunk[Any]]) -> Iterator[Chunk[Any]]:
        """Passes an evaluation's chunks on and notes which classes their logits are for."""
        self.predicted = set()
        for chunk in chunks:
            self.predicted.update(np.unique(chunk[2].argmax(axis=1)).tolist())
            yield chunk

    def is_all(self, losses: Sequence[float]) -> bool:
        """Whether dev was given one class alone, and an epoch's losses say the same."""
        return len(self.predicted) == 1 and float(np.mean(losses)) >= self.loss


def class_prior(
    head: str, encodings: Encodings, class_weights: NDArray[np.float32] | None
) -> ClassPrior | None:
    """For heads that choose one class, by the targets that are learned from."""
    targets = encodings.targets
    if HEADS[head].classes != "one" or targets is None:
        return None
    learned = targets[targets != IGNORED].astype(np.int64)
    if not len(learned):
        return None
    counts = np.bincount(learned)
    weights = np.ones(len(counts)) if class_weights is None else class_weights[: len(counts)]
    weighted = counts * weights.astype(np.float64)
    present = weighted[weighted > 0]
    loss = -(present * np.log(present / present.sum())).sum() / weighted.sum()
    return ClassPrior(float(loss))
