"""The likeliest legal sequence of labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def best_path(scores: NDArray[np.floating], allowed: Mask, start: Mask, end: Mask) -> list[int]:
    """(n, L) scores -> n labels of the highest sum among the legal sequences (Viterbi, 1967).

    ``allowed[a, b]`` says whether b may follow a; ``start`` and ``end`` which labels may be first
    and last.
    """
    n = len(scores)
    if n == 0:
        return []
    free = scores.argmax(axis=1)
    if start[free[0]] and end[free[-1]] and allowed[free[:-1], free[1:]].all():
        return [int(label) for label in free]  # the best of all sequences is legal: most are

    barrier = np.where(allowed, 0.0, -np.inf)
    best = np.where(start, scores[0], -np.inf)
    came_from = np.zeros(scores.shape, dtype=np.int64)
    for i in range(1, n):
        through = best[:, None] + barrier
        came_from[i] = through.argmax(axis=0)
        best = through.max(axis=0) + scores[i]
    path = [int(np.where(end, best, -np.inf).argmax())]
    for i in range(n - 1, 0, -1):
        path.append(int(came_from[i, path[-1]]))
    return path[::-1]
