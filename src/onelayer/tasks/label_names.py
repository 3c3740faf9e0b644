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


def ids_of(names: Iterable[tuple[str, Place]], labels: Sequence[str]) -> list[int]:
    """Label names -> their ids. Raises DataError for a label that training did not have."""
    index = {label: i for i, label in enumerate(labels)}
    ids: list[int] = []
    unknown: dict[str, Place] = {}
    for name, place in names:
        ids.append(index.get(name, -1))
        if name not in index:
            unknown.setdefault(name, place)
    if unknown:
        name, *others = unknown
        near = difflib.get_close_matches(name[:100], labels, n=1)
        meant = f"did you mean {near[0]!r}? " if near else ""
        more = listed(list(map(repr, others)), 4)
        raise DataError(
            f"label {name!r} does not occur in the training rows" + (more and f", nor do {more}"),
            place=unknown[name],
            hint=f"{meant}training has {listed(labels)}",
        )
    return ids
