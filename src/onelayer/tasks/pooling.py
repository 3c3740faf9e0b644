"""The windows of a long text come together: a row's logits from those of its windows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import numpy as np

from onelayer.metrics import Scorer, clearly_better
from onelayer.recipe import Recipe
from onelayer.tasks.logits import Logits
from onelayer.tasks.protocol import Chunk
from onelayer.tokens.encodings import Encodings

Pooling = Literal["mean", "max", "ends", "head"]
POOLINGS: tuple[Pooling, ...] = ("mean", "max", "ends", "head")
"""All windows: the mean of their logits, or each output's highest. The first and the last window.
The first window alone, which is what truncation leaves."""
WINDOWS_READ: dict[Pooling, int] = {"ends": 2, "head": 1}
"""How many windows of a row a way looks at, where not at all."""


def first_pooling(recipe: Recipe) -> Pooling:
    """Of the fitted task: whether all windows are learned from, or the first ones alone."""
    return "head" if recipe.long == "truncate" else "mean"


def reading(max_length: int, pooling: Pooling) -> str:
    """In words, how a text is read."""
    return (
        f"the first {max_length} tokens" if pooling == "head" else f"windows of {max_length} tokens"
    )


def chosen_by_scores(pooling: Pooling, scores: Mapping[str, float], metric: str) -> str | None:
    """In words, how texts of several windows are predicted, and by which scores on held-out
    rows that was chosen; None where there was nothing to choose."""
    if not scores:
        return None
    how = {
        "mean": "long texts by the mean of their windows",
        "max": "long texts by the highest logits of their windows",
        "ends": "long texts by their first and last windows",
        "head": "long texts by their first windows alone",
    }[pooling]
    said = ", ".join(f"{name} {score:.4g}" for name, score in scores.items())
    return f"{how}; {metric} by each way: {said}"


def pool(encodings: Encodings, logits: Logits, how: Pooling) -> Logits:
    """(R, C) logits, one line a window -> (B, C), one line a row, in the same precision: what a row
    gets doesn't depend on whether another one has several windows."""
    bounds = encodings.row_reads
    first, last = bounds[:-1], bounds[1:] - 1
    if len(first) == len(logits):
        return logits
    match how:
        case "head":
            return logits[first]
        case "ends":
            return (logits[first] + logits[last]) / 2
        case "max":
            return np.asarray(np.maximum.reduceat(logits, first))
        case "mean":
            n = (1 + last - first)[:, None].astype(logits.dtype)
            return np.asarray(np.add.reduceat(logits, first) / n)


def pooled_by(chunks: Iterable[Chunk[Any]], ways: Iterable[Pooling]) -> dict[Pooling, Logits]:
    """(B, C) logits of all rows, pooled in each of the ways; in the first one alone where no row
    has several windows, as all are the same then."""
    parts: dict[Pooling, list[Logits]] = {how: [] for how in ways}
    several = False
    for _, encodings, logits in chunks:
        several = several or len(logits) > len(encodings)
        for how, pooled in parts.items():
            pooled.append(pool(encodings, logits, how))
    chosen = list(parts) if several else list(parts)[:1]
    return {how: np.concatenate(parts[how]) for how in chosen}


def best_pooling(
    logits: dict[Pooling, Logits], score: Callable[[Logits], Scorer], metric: str
) -> tuple[Pooling, dict[str, float], Scorer]:
    """The way that scores best on held-out rows, of equal ones the first; the score of each that
    has one, where there is a choice; and all scores of the best.

    A way that leaves windows unread must clearly beat those that read all: small dev sets can't
    tell the ways apart, and what is in a text is read unless there is a reason not to.
    """
    scorers = {how: score(pooled) for how, pooled in logits.items()}
    values = {how: scorer()[metric] for how, scorer in scorers.items()}
    known: dict[str, float] = {how: v for how, v in values.items() if not math.isnan(v)}
    ranked = sorted(scorers, key=lambda how: -known.get(how, -math.inf))
    best = ranked[0]
    whole = next((how for how in ranked if how not in WINDOWS_READ), best)
    if best != whole and not clearly_better(scorers[best], scorers[whole], metric):
        best = whole
    return best, known if len(values) > 1 else {}, scorers[best]
