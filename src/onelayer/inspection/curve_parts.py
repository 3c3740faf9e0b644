"""The parts of a file that a learning curve trains on: nested, stratified, with whole groups."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import count
from typing import Any

import numpy as np

from onelayer.data.equal_texts import split_key
from onelayer.tasks import AnyTask
from onelayer.tokens.encodings import Ints

SHARES = (8, 4, 2)
"""A part is this fraction of the file; the last part is all rows but a fold's."""
LEAST_ROWS = 8
"""Rows that a part has at least. The scores of models of fewer rows are chance."""
FEWEST_PARTS = 2
"""Parts without which there is no curve."""
MIN_GROWTH = 1.2
"""How much larger than the part before a part has to be."""


def part_sizes(n_rows: int, n_learned: int, n_classes: int) -> list[int]:
    """How many rows each part has, from the smallest to ``n_learned``, the rows of all folds but
    one. A part has a row for each class."""
    sizes: list[int] = []
    for size in (*(n_rows // share for share in SHARES), n_learned):
        enough = size >= max(LEAST_ROWS, n_classes) and size <= n_learned
        if enough and (not sizes or size >= MIN_GROWTH * sizes[-1]):
            sizes.append(size)
    return sizes


def fewest_rows(n_classes: int) -> int:
    """How many rows a file needs for `FEWEST_PARTS` parts."""
    return SHARES[-1] * max(LEAST_ROWS, n_classes)


def n_classes_of(kind: type[AnyTask], rows: Sequence[Any]) -> int:
    """How many classes rows have, as the split counts them."""
    return len({name for row in rows for name in kind.classes(row)})


def nested_order(
    kind: type[AnyTask], rows: Sequence[Any], among: Ints, rng: np.random.Generator
) -> Ints:
    """The numbers ``among`` in the order in which parts take them: a part is a beginning of it.

    First comes a group for each class, the rarest class first. After them each stratum is spread
    evenly, so that every part has about its share. The rows of a group follow each other, so that
    parts grow as files do; only a part's last group may be cut.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for i in rng.permutation(among).tolist():
        members[split_key(kind, rows[i])].append(i)
    classes = {
        group: {name for i in own for name in kind.classes(rows[i])}
        for group, own in members.items()
    }
    lead = _group_of_each_class(classes)
    by_stratum: dict[str | None, list[int]] = defaultdict(list)
    for group in (*lead, *(group for group in members if group not in lead)):
        by_stratum[kind.stratum(rows[members[group][0]])].append(group)
    place = dict(zip(lead, count(-len(lead)), strict=False))
    rank: dict[int, float] = {}
    for groups in by_stratum.values():
        spread = (np.arange(len(groups)) + rng.random()) / len(groups)
        rank.update(zip(groups, spread.tolist(), strict=True))
    order = sorted(members, key=lambda group: place.get(group, rank[group]))
    return np.array([i for group in order for i in members[group]], np.int64)


def _group_of_each_class(classes: dict[int, set[str]]) -> dict[int, None]:
    """Groups that together have all classes, the first ones that do, as an ordered set."""
    having: dict[str, list[int]] = defaultdict(list)
    for group, own in classes.items():
        for name in sorted(own):
            having[name].append(group)
    lead: dict[int, None] = {}
    covered: set[str] = set()
    for name in sorted(having, key=lambda name: (len(having[name]), name)):
        if name not in covered:
            lead[having[name][0]] = None
            covered |= classes[having[name][0]]
    return lead
