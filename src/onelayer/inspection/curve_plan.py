"""The plan of a learning curve: the rows of a file in memory, in folds."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from onelayer.base.errors import DataError, Place
from onelayer.base.wording import Say
from onelayer.data.in_memory import Source, source_name
from onelayer.data.rows import Rows
from onelayer.data.sketch import Sketch
from onelayer.recipe import Recipe
from onelayer.tasks.labelled import open_labelled, usable_rows
from onelayer.tokens.encodings import Ints
from onelayer.training.dataset import TrainingData
from onelayer.training.folds import FOLDS, split_folds
from onelayer.training.plan import Files, Plan, pretrained_for, with_model
from onelayer.training.split import SplitKeys, as_array


def plan_in_memory(source: Source, recipe: Recipe, max_rows: int, say: Say) -> tuple[Plan, int]:
    """A plan with all rows of a file in memory, or a sample of ``max_rows``, and the number of
    usable rows in the file. The folds are those that ``train`` cross-validates in. Raises
    DataError, UsageError and CheckpointError."""
    kind, layout, table = open_labelled(source, recipe, say)
    keys = SplitKeys(kind)
    found = usable_rows(kind, table, layout, recipe, say, keys.add)
    if found.refusal is not None:
        raise found.refusal
    recipe = with_model(recipe, kind, layout, table, say)
    base, limit = pretrained_for(recipe, kind, say)
    n, groups = len(found), as_array(keys.groups, np.int64)
    if n > max_rows:
        say(f"{n:,} rows: the curve is drawn from {max_rows:,} of them, chosen at random")
        found = _sample(found, groups, max_rows, recipe.seed)
    folds = split_folds(keys, found.legal, recipe.folds or FOLDS, seed=recipe.seed)[found.legal]
    rows = list(found)
    task = kind.fit(iter(rows), base.tokenizer, recipe, limit)
    encodings = task.encode(rows, base.tokenizer, labelled=True)
    say(task.summary)
    data = TrainingData(
        task, encodings, [], "", Sketch(), np.empty(0, np.int64), rows=rows, folds=folds
    )
    if data.n_folds < 2 or _shares_groups(folds, groups[found.legal]):
        raise DataError(
            f"{len(rows):,} rows have too few distinct {keys.noun} to hold some out and learn "
            "from the others",
            place=Place(source_name(source)),
            hint=f"label more {keys.noun}",
        )
    plan = Plan(
        files=Files(source, None, {}),
        layout=layout,
        data=data,
        scored_encodings=encodings,
        base=base,
        base_digests={},
        class_weights=None,
        recipe=recipe,
        remarks=(),
    )
    return plan, n


def _sample(rows: Rows, groups: Ints, n: int, seed: int) -> Rows:
    """``n`` rows: whole groups in random order, and only the last one is cut."""
    usable = np.flatnonzero(rows.legal)
    _, group_of_row = np.unique(groups[usable], return_inverse=True)
    rank = np.random.default_rng((seed, 0xCA)).permutation(int(group_of_row.max()) + 1)
    chosen = usable[np.argsort(rank[group_of_row], kind="stable")[:n]]
    return replace(rows, legal=np.isin(np.arange(len(rows.legal)), chosen))


def _shares_groups(folds: Ints, groups: Ints) -> bool:
    """Whether a model would be scored on rows that equal those that it learned."""
    return any(
        np.isin(groups[folds == fold], groups[folds != fold]).any()
        for fold in range(int(folds.max()) + 1)
    )
