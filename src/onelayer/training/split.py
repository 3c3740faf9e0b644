"""Splits dev rows off the training rows. It needs only a few bytes of each row.

Equal rows are on one side, or the dev score would tell how well the model remembers them. What two
rows or more have (a label, a tag) is on both sides as far as that is possible, or the dev score
would say nothing of it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.equal_texts import split_key
from onelayer.data.sketch import Sketch
from onelayer.tasks import AnyTask
from onelayer.tokens.encodings import Ints

DEV_SHARE = 0.1
"""The share of the rows that is kept as dev."""
MAX_DEV_ROWS = 10_000
"""With so large a dev set a score of 0.9 is known to ± 0.006. More rows make evaluation slower."""
MAX_SHARE_FOR_CLASSES = 1 / 3
"""Dev may grow to this share of the rows for a row of each class. With two rows of each of many
classes a dev row of each would take half of what there is to learn from."""
FEW_DISTINCT = 10
"""A dev set of fewer distinct texts or passages is too small to choose by, however many rows."""
MANY_REPEATS = 0.01
"""Repeated texts are remarked on from this share of the rows."""


@dataclass(slots=True)
class SplitKeys:
    """What the split needs to know of each row: its group, its stratum and its classes."""

    kind: type[AnyTask]
    groups: array[int] = field(default_factory=lambda: array("q"))
    """Each row's ``split_key``: rows with the same one stay together."""
    strata: array[int] = field(default_factory=lambda: array("i"))
    """The number of each row's stratum."""
    stratum_numbers: dict[str | None, int] = field(default_factory=dict)
    """By name, numbered in order of appearance."""
    classes: array[int] = field(default_factory=lambda: array("i"))
    """The numbers of all rows' classes, end to end."""
    n_classes: array[int] = field(default_factory=lambda: array("i"))
    """How many classes each row has."""
    class_numbers: dict[str, int] = field(default_factory=dict)
    """By name, numbered in order of appearance."""
    sketch: Sketch = field(default_factory=Sketch)

    def add(self, row: Any) -> None:
        self.groups.append(split_key(self.kind, row))
        self.sketch.see(self.kind.texts(row))
        stratum = self.kind.stratum(row)
        self.strata.append(self.stratum_numbers.setdefault(stratum, len(self.stratum_numbers)))
        numbers = self.class_numbers
        own = {numbers.setdefault(name, len(numbers)) for name in self.kind.classes(row)}
        self.classes.extend(sorted(own))
        self.n_classes.append(len(own))

    def remarks_on(self, usable: NDArray[np.bool_], dev: NDArray[np.bool_]) -> Iterator[str]:
        """What a split of these rows can't tell, in words; both arrays are (n,)."""
        keys = as_array(self.groups, np.int64)
        dev_rows, dev_distinct = int(dev.sum()), len(np.unique(keys[dev]))
        if np.isin(keys[dev], keys[usable & ~dev]).any():
            yield self.remark_on_equal_sides(usable)
            return
        yield from self.remarks_on_repeats(usable)
        if dev_distinct < min(FEW_DISTINCT, dev_rows):
            yield (
                f"warning: the {dev_rows:,} dev rows have {dev_distinct} distinct {self.noun}: "
                "their scores say little; more rows, or a --dev file, say more"
            )

    @property
    def noun(self) -> str:
        """What stays on one side of a split, in the plural."""
        return self.kind.group_noun or "texts"

    def remark_on_equal_sides(self, usable: NDArray[np.bool_]) -> str:
        """What a split is worth that has equal rows on both sides."""
        return (
            f"warning: {self._distinct(usable)}, too few to keep equal ones on one side of the "
            "split: the scores tell how well they are remembered"
        )

    def remarks_on_repeats(self, usable: NDArray[np.bool_]) -> Iterator[str]:
        """How many texts are repeated, if that is a part worth a word."""
        rows = int(usable.sum())
        distinct = len(np.unique(as_array(self.groups, np.int64)[usable]))
        if self.kind.group_noun is None and rows - distinct >= MANY_REPEATS * rows:
            yield f"{self._distinct(usable)}; equal ones are on one side of the split"

    def _distinct(self, usable: NDArray[np.bool_]) -> str:
        distinct = len(np.unique(as_array(self.groups, np.int64)[usable]))
        return f"{int(usable.sum()):,} rows have {distinct:,} distinct {self.noun}"


