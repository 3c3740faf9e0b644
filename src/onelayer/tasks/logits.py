"""From logits to probabilities, and from the logits of a batch to those of each row."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from onelayer.tokens.encodings import Encodings

P = TypeVar("P")
Logits = NDArray[np.floating]

EPSILON = float(np.finfo(np.float64).eps)
"""The log loss takes no probability for less, as scikit-learn's does not."""


def softmax(x: Logits, axis: int = -1) -> NDArray[np.float64]:
    """In double precision, so that probabilities add up to one."""
    x = np.asarray(x, dtype=np.float64)
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def sigmoid(x: Logits) -> NDArray[np.float64]:
    """In double precision, and without overflow."""
    return 0.5 + 0.5 * np.tanh(0.5 * np.asarray(x, dtype=np.float64))


def log_loss(probability: float) -> float:
    """What a row adds to the log loss that held its gold label to be so likely, in nats."""
    return -math.log(max(probability, EPSILON))


def per_row(encodings: Encodings, logits: Logits, each: Callable[[int, Logits], P]) -> list[P]:
    """``each(row number, that row's logits)`` for every row."""
    bounds = encodings.row_reads.tolist()
    return [each(i, logits[bounds[i] : bounds[i + 1]]) for i in range(len(encodings))]
