"""Trainers of rows in memory, with dev scores given by the test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from onelayer.checkpoint.build import Built
from onelayer.checkpoint.read import describe
from onelayer.data.layout import Layout
from onelayer.data.sketch import Sketch
from onelayer.metrics.counts import ChosenRows, Floats
from onelayer.recipe import Recipe
from onelayer.tasks import AnyTask
from onelayer.tokens.encodings import Encodings
from onelayer.training.dataset import TrainingData
from onelayer.training.history import History
from onelayer.training.plan import Files, Plan
from onelayer.training.progress import Silent
from onelayer.training.run_record import HeldOutResult
from onelayer.training.run_store import Store
from onelayer.training.trainer import Trainer


def plan_of(folder: Path, task: AnyTask, encodings: Encodings, recipe: Recipe) -> Plan:
    """A plan to fine-tune the model in ``folder`` on encoded rows."""
    base = describe(folder)
    return Plan(
        files=Files(Path("rows.jsonl"), None, {"train": ""}),
        layout=Layout({"text": "text", "label": "label"}),
        data=TrainingData(task, encodings, [], "", Sketch(), np.empty(0, np.int64)),
        scored_encodings=encodings,
        base=base,
        base_digests={},
        class_weights=None,
        recipe=recipe,
        remarks=(),
    )


@dataclass
class Scores:
    """A scorer with one fixed score."""

    metric: str
    score: float

    def __len__(self) -> int:
        return 1

    def __call__(self, rows: ChosenRows | None = None) -> dict[str, float]:
        return {self.metric: self.score}

    def mistakes(self) -> Floats:
        return np.zeros(1)


@dataclass(slots=True)
class NoStore(Store):
    """A store that writes nothing and records the steps after which the model was the best."""

    target: Path = field(default_factory=lambda: Path("nowhere"))
    identity: str = ""
    kept: list[int] = field(default_factory=list)

    def save_best(
        self,
        plan: Plan,
        built: Built,
        evaluation: HeldOutResult,
        history: History,
        remarks: Sequence[str],
    ) -> None:
        self.kept.append(history.step)

    def finish(self, files: Files, history: History, remarks: Sequence[str]) -> None: ...


class Scripted(Trainer):
    """A trainer with given dev scores; by default they are all equal."""

    def __init__(self, plan: Plan, scores: Iterator[float] | None = None) -> None:
        self.scores = scores
        self.no_store = NoStore()
        super().__init__(plan, self.no_store, Silent())

    def score_dev(self) -> HeldOutResult:
        score = 0.5 if self.scores is None else next(self.scores)
        scorer = Scores(self.task.metric, score)
        return HeldOutResult(self.task, scorer(), scorer)


def trained(
    folder: Path,
    task: AnyTask,
    encodings: Encodings,
    recipe: Recipe,
    scores: Iterator[float] | None = None,
) -> Scripted:
    """Trains to the end in fp32 and returns the trainer."""
    trainer = Scripted(plan_of(folder, task, encodings, recipe), scores)
    trainer.train()
    return trainer
