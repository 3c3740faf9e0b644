"""Finds a run's rows again: dev rows for the comparison, training rows for calibration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from onelayer.base.errors import OneLayerError, Place, UsageError
from onelayer.checkpoint.record import ModelRecord, RunData, files_of_run
from onelayer.data.in_memory import Source, source_digest, source_name, source_path
from onelayer.data.rows import Rows
from onelayer.evaluation.evaluate import labelled_rows
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import REMOVED, Columns, Recipe
from onelayer.tasks.labelled import open_labelled, usable_rows
from onelayer.training.split import SplitKeys, split_dev

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class RowsOfRun:
    """The rows of a run. Each iteration reads the files again."""

    dev: Rows
    train: Rows | None
    """None if the file isn't there."""
    name: str
    """The name of the dev rows."""
    learned: bool = False
    """Whether the model was trained on ``dev``, as after cross-validation, which keeps no row from
    it."""
    files: tuple[Source | None, Source | None] = (None, None)
    """The training file, if it is there, and the dev file, if there is one."""


def rows_of_run(
    predictor: Predictor,
    train: Source | None,
    dev: Source | None,
    columns: Columns,
    say: Say,
    *,
    apart: bool = False,
) -> RowsOfRun:
    """The dev rows on which a run's best checkpoint was chosen, and its training rows. After
    cross-validation both are all rows of the training file, unless they are kept ``apart``.

    Parameters
    ----------
    predictor
        The run.
    train, dev
        The files; by default where the run found them.
    columns
        The columns of a given ``dev``.
    say
        Is called with remarks.
    apart
        Split the rows after cross-validation, too, as ``--folds 0`` does: for a smaller model that
        learns from one part of them.

    Raises
    ------
    UsageError
        If a file is missing or has changed.
    """
    data = predictor.record.data if predictor.record else None
    found = _Found(predictor, files_of_run(predictor.path), data, say)
    if dev is not None or (data and data.dev):
        learned = train if train is not None else found.unchanged("train")
        train_rows = found.rows(learned) if learned is not None else None
        if dev is not None:
            dev_rows = labelled_rows(predictor, dev, columns, say)
            return RowsOfRun(dev_rows, train_rows, source_name(dev), files=(learned, dev))
        path = found.path("dev")
        return RowsOfRun(found.rows(path), train_rows, path.name, files=(learned, path))
    source = train if train is not None else found.path("train")
    if not found.is_unchanged("train", source):
        raise UsageError(
            "isn't the file that the run was trained on: its SHA-256 differs",
            place=Place(source_path(source)),
            hint="give --train FILE as it was, or labelled rows with --dev FILE",
        )
    assert data is not None, "the file is known by its digest"
    if not data.dev_rows and apart:
        return replace(_split_again(found, source, None), learned=True)
    if not data.dev_rows:
        say("compared on the rows that the model was trained on: --dev FILE gives others")
        rows, name = found.rows(source), f"{source_name(source)}, training rows"
        return RowsOfRun(rows, rows, name, learned=True, files=(source, None))
    return _split_again(found, source, data.dev_rows)


def _split_again(found: _Found, source: Source, n_dev: int | None) -> RowsOfRun:
    """Splits the training file as training does, into this many dev rows if that is known."""
    record = found.predictor.record
    assert record is not None, "the file is known by its digest"
    keys = SplitKeys(type(found.predictor.task))
    rows = found.rows(source, keys.add)
    dev = split_dev(keys, rows.legal, seed=seed_of_split(record))
    if n_dev is not None and int(dev.sum()) != n_dev:
        raise OneLayerError(
            f"{int(dev.sum()):,} dev rows, where training kept {n_dev:,}",
            place=Place(source_path(source)),
            hint="give labelled rows with --dev FILE",
        )
    learned = replace(rows, legal=rows.legal & ~dev)
    name = f"{source_name(source)}, kept as dev"
    return RowsOfRun(replace(rows, legal=dev), learned, name, files=(source, None))


def seed_of_split(record: ModelRecord) -> int:
    """The seed of the split: with several seeds, the first one splits for all of them."""
    if record.seeds is not None:
        return min(map(int, record.seeds.scores))
    return Recipe.from_json({**(record.recipe or {}), **REMOVED}).seed


@dataclass(frozen=True, slots=True)
class _Found:
    predictor: Predictor
    paths: Mapping[str, str]
    """Where training found its files, by role."""
    data: RunData | None
    say: Say

    def path(self, role: str) -> Path:
        """The file of a role. Raises UsageError if it is unknown, missing or changed."""
        if (path := self.unchanged(role)) is not None:
            return path
        name = getattr(self.data, role, None)
        if not name:
            raise UsageError(
                "the rows on which the model was chosen are not known",
                place=Place(self.predictor.path or ""),
                hint="give labelled rows with --dev FILE",
            )
        known = self.paths.get(role)
        where = "where it was is not known" if known is None else f"not at {known} as it was"
        raise UsageError(
            f"the run's {role} file {name}: {where}", hint=f"give it with --{role} FILE"
        )

    def unchanged(self, role: str) -> Path | None:
        """The file where training found it; None if it is missing or has changed."""
        path = self.paths.get(role)
        return Path(path) if path and self.is_unchanged(role, Path(path)) else None

    def is_unchanged(self, role: str, source: Source) -> bool:
        if isinstance(source, (str, Path)) and not Path(source).exists():
            return False
        known = self.data and self.data.sha256(role)
        return source_digest(source) == known

    def rows(self, source: Source, look: Callable[[Any], None] = lambda _: None) -> Rows:
        """The rows of a labelled file, read as training read them."""
        record = self.predictor.record
        if record is None or record.recipe is None:
            return labelled_rows(self.predictor, source, Columns(), self.say)
        recipe = Recipe.from_json({**record.recipe, **REMOVED})  # none of them concerns rows
        kind, layout = type(self.predictor.task), self.predictor.layout
        kind, layout, table = open_labelled(source, recipe, self.say, kind=kind, layout=layout)
        return usable_rows(kind, table, layout, recipe, self.say, look)
