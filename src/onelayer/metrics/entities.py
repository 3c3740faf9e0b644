"""Scores of entities (spans with a type) and of words with tags."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from onelayer.metrics.counts import ByCounts, ChosenRows, Floats, Ints, Marks, Tally
from onelayer.metrics.score_limits import Limits, share_limits

Entity: TypeAlias = tuple[int, int, str]
"""Start, end and type, in any unit that gold and predictions share."""


class Entities(ByCounts):
    """Precision, recall and F1 over all entities of N rows, and macro F1 over their types, as
    seqeval's strict micro and macro averages. An entity is right if start, end and type are.

    Parameters
    ----------
    gold, predicted
        The set of entities of each row. They are read once, as a stream, and only two numbers per
        entity stay in memory: its row and its type.
    """

    best: ClassVar[float] = 1.0
    """The best score of those in ``limits``."""

    def __init__(
        self, gold: Iterable[AbstractSet[Entity]], predicted: Iterable[AbstractSet[Entity]]
    ) -> None:
        ids: dict[str, int] = {}
        right, wanted, found = ((array("q"), array("q")) for _ in range(3))
        self._n_rows = 0
        for wanted_here, found_here in zip(gold, predicted, strict=True):
            both = wanted_here & found_here
            for entities, (rows, types) in (
                (both, right),
                (wanted_here, wanted),
                (found_here, found),
            ):
                for _, _, type_ in entities:
                    rows.append(self._n_rows)
                    types.append(ids.setdefault(type_, len(ids)))
            self._n_rows += 1
        # Types got ids as they occurred; order takes these to the ids of the sorted names.
        self._types = sorted(ids)
        order = np.argsort(np.asarray([ids[type_] for type_ in self._types], dtype=np.int64))

        def marks(occurrences: tuple[array[int], array[int]]) -> Marks:
            rows, types = (np.asarray(numbers, dtype=np.int64) for numbers in occurrences)
            return rows, order[types]

        self._tally = Tally(
            n_rows=self._n_rows,
            n_classes=len(ids),
            right=marks(right),
            gold=marks(wanted),
            predicted=marks(found),
        )

    def __len__(self) -> int:
        return self._n_rows

    def weighted(self, weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        counts = self._tally.weighted(weights)
        micro = counts.total()
        return {
            "precision": micro.precision,
            "recall": micro.recall,
            "f1": micro.f1,
            "macro_f1": counts.macro_f1(),
        }

    def limits(self, *, level: float, units: float) -> dict[str, Limits]:
        """The intervals of all metrics, if ``units`` entities are independent."""
        counts = self._tally()
        return {
            **counts.micro_limits(level=level, units=units),
            "macro_f1": counts.macro_limits(level=level, units=units),
        }

    def mistakes(self) -> Floats:
        """The number of entities in each row that are missing or wrong, ``(N,)``."""
        right, gold, predicted = self._tally.by_row()
        return (gold + predicted - 2 * right).astype(np.float64)

    def by_type(self, rows: ChosenRows | None = None) -> dict[str, dict[str, float]]:
        """Precision, recall, F1 and support of every type, sorted by name."""
        return self._tally(rows).table(self._types)


@dataclass(frozen=True, eq=False)
class Tokens:
    """The accuracy over words: ``right`` tags and ``total`` words of N rows, each ``(N,)``."""

    right: Ints
    total: Ints

    best: ClassVar[float] = 1.0
    """The best score of those in ``limits``."""

    def __len__(self) -> int:
        return len(self.total)

    def __call__(self, rows: ChosenRows | None = None) -> dict[str, float]:
        chosen = slice(None) if rows is None else rows
        total = int(self.total[chosen].sum())
        return {"accuracy": int(self.right[chosen].sum()) / total if total else float("nan")}

    def limits(self, *, level: float, units: float) -> dict[str, Limits]:
        """The interval of the accuracy, if ``units`` words are independent."""
        right, total = float(self.right.sum()), float(self.total.sum())
        return {"accuracy": share_limits(right, total, level=level, units=units)}

    def mistakes(self) -> Floats:
        """The number of words with a wrong tag in each row, ``(N,)``."""
        return (self.total - self.right).astype(np.float64)
