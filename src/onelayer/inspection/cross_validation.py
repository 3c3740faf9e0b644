"""Cross-validation: logits for each row by a model that was not trained on it."""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.data.equal_texts import split_key
from onelayer.data.rows import Rows, chunks_of
from onelayer.prediction.predictor import CHUNK, Predictor
from onelayer.recipe import Recipe
from onelayer.tokens.encodings import Ints
from onelayer.training.finetune import finetune
from onelayer.training.history import RunProgress
from onelayer.training.progress import Reporter

JudgedRows = tuple[Predictor, Ints, Sequence[Any]]
"""A model, the numbers of some rows that it was not trained on, and these rows."""

FLAGS = ("text", "pair", "label", "question", "context", "options")


def by_itself(predictor: Predictor, rows: Rows) -> Iterator[JudgedRows]:
    """All rows, by a model that was trained on none of them."""
    return _chunks(predictor, rows, np.ones(len(rows), np.bool_))


def cross_validated(
    rows: Rows, recipe: Recipe, folds: int, reporter: Reporter, *, multi_label: bool | None
) -> Iterator[JudgedRows]:
    """Each fold, by a model that is fine-tuned on the others with ``recipe``."""
    fold_of_row = assign_folds(rows, folds, seed=recipe.seed)
    recipe = recipe_by_role(recipe, rows, multi_label)
    for fold in range(folds):
        held_out = fold_of_row == fold
        n = int(np.count_nonzero(held_out))
        reporter.say(f"fold {fold + 1} of {folds}: {len(rows) - n:,} rows to learn, {n:,} to judge")
        with TemporaryDirectory(prefix="onelayer-") as folder:
            file = Path(folder) / f"{Path(rows.table.path).stem}.jsonl"
            write_rows(rows, ~held_out, file)
            out = Path(folder) / "run"
            predictor = finetune(file, out=out, recipe=recipe, reporter=_Quiet(reporter))
            yield from _chunks(predictor, rows, held_out)


def assign_folds(rows: Rows, folds: int, *, seed: int) -> Ints:
    """The fold of each row, (n,).

    Rows of one group or with the same texts are in one fold, so that no model is trained on what it
    judges. Each stratum is spread evenly over the folds.
    """
    keys, strata, names = array("q"), array("q"), dict[str | None, int]()
    for row in rows:
        keys.append(split_key(rows.kind, row))
        strata.append(names.setdefault(rows.kind.stratum(row), len(names)))
    _, first, group_of_row = np.unique(keys, return_index=True, return_inverse=True)
    order_of_rows = np.random.default_rng((seed, 0xF01D)).permutation(len(keys))
    order = np.lexsort((order_of_rows[first], np.array(strata)[first]))
    fold_of_group = np.empty(len(first), np.int64)
    fold_of_group[order] = np.arange(len(first)) % folds
    return np.asarray(fold_of_group[group_of_row])


def recipe_by_role(recipe: Recipe, rows: Rows, multi_label: bool | None) -> Recipe:
    """The recipe for a file whose columns are named by their roles."""
    named = {role: role if role in rows.layout.columns else None for role in FLAGS}
    own = {"task": rows.kind.name, "multi_label": multi_label, "skip_bad": False, "folds": 0}
    own |= dict.fromkeys(("header", "delimiter", "encoding"))  # it is written as jsonl
    return Recipe.from_json({**recipe.to_json(), **named, **own})


def write_rows(rows: Rows, chosen: NDArray[np.bool_], file: Path) -> None:
    """Writes the chosen rows by role, in the form that training reads."""
    with file.open("w", encoding="utf-8") as stream:
        for wanted, (values, _) in zip(chosen, rows.with_values(), strict=True):
            if wanted:
                if "start" in values:
                    values["answer_start"] = values.pop("start")
                stream.write(json.dumps(values, default=str) + "\n")


def _chunks(predictor: Predictor, rows: Rows, chosen: NDArray[np.bool_]) -> Iterator[JudgedRows]:
    wanted = ((i, row) for i, (row, yes) in enumerate(zip(rows, chosen, strict=True)) if yes)
    for chunk in chunks_of(CHUNK, wanted):
        yield predictor, np.array([i for i, _ in chunk]), [row for _, row in chunk]


@dataclass(frozen=True, slots=True)
class _Quiet:
    """Passes on a fold's progress but not its remarks, which are the same for each fold."""

    reporter: Reporter

    def say(self, remark: str) -> None: ...
    def evaluated(
        self, epoch: float, scores: dict[str, float], metric: str, best: bool
    ) -> None: ...

    def prepare(self, what: str, rows: int, total: int | None) -> None:
        self.reporter.prepare(what, rows, total)

    def start(self, total_steps: int, part: str) -> None:
        self.reporter.start(total_steps, part)

    def step(self, progress: RunProgress) -> None:
        self.reporter.step(progress)

    def finish(self) -> None:
        self.reporter.finish()
