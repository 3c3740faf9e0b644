"""Splits dev rows off the training rows. It needs only a few bytes of each row."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.sketch import Sketch
from onelayer.tasks import AnyTask
from onelayer.tokens.encodings import Ints

DEV_SHARE = 0.1
"""The share of the rows that is kept as dev."""
MAX_DEV_ROWS = 10_000
"""With so large a dev set a score of 0.9 is known to ± 0.006. More rows make evaluation slower."""


@dataclass(slots=True)
class SplitKeys:
    """What the split needs to know of each row: its group and its stratum."""

    kind: type[AnyTask]
    groups: array[int] = field(default_factory=lambda: array("q"))
    """A hash of 64 bits for each row's group; empty for a task without groups. The chance that two
    of five million groups share a hash is one in a million. They then stay together, which does no
    harm."""
    strata: array[int] = field(default_factory=lambda: array("i"))
    """The number of each row's stratum."""
    stratum_numbers: dict[str | None, int] = field(default_factory=dict)
    """By name, numbered in order of appearance."""
    sketch: Sketch = field(default_factory=Sketch)

    def add(self, row: Any) -> None:
        group = self.kind.group(row)
        if group is not None:
            self.groups.append(_hash(group))
        self.sketch.see(self.kind.texts(row))
        stratum = self.kind.stratum(row)
        self.strata.append(self.stratum_numbers.setdefault(stratum, len(self.stratum_numbers)))


def split_dev(keys: SplitKeys, usable: NDArray[np.bool_], *, seed: int) -> NDArray[np.bool_]:
    """Chooses the dev rows: a tenth of the usable ones, or about ``MAX_DEV_ROWS`` if that is less.

    Every stratum gives its share. A group is whole on one side. ``usable`` and the result are (n,).
    """
    rows = np.flatnonzero(usable)
    # Without groups each row is a group of its own.
    first_row: Ints = np.arange(len(rows))
    group_of_row = first_row
    if keys.groups:
        first_row, group_of_row = _in_order_of_appearance(_array(keys.groups, np.int64)[rows])
    n_groups = len(first_row)
    share = min(DEV_SHARE, MAX_DEV_ROWS / max(len(rows), 1))

    # A group belongs to the stratum of its first row. Sorting puts each stratum's groups together.
    stratum_of_group = _array(keys.strata, np.int32)[rows][first_row]
    by_stratum = np.argsort(stratum_of_group, kind="stable")
    bounds = np.searchsorted(stratum_of_group[by_stratum], np.arange(len(keys.stratum_numbers) + 1))
    names = {number: str(name) for name, number in keys.stratum_numbers.items()}
    rng = np.random.default_rng((seed, 0xDE7))
    dev_groups = np.zeros(n_groups, np.bool_)
    # A stratum's share is rarely a whole number. What rounding leaves is passed to the next
    # stratum, the smallest first, so that many small strata together still give their share.
    carried_over = 0.0
    for stratum in sorted(names, key=lambda s: (bounds[s + 1] - bounds[s], names[s])):
        members = by_stratum[bounds[stratum] : bounds[stratum + 1]]
        if not len(members):
            continue  # none of its rows is usable
        carried_over += share * len(members)
        # A stratum's only group stays in training: a label without examples can't be learned.
        n_dev = min(round(carried_over), len(members) - 1)
        carried_over -= n_dev
        dev_groups[members[rng.permutation(len(members))[:n_dev]]] = True
    if not dev_groups.any() and n_groups > 1:
        dev_groups[rng.integers(n_groups)] = True
    dev = np.zeros(len(usable), np.bool_)
    dev[rows] = dev_groups[group_of_row]
    return dev


def _in_order_of_appearance(hashes: Ints) -> tuple[Ints, Ints]:
    """Numbers groups in order of appearance: each group's first row (groups,), each row's group
    (n,)."""
    _, first_row, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(first_row)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first_row[order], rank[inverse]


def _hash(group: str) -> int:
    digest = blake2b(group.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _array(values: array[int], dtype: type[np.integer]) -> Ints:
    return np.frombuffer(values, dtype) if values else np.empty(0, dtype)
