"""Detects a run that has learned only how frequent the classes are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.nn.heads import HEADS, IGNORED
from onelayer.tasks.protocol import Chunk
from onelayer.tokens.encodings import Encodings

MAX_RESTARTS = 2
"""Restarts of one run. After three failures the data is a likelier cause than the seed."""
SEED_STEP = 1000
"""How much a restart adds to the seed. Users rarely choose seeds that differ by as much, so a
restart doesn't repeat another run of theirs."""


@dataclass(slots=True)
class ClassPrior:
    """The class frequencies, and whether they are all that a model has learned.

    With few rows some seeds lead to such a model (Mosbach et al., 2021).
    """

    loss: float
    """The loss of the best constant prediction: the entropy of the training classes."""
    predicted: set[int] = field(default_factory=set)
    """The classes that the last evaluation predicted."""

    def watch(self, chunks: Iterable[Chunk[Any]]) -> Iterator[Chunk[Any]]:
        """Yields an evaluation's chunks and notes which classes they predict."""
        self.predicted = set()
        for chunk in chunks:
            self.predicted.update(np.unique(chunk[2].argmax(axis=1)).tolist())
            yield chunk

    def explains(self, losses: Sequence[float]) -> bool:
        """Whether all dev rows got the same class, and the mean training loss is no lower than
        that of a constant prediction."""
        return len(self.predicted) == 1 and float(np.mean(losses)) >= self.loss


def class_prior(
    head: str, encodings: Encodings, class_weights: NDArray[np.float32] | None
) -> ClassPrior | None:
    """The prior of the training targets; None for heads that don't choose one class."""
    targets = encodings.targets
    if HEADS[head].classes != "one" or targets is None:
        return None
    learned = targets[targets != IGNORED].astype(np.int64)
    if not len(learned):
        return None
    counts = np.bincount(learned)
    weights = np.ones(len(counts)) if class_weights is None else class_weights[: len(counts)]
    weighted = counts * weights.astype(np.float64)
    present = weighted[weighted > 0]  # 0 · log 0 is 0
    loss = -(present * np.log(present / present.sum())).sum() / weighted.sum()
    return ClassPrior(float(loss))
