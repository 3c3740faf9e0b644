"""The gold labels of rows: read from a field, and as arrays with a line a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np

from onelayer.base.errors import DataError, Place
from onelayer.data.label_form import are_shares
from onelayer.data.table import LeftOutError
from onelayer.data.values import in_role, label_name
from onelayer.metrics import Bools, Ints
from onelayer.tasks.label_names import LabelIds
from onelayer.tasks.texts import TextRow


def names_of(row: TextRow) -> tuple[str, ...]:
    """The labels of a row, whether it has one or several."""
    if isinstance(row.label, tuple):
        return row.label
    return () if row.label is None else (str(row.label),)


def gold_ids(rows: Iterable[TextRow], labels: Sequence[str]) -> Ints:
    """(N,) the id of each row's one label. Raises DataError for a row with no or several labels,
    and for labels that training did not have."""
    ids = LabelIds(labels)
    found = [ids.add(one_name(row), row.place) for row in rows]
    ids.refuse_unknown()
    return np.asarray(found, dtype=np.int64)


def gold_sets(rows: Iterable[TextRow], labels: Sequence[str]) -> Bools:
    """(N, L) which labels each row has. Raises DataError for labels that training did not have."""
    ids = LabelIds(labels)
    found = [[ids.add(name, row.place) for name in names_of(row)] for row in rows]
    ids.refuse_unknown()
    mask = np.zeros((len(found), len(labels)), dtype=np.bool_)
    for line, own in zip(mask, found, strict=True):
        line[own] = True
    return mask


def one_name(row: TextRow) -> str:
    """The one label of a row. Raises DataError for a row with no or several labels."""
    names = names_of(row)
    if len(names) != 1:
        n = f"{len(names)} labels" if names else "no label"
        raise DataError(
            f"{n}, and the model gives one a row",
            place=row.place,
            hint="leave such rows out with --skip-bad",
        )
    return names[0]


def read_label(values: Mapping[str, Any], place: Place) -> str | tuple[str, ...]:
    """A row's label, or its labels. Raises DataError for what is no name of a class."""
    value = values.get("label")
    if isinstance(value, str) and (name := value.strip()):
        return name
    place = in_role(place, "label")
    if wrong := _not_names(value):
        hint = "give a name or a list of names; --skip-bad leaves such rows out"
        raise DataError(wrong, place=place, hint=hint)
    if isinstance(value, (list, tuple)):
        return tuple(dict.fromkeys(label_name(item) for item in value))
    if value is None or value != value or label_name(value) == "":
        hint = "leave such rows out with --skip-bad"
        raise DataError("no label", place=place, hint=hint)
    return label_name(value)


def _not_names(value: object) -> str | None:
    """In words, what a value is that holds anything but names of classes."""
    if are_shares(value):
        return f"label holds soft labels, a share for each class: {value!r:.60}"
    if isinstance(value, bytes):
        return "label is binary, not a name"
    if isinstance(value, dict):
        return f"label is an object: {value!r:.60}"
    for item in value if isinstance(value, (list, tuple)) else ():
        if item is None or item != item:
            return f"label is a list with a null: {value!r:.60}"
        if isinstance(item, (list, tuple)):
            return f"label is a list of lists: {value!r:.60}"
        if isinstance(item, dict):
            return f"label is a list of objects: {value!r:.60}"
        if isinstance(item, float) and item % 1:
            return f"label is a list of fractions: {value!r:.60}"
        if label_name(item) == "":
            return f"label is a list with an empty name: {value!r:.60}"
    return None


MOST_UNLABELLED = 0.1
"""The share of rows that are left out as unlabelled without being asked for. Public sets have up to
2 %; where it is more, the name may well be a class."""


def judge_unlabelled(rows: Iterable[TextRow]) -> Callable[[TextRow], DataError | None] | None:
    """A function that gives the error of a row whose label stands for no label; None if no label
    does. The error is a LeftOutError where such rows are few."""
    counts = Counter(name for row in rows for name in names_of(row))
    missing = _no_label_name(counts.keys())
    if missing is None:
        return None
    few = counts[missing] <= MOST_UNLABELLED * counts.total()

    def judge(row: TextRow) -> DataError | None:
        if row.label != missing:
            return None
        said = f"label {missing!r} stands for no label"
        if few:
            return LeftOutError(f"{said}; rename it if it is one", place=row.place)
        hint = "leave such rows out with --skip-bad, or rename the label if it is one"
        return DataError(said, place=row.place, hint=hint)

    return judge


def _no_label_name(names: Set[str]) -> str | None:
    """How public sets write that a row has no label: SNLI and OCNLI ``-``, where annotators did not
    agree, and their copies on the Hub ``-1`` before three or more classes that count from 0."""
    if "-" in names and len(names) > 2 and all(len(name) > 1 for name in names - {"-"}):
        return "-"
    counted = {str(i) for i in range(len(names) - 1)}
    return "-1" if len(counted) > 2 and names == counted | {"-1"} else None
