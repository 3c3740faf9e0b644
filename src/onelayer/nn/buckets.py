"""The buckets of distances that share a bias for attention's scores (Raffel et al., 2020) or a
vector (He et al., 2021). All engines look them up here, so this needs no torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onelayer.nn.bricks import Disentangled

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


def rows_of_distances(kind: Disentangled, longest: int) -> NDArray[np.int64]:
    """The row of the table of vectors for each distance of a query from its key.

    Parameters
    ----------
    kind
        What the table is.
    longest
        Tokens of a sequence, at most.

    Returns
    -------
    array
        (2 longest - 1,) rows of the distances from 1 - longest to longest - 1, which ascend.
    """
    distances = np.arange(1 - longest, longest)
    if kind.farthest is not None:
        # Up to half of the span each has a row; then the scale is logarithmic. The result is
        # rounded up, so precision and order of the operations are those of transformers.
        exact, far = kind.span // 2, abs(distances)
        whole = np.log(np.float32((kind.farthest - 1) / exact))
        steps = np.log((np.maximum(far, exact) / exact).astype(np.float32)) / whole
        wide = np.ceil(steps * np.float32(exact - 1)).astype(np.int64) + exact
        distances = np.where(far <= exact, distances, wide * np.sign(distances))
    return np.clip(distances + kind.span, 0, 2 * kind.span - 1)