def split_dev(keys: SplitKeys, usable: NDArray[np.bool_], *, seed: int) -> NDArray[np.bool_]:
    """Chooses the dev rows: a tenth of the usable ones, or about ``MAX_DEV_ROWS`` if that is less.

    Every stratum gives its share. A group is whole on one side, unless training needs every group
    for its classes: then each row is a group of its own. A class that two groups have is on both
    sides, as long as dev stays below ``MAX_SHARE_FOR_CLASSES``. ``usable`` and the result are (n,).
    """
    rows = np.flatnonzero(usable)
    dev = np.zeros(len(usable), np.bool_)
    if not len(rows):
        return dev
    dev[rows] = _split_groups(keys, rows, as_array(keys.groups, np.int64)[rows], seed)
    if not dev.any() and keys.kind.group_noun is None:
        dev[rows] = _split_groups(keys, rows, np.arange(len(rows)), seed)
    return dev


def _split_groups(keys: SplitKeys, rows: Ints, groups: Ints, seed: int) -> NDArray[np.bool_]:
    """Whether each of ``rows`` (n,) is in dev, given their groups (n,); none if none can be."""
    first_row, group_of_row = in_order_of_appearance(groups)
    sizes = np.bincount(group_of_row)
    rng = np.random.default_rng((seed, 0xDE7))
    in_dev = _by_stratum(keys, rows[first_row], sizes, rng)
    classes = ClassesOfGroups.of(keys, rows, group_of_row, len(sizes))
    if not in_dev.any() and len(sizes) > 1 and (spare := ~classes.needed()).any():
        smallest = np.flatnonzero(spare & (sizes == sizes[spare].min()))
        in_dev[smallest[rng.integers(len(smallest))]] = True
    classes.put_on_both_sides(in_dev, sizes, rng)
    return np.asarray(in_dev[group_of_row])


