"""``onelayer.json``: the record of a fine-tuned model, typed and checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal, get_type_hints

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.json_values import from_plain, matches_type, to_plain
from onelayer.checkpoint.export_record import FORMAT, USUAL_FORMAT, ExportRecord, Interval
from onelayer.data.label_form import FIELD_TYPES
from onelayer.data.layout import Layout
from onelayer.tasks import AnyTask, task_from_json, task_to_json

TIMING_FILE = "timing.json"
"""Next to the record: how long the steps took and where the labelled files were, which differ where
a run is repeated."""
SHORTEST = 4
"""Tokens of the shortest sequence: three special tokens, and one to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """The labelled files of a run, with their SHA-256."""

    train: str
    """A file's name, without its folder."""
    dev: str | None
    """None if dev rows are split off the training file, or if that is cross-validated."""
    train_sha256: str | None = None
    dev_sha256: str | None = None
    train_rows: int = 0
    dev_rows: int = 0
    folds: int = 0
    """Folds in which the training rows were cross-validated."""

    @property
    def counts(self) -> dict[str, int]:
        """The number of rows of each split, by its name."""
        return {"train": self.train_rows, **({"dev": self.dev_rows} if self.dev_rows else {})}

    def sha256(self, role: str) -> str | None:
        """The digest of the file that plays the role ``train`` or ``dev``."""
        return self.train_sha256 if role == "train" else self.dev_sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterCounts:
    """The number of a model's parameters, and of those that were trained and that are new."""

    all: int
    trained: int | None = None
    new: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOutScores:
    """The scores of a run on rows that it was not trained on: those of the best checkpoint on dev,
    or of cross-validation."""

    folds: int = 0
    """Folds in which the training rows were cross-validated: each is scored by a model of the other
    folds. 0: the rows are dev rows."""
    rows: int = 0
    """Rows that are scored; 0 in records of older versions."""
    scores: Mapping[str, float]
    intervals: Mapping[str, Interval]
    range: tuple[float, float] | None = None
    """The smallest and the largest gold number of these rows, for regress."""
    caveats: tuple[str, ...] = ()
    """What these scores can't tell, in words."""
    cross_fitted: float | None = None
    """The task's metric, if what was tuned on these rows is tuned on others of them instead."""

    @property
    def on(self) -> str:
        """What the rows are, in words that stand behind "on"."""
        return f"all rows, cross-validated in {self.folds} folds" if self.folds else "dev"


