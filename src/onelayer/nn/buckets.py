"""The buckets of distances that share a bias for attention's scores (Raffel et al., 2020). All
engines look them up here, so this needs no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FARTHEST = 128
"""Distances from here on share a bucket."""


def bucket_of_distances(longest: int, n_buckets: int) -> NDArray[np.int64]:
    """The bucket of each distance of a key from its query.

    Half of the buckets are for keys behind the query. In each half, half of the buckets are for one
    distance each, and the rest get wider logarithmically, up to ``FARTHEST``.

    Parameters
    ----------
    longest
        Tokens of a sequence, at most.
    n_buckets
        Buckets in both directions.

    Returns
    -------
    array
        (2 longest - 1,) buckets of the distances from 1 - longest to longest - 1.
    """
    half = n_buckets // 2
    exact = half // 2
    wide = half - exact
    distances = np.arange(1 - longest, longest)
    far = abs(distances)
    # Wide bucket k starts at exact (FARTHEST / exact)^(k / wide). In whole numbers that has no
    # rounding, which would move the bounds that are powers of two.
    starts = [
        next(
            n for n in range(exact, FARTHEST + 1) if n**wide * exact**k >= FARTHEST**k * exact**wide
        )
        for k in range(1, wide)
    ]
    of_far = np.where(far < exact, far, exact + np.searchsorted(starts, far, side="right"))
    return np.asarray(np.where(distances > 0, half, 0) + of_far, dtype=np.int64)
