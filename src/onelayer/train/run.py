"""A run: a model, its data, and the directory that keeps the best of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onelayer.checkpoint.build import PROBLEM_TYPES, Built, as_saved, state_of
from onelayer.checkpoint.card import CardFacts, model_card
from onelayer.checkpoint.load import Checkpoint
from onelayer.checkpoint.save import publish, rewrite_record, write_checkpoint
from onelayer.checkpoint.source import hub_name
from onelayer.errors import UsageError
from onelayer.metrics import Scorer, intervals
from onelayer.nn.heads import HEADS, IGNORED
from onelayer.plain import finite
from onelayer.recipe import Recipe
from onelayer.runtime.load import load
from onelayer.runtime.predictor import Predictor
from onelayer.runtime.torch_engine import TorchEngine, best_device
from onelayer.tasks import Task, task_to_json
from onelayer.tasks.base import Layout
from onelayer.text.encoding import Encodings
from onelayer.train.data import Data
from onelayer.train.loop import History, Reporter, train


class Said:
    """Passes remarks on and remembers them for ``onelayer.json``."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.remarks: list[str] = []

    def say(self, remark: str) -> None:
        self.remarks.append(remark)
        self.reporter.say(remark)


@dataclass(slots=True)
class Run:
    """A run in progress: all that evaluating and saving it needs."""

    target: Path
    train_file: Path
    recipe: Recipe
    layout: Layout
    data: Data
    checkpoint: Checkpoint
    task: Task
    built: Built
    said: Said
    tuned: Task | None = None
    """The task with its decoding tuned on dev, as of the last evaluation; what is saved."""
    scorer: Scorer | None = None
    record: dict[str, Any] = field(default_factory=dict)
    """``onelayer.json`` as it was last saved."""

    def train(self, encodings: Encodings, dev_encodings: Encodings) -> Predictor:
        """Fine-tunes, saving each best model, and returns the last one saved."""
        model = self.built.model.to(best_device())
        model.train_in(self.recipe.precision or "fp32")
        engine = TorchEngine(model, self.recipe.token_budget)

        def evaluate() -> dict[str, float]:
            dev = self.data.dev
            with as_saved(model, self.task) as task:
                predictor = Predictor(task, self.checkpoint.tokenizer, engine, self.layout)
                chunks = predictor.run_encoded(dev, dev_encodings)
                self.tuned, self.scorer = task.tune(dev, chunks)
            return self.scorer()

        reserved = _reserve(self.target)
        try:
            history = train(
                model,
                self.task.head,
                encodings,
                self.recipe,
                metric=self.task.metric,
                evaluate=evaluate,
                keep=self.save,
                reporter=self.said.reporter,
                class_weights=self._class_weights(encodings),
            )
        except BaseException as error:
            self.said.reporter.finish()
            saved = any(self.target.iterdir())
            if saved and isinstance(error, KeyboardInterrupt):
                self.said.say(f"stopped; the best model so far is in {self.target}")
            elif reserved and not saved:
                self.target.rmdir()
            raise
        progress = history.progress
        self.said.say(
            f"{progress.step:,} steps, {progress.tokens:,} tokens in {progress.seconds:,.0f} s "
            f"({progress.tokens_per_second:,.0f} tokens/s); best after step {history.best_step:,}"
        )
        # The weights were saved at their best, which may be a while ago; the record goes on.
        self.record["choices"] = self.said.remarks
        self.record["history"] = _history(history)
        rewrite_record(self.target, self.record)
        return load(self.target)

    def save(self, scores: dict[str, float], history: History) -> None:
        """Publishes the model as it now is, with all that is known of it."""
        task, model = self.tuned or self.task, self.built.model
        named = task.head in ("label", "labels", "tags", "three-way")
        labels = list(task.outputs) if named else None
        bounds = intervals(self.scorer) if self.scorer is not None else {}
        card = model_card(self._facts(scores, bounds, labels))
        self.record = self._record(task, scores, bounds, history)

        def write(folder: Path) -> None:
            write_checkpoint(
                folder,
                config=self.checkpoint.config,
                state=state_of(model),
                architecture=HEADS[task.head].architecture,
                labels=labels,
                problem_type=PROBLEM_TYPES.get(task.head),
                tokenizer=self.checkpoint.tokenizer,
                onelayer=self.record,
                card=card,
            )

        with as_saved(model, self.task):
            publish(self.target, write)

    def _record(
        self,
        task: Task,
        scores: dict[str, float],
        bounds: dict[str, tuple[float, float]],
        history: History,
    ) -> dict[str, Any]:
        parameters = list(self.built.model.parameters())
        record = {
            "format": 1,
            "onelayer": version("onelayer"),
            "task": task_to_json(task),
            "layout": self.layout.to_json(),
            "recipe": self.recipe.to_json(),
            "choices": self.said.remarks,
            "data": {
                "train": self.train_file.name,
                "train_rows": len(self.data.encodings),
                "dev_rows": len(self.data.dev),
            },
            "parameters": {
                "all": sum(p.numel() for p in parameters),
                "trained": sum(p.numel() for p in parameters if p.requires_grad),
                "new": sum(p.numel() for p in self.built.model.head.parameters())
                * (not self.built.kept_head),
            },
            "dev": {"scores": scores, "intervals": bounds},
            "history": _history(history),
            "seen": self.data.seen.to_text(),
        }
        return dict(finite(record))

    def _facts(
        self,
        scores: dict[str, float],
        bounds: dict[str, tuple[float, float]],
        labels: list[str] | None,
    ) -> CardFacts:
        return CardFacts(
            name=self.target.name,
            task=self.task.name,
            architecture=HEADS[self.task.head].architecture,
            base_model=self.recipe.model,
            hub_name=hub_name(self.recipe.model),
            data=self.train_file.name,
            rows={"train": len(self.data.encodings), "dev": len(self.data.dev)},
            labels=labels,
            scores=scores,
            intervals=bounds,
        )

    def _class_weights(self, encodings: Encodings) -> Tensor | None:
        """n / (classes × count) for one label; for several, how often each is absent per once
        present, as positive weights."""
        if not self.recipe.class_weights:
            return None
        targets = encodings.targets
        assert targets is not None
        if self.task.head not in ("label", "labels", "tags"):
            raise UsageError("--class-weights is for tasks with classes: classify and tag")
        if targets.dtype == np.bool_:
            present = targets.sum(axis=0)
            weights = (len(targets) - present) / np.maximum(present, 1)
        else:
            learned = targets[targets != IGNORED]
            counts = np.bincount(learned.astype(np.int64), minlength=len(self.task.outputs))
            weights = len(learned) / (len(counts) * np.maximum(counts, 1))
        device = self.built.model.head.weight.device
        return torch.tensor(weights, dtype=torch.float32, device=device)


def _history(history: History) -> dict[str, Any]:
    values = {
        "best_step": history.best_step,
        "losses": [round(loss, 6) for loss in history.losses],
        "evaluations": history.evaluations,
        "progress": dataclasses.asdict(history.progress),
    }
    return dict(finite(values))


def _reserve(target: Path) -> bool:
    """Makes the directory, so that no other run takes the name; says whether it was made now."""
    if target.is_dir():
        return False
    target.mkdir(parents=True)
    return True
