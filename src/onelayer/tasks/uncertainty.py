"""How unsure a model is of rows, and what it believes of them: for choosing rows to label."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from onelayer.tasks.logits import Logits, sigmoid, softmax
from onelayer.tokens.encodings import Encodings, segment_means

Floats = NDArray[np.floating]

WORDS_COUNTED = 3
"""A sentence is as doubtful as this number of its words, the most doubtful ones: most words of a
long sentence are easy, and a single odd one says little."""


class Uncertainty(NamedTuple):
    """What a model thinks of B rows."""

    doubt: Floats
    """(B,) how unsure it is of its answer to each row, from 0 to 1."""
    belief: Floats
    """(B, K) numbers that are close for rows that it believes the same about."""


def no_uncertainty(n: int) -> Uncertainty:
    """For a task that doesn't know how sure its answers are: all rows count the same."""
    return Uncertainty(np.ones(n), np.zeros((n, 0)))


def uncertain_label(logits: Logits) -> Uncertainty:
    """Of (B, C) logits: 1 less the margin of the likeliest class over the next one.

    The distance of two square roots of distributions is Hellinger's.
    """
    probabilities = softmax(logits)
    return Uncertainty(1.0 - margins(probabilities), np.sqrt(probabilities))


def margins(probabilities: Floats) -> Floats:
    """(B, C) probabilities -> (B,) by how much the likeliest class leads; 1 for a single one."""
    if probabilities.shape[1] < 2:
        return np.ones(len(probabilities))
    best = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(best[:, 1] - best[:, 0])


def uncertain_labels(logits: Logits, thresholds: Sequence[float]) -> Uncertainty:
    """Of (B, L) logits: how near the label that is nearest to its threshold is to it, 1
    where it is at it, 0 where all labels are certain."""
    probabilities = sigmoid(logits)
    at = np.clip(np.asarray(thresholds), 1e-6, 1 - 1e-6)
    below = probabilities < at
    near = np.where(below, probabilities / at, (1 - probabilities) / (1 - at))
    belief = np.concatenate([np.sqrt(probabilities), np.sqrt(1 - probabilities)], axis=1)
    return Uncertainty(near.max(axis=1), belief)


def uncertain_words(encodings: Encodings, logits: Logits) -> Uncertainty:
    """Of (R, C) logits, a line a word: the mean over each row's ``WORDS_COUNTED`` most doubtful
    words, and the mean of what is believed of all of them."""
    probabilities = softmax(logits) if len(logits) else logits
    by_word = 1.0 - margins(probabilities)
    bounds = encodings.row_reads
    row_of_word = np.repeat(np.arange(len(encodings)), np.diff(bounds))
    order = np.lexsort((-by_word, row_of_word))
    rank = np.arange(len(by_word)) - bounds[row_of_word]
    counted = order[rank < WORDS_COUNTED]
    sums = np.bincount(row_of_word[counted], by_word[counted], len(encodings))
    number = np.bincount(row_of_word[counted], minlength=len(encodings))
    belief = segment_means(np.sqrt(probabilities).astype(np.float32), np.diff(bounds))
    return Uncertainty(sums / np.maximum(number, 1), belief)
