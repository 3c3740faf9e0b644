"""Chooses rows that are doubtful and differ from each other.

The most doubtful rows are clustered by k-means, in which a row's doubt is its weight, and the row
nearest to the centre of each cluster is chosen (Zhdanov 2019, "Diverse mini-batch Active
Learning"). Memory and time grow linearly with the rows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from onelayer.tokens.encodings import Ints

Floats = NDArray[np.floating]

CANDIDATES = 20
"""For each row to choose, this number of doubtful rows is clustered. With more of them rows differ
more and are less doubtful; with 5 to 40 of them no learning curve was clearly better."""
MOST_CLUSTERS = 500
"""Clusters that are made at once. More rows are chosen from parts of the candidates."""
ROUNDS = 10
"""Rounds of k-means, at most: it is nearly at rest then."""


def choose_rows(doubt: Floats, features: Floats, n: int, rng: np.random.Generator) -> Ints:
    """Chooses rows.

    Parameters
    ----------
    doubt
        (B,) how doubtful each row is, from 0.
    features
        (B, D) what tells rows apart: rows that are alike are near each other.
    n
        How many rows to choose; all if there are fewer.
    rng
        Draws the first centres.

    Returns
    -------
    Ints
        (n,) indices of the rows, the most doubtful first.
    """
    if n >= len(doubt):
        return np.argsort(-doubt, kind="stable")
    shuffled = rng.permutation(len(doubt))  # of equally doubtful rows any may be a candidate
    candidates = shuffled[np.argsort(-doubt[shuffled], kind="stable")][: CANDIDATES * n]
    parts = -(-n // MOST_CLUSTERS)
    chosen: list[Ints] = []
    for part in range(parts):
        # Dealt out like cards, so that each part has as many of the most doubtful rows.
        own = candidates[part::parts]
        k = n // parts + (part < n % parts)
        chosen.append(own[_representatives(features[own], doubt[own], k, rng)])
    found = np.concatenate(chosen)
    return found[np.argsort(-doubt[found], kind="stable")]


def joined_features(*parts: Floats | None) -> NDArray[np.float32]:
    """(B, D) several kinds of features side by side. Each kind has the same weight: its rows are
    moved so that their mean is 0, and divided by their mean length."""
    found = []
    for part in parts:
        if part is None or not part.size:
            continue
        centred = part - part.mean(axis=0)
        length = float(np.sqrt((centred**2).sum(axis=1)).mean())
        found.append((centred / max(length, 1e-12)).astype(np.float32))
    return np.concatenate(found, axis=1) if found else np.zeros((_rows(parts), 1), np.float32)


def _rows(parts: tuple[Floats | None, ...]) -> int:
    return next((len(part) for part in parts if part is not None), 0)


def _representatives(x: Floats, weight: Floats, k: int, rng: np.random.Generator) -> Ints:
    """(k,) the row nearest to the centre of each of k clusters."""
    weight = np.maximum(weight, 1e-6)  # rows without doubt are rows, too
    centres = x[_first_centres(x, weight, k, rng)]
    cluster = _nearest(x, centres)
    for _ in range(ROUNDS):
        centres = _means(x, weight, cluster, centres)
        before, cluster = cluster, _nearest(x, centres)
        if np.array_equal(before, cluster):
            break
    distance = ((x - centres[cluster]) ** 2).sum(axis=1)
    order = np.lexsort((distance, cluster))
    _, first = np.unique(cluster[order], return_index=True)
    chosen = order[first]
    # A centre that no row is nearest to leaves its place to the most doubtful rows.
    spare = np.setdiff1d(np.argsort(-weight, kind="stable"), chosen, assume_unique=True)
    return np.concatenate([chosen, spare[: k - len(chosen)]])


def _first_centres(x: Floats, weight: Floats, k: int, rng: np.random.Generator) -> Ints:
    """(k,) rows drawn by k-means++: with a chance in proportion to the row's weight and to the
    square of its distance from the rows that are drawn already (Arthur and Vassilvitskii 2007)."""
    squares = (x**2).sum(axis=1)
    chosen = [int(rng.choice(len(x), p=weight / weight.sum()))]
    distance = np.full(len(x), np.inf)
    while len(chosen) < k:
        last = x[chosen[-1]]
        distance = np.minimum(distance, np.maximum(squares + last @ last - 2 * (x @ last), 0.0))
        chance = np.asarray(distance * weight, dtype=np.float64)
        chance[chosen] = 0.0
        if not chance.sum() > 0:  # all rows left are where a centre is
            chance = np.asarray(weight, dtype=np.float64).copy()
            chance[chosen] = 0.0
        chosen.append(int(rng.choice(len(x), p=chance / chance.sum())))
    return np.array(chosen)


def _nearest(x: Floats, centres: Floats) -> Ints:
    """(B,) the number of the centre that each row is nearest to."""
    return np.asarray(((centres**2).sum(axis=1) - 2 * (x @ centres.T)).argmin(axis=1))


def _means(x: Floats, weight: Floats, cluster: Ints, centres: Floats) -> Floats:
    """(K, D) the weighted mean of each cluster's rows; a cluster without rows keeps its centre."""
    order = np.argsort(cluster, kind="stable")
    there, first = np.unique(cluster[order], return_index=True)
    weighed = (x * weight[:, None])[order]
    means = centres.copy()
    means[there] = np.add.reduceat(weighed, first) / np.add.reduceat(weight[order], first)[:, None]
    return means
