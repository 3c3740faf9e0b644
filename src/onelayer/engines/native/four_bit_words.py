"""Word vectors in four bits, as a bundle stores them where that is asked for.

An int8 table has a byte for each number. Here that byte is a product of two small numbers: a nibble
(-8 to 7) and a multiplier (1 to 15) that the numbers of a group share. Engines multiply them out
and then compute what they compute with any int8 table.

Letters of shapes: V words, E their width, G groups of a row, g numbers of a group.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.checkpoint.bundle_weights import (
    LARGEST_MULTIPLIER,
    MULTIPLIERS,
    NIBBLES,
    WORDS,
    word_group,
)

LOWEST, HIGHEST = -8, 7
"""Of a nibble."""
_ENDS = (7.0, 7.5, 8.0)
"""Where a row's largest number may lie, in steps of the largest multiplier: 7 reaches it exactly,
and the others round it down, which makes all steps of the row smaller."""
_NUMBERS = 1 << 16
"""Numbers of the rows that are searched together: with all that is computed of them they fit into a
processor's second cache."""


def packed_words(table: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """A table of word vectors (V, E), E even, as a bundle's tensors.

    Nibbles are (V, E / 2) int8: a byte's low half has the number of its own column, plus 8, and
    its high half that of the column E / 2 further right, with its sign. Multipliers are (V, G)
    int8, and scales (V,) fp32.
    """
    n_words, width = table.shape
    n_groups = width // word_group(width)
    nibbles = np.empty((n_words, width // 2), dtype=np.int8)
    multipliers = np.empty((n_words, n_groups), dtype=np.int8)
    scales = np.empty(n_words, dtype=np.float32)
    step = max(1, _NUMBERS // width)
    for start in range(0, n_words, step):
        rows = slice(start, start + step)
        grouped = np.asarray(table[rows], dtype=np.float32).reshape(-1, n_groups, width // n_groups)
        scales[rows], multipliers[rows], q = _nearest(grouped)
        low, high = np.split(q.reshape(-1, width), 2, axis=1)
        nibbles[rows] = high * 16 + (low - LOWEST)
    return {NIBBLES: nibbles, MULTIPLIERS: multipliers, f"{WORDS}.scale": scales}


def bytes_saved(n_words: int, width: int) -> int:
    """The bytes of a file that a table has fewer in four bits than in eight."""
    return n_words * (width - width // 2 - width // word_group(width))


def _nearest(
    x_VGg: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.int8]]:
    """The scale of each row, the multiplier of each group and the nibbles with the smallest squared
    error: of each row for the scale, and of each group for the multiplier."""
    largest = np.abs(x_VGg).max(axis=(1, 2))
    scale = np.ones_like(largest)
    multiplier = np.ones(x_VGg.shape[:2], dtype=np.float32)
    least = np.full(len(x_VGg), np.inf, dtype=np.float32)
    for end in _ENDS:
        # A row of zeros, as after pruning, gets any scale.
        one = largest / np.float32(end * LARGEST_MULTIPLIER)
        one[one == 0] = 1
        found, error = _multipliers(x_VGg / one[:, None, None])
        total = error.sum(axis=1) / np.float32(end * end)  # in numbers that don't depend on the end
        better = total < least
        scale[better], multiplier[better], least[better] = one[better], found[better], total[better]
    q = _rounded(x_VGg / (scale[:, None] * multiplier)[:, :, None])
    return scale, multiplier.astype(np.int8), q.astype(np.int8)


def _multipliers(
    steps_VGg: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The best multiplier of each group of numbers, given in steps of their rows' scales, and its
    squared error."""
    best = np.ones(steps_VGg.shape[:2], dtype=np.float32)
    least = np.full_like(best, np.inf)
    for multiplier in range(1, LARGEST_MULTIPLIER + 1):
        x = steps_VGg * np.float32(1 / multiplier)
        off = _rounded(x)
        off -= x
        error = np.einsum("vgi,vgi->vg", off, off)
        error *= np.float32(multiplier**2)
        better = error < least
        best[better], least[better] = multiplier, error[better]
    return best, least


def _rounded(x: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest nibbles."""
    found: NDArray[np.float32] = np.rint(x)
    return np.clip(found, LOWEST, HIGHEST, out=found)
