"""Cross-validation: splits rows into folds, each to be scored by a model of the other folds.

It is made with the care of a dev split (`split`): equal rows are in one fold, what rows have in
common is spread over the folds, and what only one group has stays in training.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from onelayer.tokens.encodings import Ints, cumulate
from onelayer.training.split import (
    ClassesOfGroups,
    SplitKeys,
    as_array,
    in_order_of_appearance,
)

FOLDS = 4
"""Folds unless the user says otherwise. Each costs a training; with fewer of them, each model has
fewer of the rows to learn from, and the scores say less of the model of all rows."""
MAX_ROWS_FOR_FOLDS = 500
"""From this number of usable rows a tenth is kept as dev instead. Fewer than 50 dev rows choose a
checkpoint by chance, know a score of 0.8 to no better than ± 0.11, and promise nothing
(`calibration.FEWEST_ROWS`); from 500 rows on a training for each fold costs more than it tells."""
NO_FOLD = -1
"""The fold of a row that no model may miss."""


def split_folds(keys: SplitKeys, usable: NDArray[np.bool_], n: int, *, seed: int) -> Ints:
    """The fold of each row, (rows,): 0 to ``n`` - 1, or `NO_FOLD` for one that can't be held out.

    A group is whole in one fold. One that alone has a class is in none: its class couldn't be
    learned without it. Where fewer than two groups can be held out, each row is a group of its own,
    unless the task has groups. Where there are fewer groups than ``n``, each of them is a fold.
    """
    rows = np.flatnonzero(usable)
    folds = np.full(len(usable), NO_FOLD, np.int64)
    if len(rows):
        folds[rows] = _spread(keys, rows, as_array(keys.groups, np.int64)[rows], n, seed)
        if not (folds >= 0).any() and keys.kind.group_noun is None:
            folds[rows] = _spread(keys, rows, np.arange(len(rows)), n, seed)
    return folds


def folds_for(n_rows: int, wanted: int | None) -> int:
    """The number of folds for a file of ``n_rows`` usable rows; 0: a part is kept as dev."""
    if wanted is not None:
        return wanted
    return FOLDS if n_rows < MAX_ROWS_FOR_FOLDS else 0


def remarks_on_folds(keys: SplitKeys, usable: NDArray[np.bool_], folds: Ints) -> Iterator[str]:
    """How rows are cross-validated, and what that can't tell, in words; both arrays are (n,)."""
    rows, scored = int(usable.sum()), int((folds >= 0).sum())
    if not scored:
        count = f"{rows:,} {'row' if rows == 1 else 'rows'}"
        yield (
            f"warning: {count} to train on, and none to hold out: a model of the other {keys.noun} "
            "would lack a class, or have nothing to learn from. The model has no score; more rows, "
            "or a --dev file, give it one"
        )
        return
    n = int(folds.max()) + 1
    yield (
        f"{rows:,} rows, cross-validated in {n} folds: each is scored by a model of the other "
        "folds, then one model is trained on all rows"
    )
    if scored < rows:
        one = rows - scored == 1
        yield (
            f"{rows - scored:,} {'row is' if one else 'rows are'} held out by no fold, because no "
            f"other {keys.noun} have {'its' if one else 'their'} class: the scores say nothing of "
            f"{'it' if one else 'them'}"
        )
    groups = as_array(keys.groups, np.int64)
    if any(np.isin(groups[folds == i], groups[usable & (folds != i)]).any() for i in range(n)):
        yield keys.remark_on_equal_sides(usable)
    else:
        yield from keys.remarks_on_repeats(usable)


def _spread(keys: SplitKeys, rows: Ints, groups: Ints, n: int, seed: int) -> Ints:
    """The fold of each of ``rows`` (n,), given their groups (n,).

    Classes and strata are spread one after the other, the rarest first: each group goes to the fold
    with the fewest rows of that class, and of such folds to the smallest (Sechidis et al., 2011).
    """
    first_row, group_of_row = in_order_of_appearance(groups)
    sizes = np.bincount(group_of_row)
    classes = ClassesOfGroups.of(keys, rows, group_of_row, len(sizes))
    needed = classes.needed()
    n = min(n, int((~needed).sum()))
    fold_of_group = np.full(len(sizes), NO_FOLD, np.int64)
    if n < 2:
        return fold_of_group[group_of_row]
    spread = _Spread(classes, as_array(keys.strata, np.int32)[rows[first_row]], sizes, n)
    order = np.random.default_rng((seed, 0xF01D)).permutation(len(sizes))
    order = order[np.argsort(-sizes[order], kind="stable")]
    spread.assign(fold_of_group, order[~needed[order]])
    spread.part_classes(fold_of_group)
    return np.asarray(fold_of_group[group_of_row])


class _Spread:
    """Rows of each class and stratum by fold, while groups are put into folds."""

    def __init__(self, classes: ClassesOfGroups, strata: Ints, sizes: Ints, n: int) -> None:
        self.classes, self.sizes = classes, sizes
        self.n_classes = len(classes.class_starts) - 1
        # A stratum is spread as a class is, so it gets a number behind those of the classes.
        self.kinds = [
            np.append(classes.of_group(group), self.n_classes + stratum)
            for group, stratum in enumerate(strata.tolist())
        ]
        self.rows = np.zeros((self.n_classes + int(strata.max()) + 1, n), np.int64)
        """(kinds, n)"""

    def assign(self, fold_of_group: Ints, order: Ints) -> None:
        """Puts the groups of ``order`` into folds; ``fold_of_group`` is changed."""
        kinds = np.concatenate([self.kinds[group] for group in order])
        lengths = [len(self.kinds[group]) for group in order]
        members = np.repeat(order, lengths)
        by_kind = np.argsort(kinds, kind="stable")
        counts = np.bincount(kinds, minlength=len(self.rows))
        starts = cumulate(counts)
        total = np.zeros(self.rows.shape[1], np.int64)
        rarest_first = np.argsort(counts, kind="stable")
        for kind in rarest_first[counts[rarest_first] > 0].tolist():
            for group in members[by_kind[starts[kind] : starts[kind + 1]]].tolist():
                if fold_of_group[group] == NO_FOLD:
                    fold = int(np.lexsort((total, self.rows[kind]))[0])
                    fold_of_group[group] = fold
                    total[fold] += self.sizes[group]
                    self.rows[self.kinds[group], fold] += self.sizes[group]

    def part_classes(self, fold_of_group: Ints) -> None:
        """Moves a group of each class that one fold has for itself, where that takes no other class
        from the training of a fold."""
        for one in range(self.n_classes):
            groups = self.classes.of_class(one)
            if len(groups) < 2 or len(set(fold_of_group[groups].tolist())) > 1:
                continue
            for group in groups[np.argsort(self.sizes[groups], kind="stable")].tolist():
                fold = self._other_fold(group, fold_of_group)
                if fold is not None:
                    fold_of_group[group] = fold
                    break

    def _other_fold(self, group: int, fold_of_group: Ints) -> int | None:
        """Another fold for a group, such that none of its classes is in that fold alone."""
        spread = fold_of_group != NO_FOLD
        n_rows = np.bincount(fold_of_group[spread], self.sizes[spread])
        for fold in np.argsort(n_rows, kind="stable"):
            others = (self.classes.of_class(one) for one in self.classes.of_group(group).tolist())
            if fold != fold_of_group[group] and all(
                (fold_of_group[them[them != group]] != fold).any() for them in others
            ):
                return int(fold)
        return None
