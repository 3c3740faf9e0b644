"""Answers as the targets of a window's tokens, for both output layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SpanHead = Literal["span", "three-way"]


def span_targets(
    golds: Sequence[tuple[int, int]], n: int, span_head: SpanHead
) -> NDArray[np.float32]:
    """Where in a window of n passage tokens the answers start and end, annotators sharing the mass;
    on ``[CLS]`` where the window has none.

    Parameters
    ----------
    golds
        The first and the last token of each answer.

    Returns
    -------
    NDArray
        (n + 1, 2) for the span head, ``[CLS]`` first; (n, 3) for three classes per token.
    """
    share = 1.0 / len(golds) if golds else 0.0
    at = np.zeros((n, 2), dtype=np.float32)
    for start, end in golds:
        at[start, 0] += share
        at[end, 1] += share
    if span_head == "span":
        return np.concatenate([np.full((1, 2), float(not golds), dtype=np.float32), at])
    # A token that is both start and end is shared between the two classes.
    at /= np.maximum(at.sum(axis=1, keepdims=True), 1.0)
    return np.concatenate([1.0 - at.sum(axis=1, keepdims=True), at], axis=1)


def answer_length(targets: NDArray[np.generic], span_head: SpanHead) -> int:
    """The tokens from the first start to the last end that the targets of a window mark; 0 where
    they mark none."""
    starts, ends = (np.flatnonzero(targets[int(span_head == "span") :, c]) for c in (-2, -1))
    return int(ends[-1] - starts[0]) + 1 if len(starts) and len(ends) else 0
