"""Limits of scores that are shares, for the ends of their scale, where a bootstrap is blind.

If all rows are right, every resample is right, too, and a bootstrap's interval is a point, however
few the rows are. The limits here are those of Agresti and Coull (1998): as if there were about two
more right rows and two more wrong ones. They hold for few rows and at both ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Limits: TypeAlias = tuple[float, float]
UNKNOWN: Limits = (math.nan, math.nan)


def share_limits(
    total: float, n: float, *, level: float, units: float = math.inf, squares: float | None = None
) -> Limits:
    """The interval of the mean of ``n`` values from 0 to 1.

    Parameters
    ----------
    total, squares
        The sum of the values and of their squares; equal, and given once, where each is 0 or 1.
    n
        The number of values. Without any, nothing is known.
    level
        The chance that the interval holds the true mean.
    units
        The number of values that are independent of each other, if that is less than ``n``.
    """
    if n <= 0:
        return UNKNOWN
    fewer = min(1.0, units / n)
    squares = total if squares is None else squares
    z = NormalDist().inv_cdf((1 + level) / 2)
    more = n * fewer + z * z
    mean = (total * fewer + z * z / 2) / more
    spread = (squares * fewer + z * z / 2) / more - mean * mean
    half = z * math.sqrt(max(spread, 0.0) / more)
    return max(0.0, mean - half), min(1.0, mean + half)


def f1_limits(
    right: float, gold: float, predicted: float, *, level: float, units: float = math.inf
) -> Limits:
    """The interval of 2 right / (gold + predicted). F1 rises with the share of right ones among all
    that are gold or predicted, which is a mean of values of 0 and 1."""
    low, high = share_limits(right, gold + predicted - right, level=level, units=units)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def mean_limits(values: Iterable[float], limits: Iterable[Limits]) -> Limits:
    """The interval of the mean of independent values that have intervals of their own, by the
    method of variance estimates recovery (Zou and Donner 2008). Values with unknown limits count as
    known."""
    v = np.asarray(list(values), np.float64)
    bounds: NDArray[np.float64] = np.asarray(list(limits), np.float64).reshape(-1, 2)
    if not len(v):
        return UNKNOWN
    below, above = (np.nan_to_num(np.abs(v - side)) for side in bounds.T)
    mean = float(v.mean())
    return (
        max(0.0, mean - float(np.linalg.norm(below)) / len(v)),
        min(1.0, mean + float(np.linalg.norm(above)) / len(v)),
    )


def correlation_limits(r: float, n: int, *, level: float) -> Limits:
    """The interval of a correlation of ``n`` pairs (Fisher 1921): with three or fewer it may be
    anything."""
    if math.isnan(r):
        return UNKNOWN
    if n <= 3:
        return -1.0, 1.0
    z = NormalDist().inv_cdf((1 + level) / 2) / math.sqrt(n - 3)
    middle = math.atanh(min(max(r, -1 + 1e-12), 1 - 1e-12))
    return math.tanh(middle - z), math.tanh(middle + z)


def label_limits(
    values: Mapping[str, Any], *, level: float, units: float = math.inf
) -> dict[str, Limits]:
    """The intervals of the precision, recall and F1 of a label, which has its ``support`` among
    ``values``. How often it was predicted is only known if some prediction was right."""
    precision, recall, support = values["precision"], values["recall"], values["support"]
    right = recall * support
    predicted = right / precision if precision > 0 else 0.0
    if not support:
        return {"precision": UNKNOWN, "recall": UNKNOWN, "f1": UNKNOWN}
    return {
        "precision": share_limits(right, predicted, level=level, units=units),
        "recall": share_limits(right, support, level=level, units=units),
        "f1": f1_limits(right, support, predicted, level=level, units=units),
    }


def wider(one: Limits, other: Limits) -> Limits:
    """The smallest interval that holds both; ``one`` where the other is unknown."""
    if math.isnan(other[0]):
        return one
    return min(one[0], other[0]), max(one[1], other[1])