def _by_stratum(
    keys: SplitKeys, first_row: Ints, sizes: Ints, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Whether each group is in dev, (groups,): of each stratum as many rows as its share."""
    n_rows = int(sizes.sum())
    share = min(DEV_SHARE, MAX_DEV_ROWS / n_rows)
    # A group belongs to the stratum of its first row. Sorting puts each stratum's groups together.
    stratum_of_group = as_array(keys.strata, np.int32)[first_row]
    by_stratum = np.argsort(stratum_of_group, kind="stable")
    bounds = np.searchsorted(stratum_of_group[by_stratum], np.arange(len(keys.stratum_numbers) + 1))
    names = {number: str(name) for name, number in keys.stratum_numbers.items()}
    in_dev = np.zeros(len(sizes), np.bool_)
    # A stratum's share is rarely a whole number. What rounding leaves is passed to the next
    # stratum, the smallest first, so that many small strata together still give their share.
    carried_over = 0.0
    for stratum in sorted(names, key=lambda s: (bounds[s + 1] - bounds[s], names[s])):
        members = by_stratum[bounds[stratum] : bounds[stratum + 1]]
        if not len(members):
            continue  # none of its rows is usable
        carried_over += share * int(sizes[members].sum())
        # The last group stays in training: a label without examples can't be learned.
        drawn = members[rng.permutation(len(members))][:-1]
        wanted = round(carried_over)
        fitting = drawn[sizes[drawn] <= wanted]
        n_taken = np.searchsorted(np.cumsum(sizes[fitting]), wanted, side="right")
        in_dev[fitting[:n_taken]] = True
        carried_over -= int(sizes[fitting[:n_taken]].sum())
    return in_dev


@dataclass(frozen=True, slots=True)
class ClassesOfGroups:
    """Which classes each group has, once each: P pairs, by group and by class."""

    classes_by_group: Ints
    """(P,)"""
    group_starts: Ints
    """(groups + 1,) where each group's classes are in ``classes_by_group``."""
    groups_by_class: Ints
    """(P,)"""
    class_starts: Ints
    """(classes + 1,) where each class's groups are in ``groups_by_class``."""

    @classmethod
    def of(cls, keys: SplitKeys, rows: Ints, group_of_row: Ints, n_groups: int) -> ClassesOfGroups:
        counts = as_array(keys.n_classes, np.int32).astype(np.int64)
        group = np.full(len(counts), -1, np.int64)
        group[rows] = group_of_row
        group = np.repeat(group, counts)
        usable = group >= 0
        n_classes = max(1, len(keys.class_numbers))
        pairs = group[usable] * n_classes + as_array(keys.classes, np.int32)[usable]
        groups, classes = np.divmod(np.unique(pairs), n_classes)
        by_class = np.argsort(classes, kind="stable")
        return cls(
            classes,
            np.searchsorted(groups, np.arange(n_groups + 1)),
            groups[by_class],
            np.searchsorted(classes[by_class], np.arange(n_classes + 1)),
        )

    def needed(self) -> NDArray[np.bool_]:
        """Whether each group is the only one of a class, (groups,)."""
        needed = np.zeros(len(self.group_starts) - 1, np.bool_)
        starts = self.class_starts[:-1]
        needed[self.groups_by_class[starts[np.diff(self.class_starts) == 1]]] = True
        return needed

    def put_on_both_sides(
        self, in_dev: NDArray[np.bool_], sizes: Ints, rng: np.random.Generator
    ) -> None:
        """Moves groups (``in_dev`` is changed) until each class is in training, and each class of
        two groups or more in dev, too, where that costs no class its last training group."""
        all_groups = np.diff(self.class_starts)
        dev_groups = np.bincount(
            np.repeat(np.arange(len(all_groups)), all_groups),
            in_dev[self.groups_by_class],
            len(all_groups),
        ).astype(np.int64)

        def move(group: int, by: int) -> None:
            in_dev[group] = by > 0
            dev_groups[self.of_group(group)] += by

        for one in np.flatnonzero((dev_groups == all_groups) & (all_groups > 0)).tolist():
            if dev_groups[one] == all_groups[one]:  # not changed by an earlier move
                move(int(rng.choice(self.of_class(one))), -1)
        room = MAX_SHARE_FOR_CLASSES * int(sizes.sum()) - int(sizes[in_dev].sum())
        # The frequent ones first: they cost the smallest part of what there is to learn from.
        missing = np.flatnonzero((dev_groups == 0) & (all_groups > 1))
        for one in missing[np.argsort(-all_groups[missing], kind="stable")].tolist():
            if dev_groups[one]:
                continue
            drawn = rng.permutation(self.of_class(one))
            for group in drawn[np.argsort(sizes[drawn], kind="stable")].tolist():
                own = self.of_group(group)
                if sizes[group] <= room and (all_groups[own] - dev_groups[own] > 1).all():
                    move(group, +1)
                    room -= int(sizes[group])
                    break

    def of_group(self, group: int) -> Ints:
        """The classes of a group."""
        return self.classes_by_group[self.group_starts[group] : self.group_starts[group + 1]]

    def of_class(self, one: int) -> Ints:
        """The groups that have a class."""
        return self.groups_by_class[self.class_starts[one] : self.class_starts[one + 1]]


def in_order_of_appearance(hashes: Ints) -> tuple[Ints, Ints]:
    """Numbers groups in order of appearance: each group's first row (groups,), each row's group
    (n,)."""
    _, first_row, inverse = np.unique(hashes, return_index=True, return_inverse=True)
    order = np.argsort(first_row)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first_row[order], rank[inverse]


def as_array(values: array[int], dtype: type[np.integer]) -> Ints:
    return np.frombuffer(values, dtype) if values else np.empty(0, dtype)