@dataclass(frozen=True, slots=True, kw_only=True)
class DevEvaluation:
    """The dev scores after a step of training."""

    step: int
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingHistory:
    """How a run went, step by step. A bundle's record has no values of single steps."""

    steps: int
    best_step: int
    restarts: int = 0
    losses: tuple[float, ...] = ()
    lrs: tuple[float, ...] = ()
    tokens: tuple[int, ...] = ()
    """Real tokens of each step's batch."""
    evaluations: tuple[DevEvaluation, ...] = ()

    def without_series(self) -> TrainingHistory:
        """The history without the values of each step, which would be larger than the weights of
        a small model."""
        return replace(self, losses=(), lrs=(), tokens=())


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedScores:
    """The scores of several seeds on held-out rows; the best one was kept."""

    metric: str
    kept: int
    """The seed of this model."""
    scores: Mapping[str, float]
    """By seed."""
    mean: float
    deviation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TaughtRecord:
    """The record of a smaller model that learned the answers of a trained one."""

    by: str
    """The name of the trained model."""
    sha256: str | None
    """The SHA-256 of its weights."""
    what: str
    """What learned from it, in words: ``3 of the 7 layers of reviews``."""
    lessons: str
    """The texts on which it answered, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """``onelayer.json``: how a model was made and how good it is.

    None means unknown: for a model that transformers saved, only task and layout are known.
    """

    format: int = USUAL_FORMAT
    onelayer: str | None = None
    """The version of onelayer that wrote it."""
    task: AnyTask
    layout: Layout
    recipe: Mapping[str, str | int | float | bool | None] | None = None
    """The recipe by field; another version may have had other fields."""
    choices: tuple[str, ...] | None = None
    """The run's remarks about its choices."""
    data: RunData | None = None
    parameters: ParameterCounts | None = None
    dev: HeldOutScores | None = None
    """On dev, or cross-validated; None where no row could be held out."""
    history: TrainingHistory | None = None
    seen: str | None = None
    """A sketch of the texts that the model was trained on."""
    sha256: str | None = None
    """The SHA-256 of the weights."""
    seeds: SeedScores | None = None
    taught: TaughtRecord | None = None
    """None where the model learned from labels."""
    export: ExportRecord | None = None

    def to_json(self) -> dict[str, Any]:
        """The content of the file."""
        own: dict[str, Any] = {"task": task_to_json(self.task), "layout": self.layout.to_json()}
        if self.export is not None:
            own["format"] = self.export.format
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: to_plain(own.get(name, value))
            for name, value in values.items()
            if value is not None
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ModelRecord:
        """The record in a file's content. Raises CheckpointError, with the field's name, for values
        that no version wrote."""
        form = values.get("format", USUAL_FORMAT)
        if type(form) is not int or form > FORMAT:
            raise CheckpointError(
                f"written in format {form!r:.40}, and this version knows {FORMAT}",
                hint="pip install --upgrade onelayer",
            )
        for part in ("task", "layout"):
            if not isinstance(values.get(part), dict):
                raise CheckpointError(f"holds no {part}")
        task, layout = task_from_json(values["task"]), _layout(values["layout"])
        others = {
            name: hint
            for name, hint in get_type_hints(cls).items()
            if name in values and name not in ("task", "layout")
        }
        try:
            known = {name: from_plain(hint, values[name], name) for name, hint in others.items()}
        except ValueError as error:
            raise CheckpointError(str(error)) from None
        return cls(task=task, layout=layout, **known)


def read_record(values: Mapping[str, Any], folder: Path, positions: int) -> ModelRecord:
    """Reads the record in ``folder`` of a model with ``positions`` positions.

    Raises CheckpointError, with file and field, for values that no version wrote.
    """
    try:
        record = ModelRecord.from_json(values)
        _check_ranges(record.task, positions)
    except CheckpointError as error:
        place = Place(folder / "onelayer.json")
        raise CheckpointError(error.message, place=place, hint=error.hint) from error
    return record


def _check_ranges(task: AnyTask, positions: int) -> None:
    """Raises CheckpointError unless windows fit the positions and move forward, labels are
    distinct, and the task accepts its own values."""
    length = task.max_length
    stride: int = getattr(task, "stride", 0)
    if not SHORTEST <= length <= positions:
        raise CheckpointError(f"max_length is {length}, and the model has {positions} positions")
    if not 0 <= stride < length:
        raise CheckpointError(f"stride is {stride}, and must be below max_length {length}")
    if len(set(task.outputs)) < len(task.outputs):
        raise CheckpointError("names a label twice")
    task.check_values()


def _layout(values: Mapping[str, Any]) -> Layout:
    wanted = {
        "columns": dict[str, str | list[str]],
        "first_option": int | Literal["A"] | None,
        **FIELD_TYPES,
    }
    for name, hint in wanted.items():
        if name in values and not matches_type(values[name], hint):
            raise CheckpointError(f"{name} is {values[name]!r:.80}, which is no part of a layout")
    if "columns" not in values:
        raise CheckpointError("a layout without columns")
    return Layout.from_json(values)


def files_of_run(run: Path | None) -> Mapping[str, str]:
    """Where training found its labelled files, by role: ``train`` and ``dev``; empty where that
    isn't known."""
    try:
        timing = json.loads(((run or Path()) / TIMING_FILE).read_text(encoding="utf-8"))
        return {role: str(path) for role, path in timing["files"].items() if path}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
