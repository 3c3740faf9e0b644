"""The names of labels: their order, and their ids."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from onelayer.base.errors import DataError, Place
from onelayer.base.wording import listed


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Distinct names, numbers by value and before other names."""

    def key(name: str) -> tuple[int, float, str]:
        try:
            return (0, float(name), name)
        except ValueError:
            return (1, 0.0, name)

    return tuple(sorted(set(names), key=key))


class LabelIds:
    """The ids of a model's labels; keeps the names that it doesn't know."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self._index = {label: i for i, label in enumerate(labels)}
        self._unknown: dict[str, Place] = {}

    def add(self, name: str, place: Place) -> int:
        """The id of a name that a row has; -1 if the model doesn't know it."""
        found = self._index.get(name, -1)
        if found < 0:
            self._unknown.setdefault(name, place)
        return found

    def refuse_unknown(self) -> None:
        """Raises DataError if there was a label that training did not have."""
        if not self._unknown:
            return
        name, *others = self._unknown
        near = difflib.get_close_matches(name[:100], self.labels, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        more = listed(list(map(repr, others)), 4)
        raise DataError(
            f"label {name!r} does not occur in the training rows" + (more and f", nor do {more}"),
            place=self._unknown[name],
            hint=f"{meant}training has {listed(self.labels)}",
        )
