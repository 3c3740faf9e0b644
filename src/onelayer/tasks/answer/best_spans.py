"""Which spans of a passage have the highest scores, and which window scores them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from onelayer.tokens.encodings import Ints

EVERYWHERE = (-math.inf, math.inf)


def span_sums(
    firsts: NDArray[np.number], lasts: NDArray[np.number], longest: int
) -> NDArray[np.floating]:
    """(n, width) ``firsts[a] + lasts[a + k]`` for the spans that start at token ``a`` of n and have
    ``k + 1`` tokens, at most ``longest``; -inf where that is beyond the last token."""
    width = min(longest, len(firsts))
    padded = np.concatenate([lasts, np.full(width - 1, -np.inf)])
    return np.asarray(firsts[:, None] + np.lib.stride_tricks.sliding_window_view(padded, width))


def best_spans(sums: NDArray[np.floating], n: int) -> list[tuple[int, int, float]]:
    """The n spans (first, last, score) with the highest scores (n, width), best first. Of equal
    scores the first in the passage comes first, the shorter one of two that begin together."""
    flat = sums.ravel()
    least = np.partition(flat, -min(n, len(flat)))[-min(n, len(flat))]
    top = np.flatnonzero((flat >= least) & np.isfinite(flat))
    top = top[np.argsort(-flat[top], kind="stable")][:n]
    first, length = np.divmod(top, sums.shape[1])
    return [
        (int(a), int(a + extra), float(score))
        for a, extra, score in zip(first, length, flat[top], strict=True)
    ]


def parted(windows: Sequence[Ints]) -> list[tuple[float, float]]:
    """From which sum of first and last character to which a window's spans are its own, given each
    window's offsets. Where two windows overlap, the middle parts them: a span is scored once, where
    most of its surroundings are seen."""
    if len(windows) < 2:
        return [EVERYWHERE] * len(windows)
    middles = [float(a[-1, 1] + b[0, 0]) for a, b in pairwise(windows)]
    return list(pairwise((EVERYWHERE[0], *middles, EVERYWHERE[1])))
