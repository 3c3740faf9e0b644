"""Entities (spans with a type) and words with a tag."""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np

from onelayer.metrics.counts import Ints, Marks, Rows, Tally

Entity: TypeAlias = tuple[int, int, str]
"""Start, end, type; in whatever unit, as long as gold and predicted share it."""


@dataclass(frozen=True, eq=False)
class Entities:
    """``gold`` and ``predicted`` sets of entities, one set for each of N rows.

    An entity is right if start, end and type all are. Gives precision, recall and F1 over all
    entities, and macro F1 over the types that gold or the predictions have: seqeval's strict
    micro and macro averages.
    """

    gold: Sequence[AbstractSet[Entity]]
    predicted: Sequence[AbstractSet[Entity]]

    def __len__(self) -> int:
        return len(self.gold)

    def __call__(self, rows: Rows | None = None) -> dict[str, float]:
        counts = self._tally(rows)
        micro = counts.total()
        return {
            "precision": float(micro.precision[0]),
            "recall": float(micro.recall[0]),
            "f1": float(micro.f1[0]),
            "macro_f1": counts.macro_f1(),
        }

    def by_type(self) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and support of every type, in the order of their names."""
        return self._tally().table(self._types)

    @cached_property
    def _types(self) -> list[str]:
        return sorted({kind for row in (*self.gold, *self.predicted) for _, _, kind in row})

    @cached_property
    def _tally(self) -> Tally:
        both = [gold & predicted for gold, predicted in zip(self.gold, self.predicted, strict=True)]
        return Tally(
            n_rows=len(self),
            n_classes=len(self._types),
            right=self._marks(both),
            gold=self._marks(self.gold),
            predicted=self._marks(self.predicted),
        )

    def _marks(self, sets: Sequence[AbstractSet[Entity]]) -> Marks:
        ids = {kind: i for i, kind in enumerate(self._types)}
        pairs = [(row, ids[kind]) for row, found in enumerate(sets) for _, _, kind in found]
        rows, kinds = np.array(pairs, dtype=np.intp).reshape(-1, 2).T
        return rows, kinds


@dataclass(frozen=True, eq=False)
class Tokens:
    """How many words of a row got the ``right`` tag, of how many in ``total``, each ``(N,)``."""

    right: Ints
    total: Ints

    def __len__(self) -> int:
        return len(self.total)

    def __call__(self, rows: Rows | None = None) -> dict[str, float]:
        chosen = slice(None) if rows is None else rows
        total = int(self.total[chosen].sum())
        return {"accuracy": int(self.right[chosen].sum()) / total if total else float("nan")}
