"""A dev set carved off the training rows, of which only a few bytes each are known."""

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
MOST_DEV = 10_000
"""Dev rows: a score of 0.9 is then known to ± 0.006, and looking at it stays cheap."""


@dataclass(slots=True)
class Facts:
    """By what rows are split: the group and the stratum of each row seen."""

    kind: type[AnyTask]
    groups: array[int] = field(default_factory=lambda: array("q"))
    """64 bits for each row's group; empty for a task without groups. That two of five million
    groups share them is a chance of one in a million, and no harm: they stay together."""
    strata: array[int] = field(default_factory=lambda: array("i"))
    names: dict[str | None, int] = field(default_factory=dict)
    """Strata by name, numbered as they come."""
    sketch: Sketch = field(default_factory=Sketch)

    def see(self, row: Any) -> None:
        group = self.kind.group(row)
        if group is not None:
            self.groups.append(_bits(group))
        self.sketch.see(self.kind.texts(row))
        self.strata.append(self.names.setdefault(self.kind.stratum(row), len(self.names)))


def carve(facts: Facts, rows: NDArray[np.bool_], *, seed: int) -> NDArray[np.bool_]:
    """Which of the given rows are kept as dev, (n,): a tenth or at most some ten thousand, of every
    stratum in proportion, groups whole."""
    chosen = np.flatnonzero(rows)
    first: Ints = np.arange(len(chosen))
    group_of_row = first
    if facts.groups:
        first, group_of_row = _in_order_of_appearance(_array(facts.groups, np.int64)[chosen])
    n_groups = len(first)
    share = min(DEV_SHARE, MOST_DEV / max(len(chosen), 1))
    stratum_of = _array(facts.strata, np.int32)[chosen][first]
    by_stratum = np.argsort(stratum_of, kind="stable")
    bounds = np.searchsorted(stratum_of[by_stratum], np.arange(len(facts.names) + 1))
    names = {number: str(name) for name, number in facts.names.items()}
    rng = np.random.default_rng((seed, 0xDE7))
    dev_groups = np.zeros(n_groups, np.bool_)
    owed = 0.0
    for stratum in sorted(names, key=lambda s: (bounds[s + 1] - bounds[s], names[s])):
        members = by_stratum[bounds[stratum] : bounds[stratum + 1]]
        if not len(members):
            continue  # all of its rows turned out to be bad
        owed += share * len(members)
        # A stratum's only group stays in training: what is unseen there can't be learned.
        taken = min(round(owed), len(members) - 1)
        owed -= taken
        dev_groups[members[rng.permutation(len(members))[:taken]]] = True
    if not dev_groups.any() and n_groups > 1:
        dev_groups[rng.integers(n_groups)] = True
    dev = np.zeros(len(rows), np.bool_)
    dev[chosen] = dev_groups[group_of_row]
    return dev


def _in_order_of_appearance(keys: Ints) -> tuple[Ints, Ints]:
    """(groups,) the first row of each group, in the order in which they come; (n,) each row's."""
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse]


def _bits(group: str) -> int:
    digest = blake2b(group.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _array(values: array[int], kind: type[np.integer]) -> Ints:
    return np.frombuffer(values, kind) if values else np.empty(0, kind)
