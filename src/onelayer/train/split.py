"""A dev set carved off the training rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from onelayer.tasks.base import Task

DEV_SHARE = 0.1


def carve(kind: type[Task], rows: Sequence[Any], *, seed: int) -> tuple[list[Any], list[Any]]:
    """(training rows, dev rows): a tenth for dev, of every stratum in proportion, groups whole."""
    groups: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        groups[kind.group(row) or f"row {i}"].append(i)
    strata: dict[str | None, list[list[int]]] = defaultdict(list)
    for members in groups.values():
        strata[kind.stratum(rows[members[0]])].append(members)
    rng = np.random.default_rng((seed, 0xDE7))
    dev: set[int] = set()
    owed = 0.0
    for stratum in sorted(strata, key=lambda name: (len(strata[name]), str(name))):
        members_of = strata[stratum]
        owed += DEV_SHARE * len(members_of)
        # A stratum's only group stays in training: what is unseen there can't be learned.
        taken = min(round(owed), len(members_of) - 1)
        owed -= taken
        for i in rng.permutation(len(members_of))[:taken]:
            dev.update(members_of[i])
    if not dev and len(groups) > 1:
        dev.update(list(groups.values())[int(rng.integers(len(groups)))])
    train_rows = [row for i, row in enumerate(rows) if i not in dev]
    return train_rows, [rows[i] for i in sorted(dev)]
