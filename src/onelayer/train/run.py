"""A run: a model, its data, and the directory that keeps the best of it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onelayer.checkpoint.build import PROBLEM_TYPES, Built, as_saved, state_of
from onelayer.checkpoint.card import CardFacts, model_card
from onelayer.checkpoint.load import Checkpoint
from onelayer.checkpoint.save import as_json, publish, rewrite, write_checkpoint
from onelayer.checkpoint.source import hub_name
from onelayer.errors import OneLayerError, UsageError
from onelayer.metrics import Scorer, intervals
from onelayer.nn.heads import HEADS, IGNORED
from onelayer.plain import finite
from onelayer.recipe import Recipe
from onelayer.report.write import NAME, write_report
from onelayer.runtime.load import load
from onelayer.runtime.predictor import Predictor
from onelayer.runtime.torch_engine import TorchEngine, best_device
from onelayer.tasks import Task, task_to_json
from onelayer.tasks.base import Layout
from onelayer.text.encoding import Encodings
from onelayer.text.tokenizer import read_json
from onelayer.train.data import Data
from onelayer.train.loop import Reporter, train
from onelayer.train.resume import Saved, States
from onelayer.train.state import History, TrainState


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
    dev_file: Path | None
    """None where dev rows are carved off the training file."""
    recipe: Recipe
    layout: Layout
    data: Data
    dev_encodings: Encodings
    checkpoint: Checkpoint
    task: Task
    built: Built
    said: Said
    digests: dict[str, str]
    """Of the files, as ``train_sha256`` and ``dev_sha256``."""
    states: States
    saved: Saved | None
    """The state that the run goes on from."""
    tuned: Task | None = None
    """The task with its decoding tuned on dev, as of the last evaluation; what is saved."""
    scorer: Scorer | None = None

    def train(self) -> Predictor:
        """Fine-tunes, saving each best model, and returns the last one saved."""
        encodings = self.data.encodings
        model = self.built.model.to(best_device())
        model.train_in(self.recipe.precision or "fp32")
        engine = TorchEngine(model, self.recipe.token_budget)

        def evaluate() -> dict[str, float]:
            dev = self.data.dev
            with as_saved(model, self.task) as task:
                predictor = Predictor(task, self.checkpoint.tokenizer, engine, self.layout)
                chunks = predictor.run_encoded(dev, self.dev_encodings)
                self.tuned, self.scorer = task.tune(dev, chunks)
            return self.scorer()

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
            begin=self._go_on,
            between=self._keep_state,
        )
        progress = history.progress
        self.said.reporter.say(
            f"{progress.step:,} steps, {progress.tokens:,} tokens in {progress.seconds:,.0f} s "
            f"({progress.tokens_per_second:,.0f} tokens/s); best after step {history.best_step:,}"
        )
        # The weights were saved at their best, which may be a while ago; the record goes on.
        record = read_json(self.target / "onelayer.json")
        record |= {"choices": self.said.remarks, "history": _history(history)}
        rewrite(self.target / "onelayer.json", as_json(record))
        rewrite(self.target / "timing.json", as_json(_timing(history)))
        self.states.clear()
        predictor = load(self.target)
        self._show(predictor)
        return predictor

    def _show(self, predictor: Predictor) -> None:
        """Writes ``report.html``. No run is lost for a picture that can't be drawn."""
        carved = f"{self.train_file.name}, kept as dev"
        file = self.dev_file.name if self.dev_file else carved
        try:
            write_report(predictor, self.data.dev, file, self.target / NAME)
        except Exception as error:
            self.said.reporter.say(f"warning: no {NAME}: {error}")

    def _go_on(self, state: TrainState) -> None:
        if self.saved is not None:
            self.saved.restore(state)

    def _keep_state(self, state: TrainState, stopping: bool) -> None:
        if not (stopping or self.states.due()):
            return
        step = state.history.step
        try:
            self.states.save(state, self.recipe.to_json(), self.said.remarks)
        except OneLayerError as error:
            self.said.reporter.say(f"warning: the state after step {step:,} is not saved: {error}")
            return
        if stopping:
            best = f"; the best model so far is in {self.target}" if state.history.best_step else ""
            self.said.reporter.finish()
            self.said.reporter.say(
                f"stopped after step {step:,}; the same command goes on from there{best}"
            )

    def save(self, scores: dict[str, float], history: History) -> None:
        """Publishes the model as it now is, with all that is known of it."""
        task, model = self.tuned or self.task, self.built.model
        named = task.head in ("label", "labels", "tags", "three-way")
        labels = list(task.outputs) if named else None
        bounds = intervals(self.scorer) if self.scorer is not None else {}
        card = model_card(self._facts(scores, bounds, labels))
        record = self._record(task, scores, bounds, history)

        def write(folder: Path) -> None:
            write_checkpoint(
                folder,
                config=self.checkpoint.config,
                state=state_of(model),
                architecture=HEADS[task.head].architecture,
                labels=labels,
                problem_type=PROBLEM_TYPES.get(task.head),
                tokenizer=self.checkpoint.tokenizer,
                onelayer=record,
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
                "dev": self.dev_file and self.dev_file.name,
                "dev_rows": len(self.data.dev),
                **self.digests,
            },
            "parameters": {
                "all": sum(p.numel() for p in parameters),
                "trained": sum(p.numel() for p in parameters if p.requires_grad),
                "new": sum(p.numel() for p in self.built.model.head.parameters())
                * (not self.built.kept_head),
            },
            "dev": {"scores": scores, "intervals": bounds},
            "history": _history(history),
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
        "steps": history.step,
        "best_step": history.best_step,
        "losses": [round(loss, 6) for loss in history.losses],
        "lrs": history.lrs,
        "tokens": history.tokens,
        "evaluations": history.evaluations,
    }
    return dict(finite(values))


def _timing(history: History) -> dict[str, Any]:
    """Beside the record and not in it, which is the same whenever a run is repeated."""
    return {"seconds": [round(seconds, 6) for seconds in history.seconds]}
