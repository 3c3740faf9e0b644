"""A run: a model, its data, and the directory that keeps the best of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onelayer.base import digest
from onelayer.base.disk import as_json, publish, rewrite
from onelayer.base.errors import OneLayerError, UsageError
from onelayer.base.model_files import read_json
from onelayer.checkpoint.build import Built, as_saved, named_outputs, state_of
from onelayer.checkpoint.card import CardFacts, model_card
from onelayer.checkpoint.read import Checkpoint
from onelayer.checkpoint.record import (
    DevEvaluation,
    DevScores,
    ModelRecord,
    ParameterCounts,
    RunData,
    TrainingHistory,
)
from onelayer.checkpoint.save import write_checkpoint
from onelayer.checkpoint.source import hub_name
from onelayer.data.layout import Layout
from onelayer.engines.torch_engine import TorchEngine, best_device
from onelayer.metrics import Scorer, intervals
from onelayer.nn.heads import HEADS, IGNORED
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Recipe
from onelayer.tasks import AnyTask
from onelayer.tokens.encodings import Encodings
from onelayer.training.dataset import Data
from onelayer.training.loop import Reporter, train
from onelayer.training.prior import RESTARTS, SEEDS_APART, class_prior
from onelayer.training.resume import Saved, States
from onelayer.training.state import History, TrainState

TIMING = "timing.json"


class Said:
    """Passes remarks on and remembers them for ``onelayer.json``."""

    def __init__(self, reporter: Reporter, remarks: list[str] | None = None) -> None:
        self.reporter = reporter
        self.remarks = remarks or []

    def say(self, remark: str) -> None:
        self.remarks.append(remark)
        self.reporter.say(remark)


@dataclass(frozen=True, slots=True)
class Files:
    """The labelled files of a run, and the SHA-256 by which they can be told from others."""

    train: Path
    dev: Path | None
    """None where dev rows are carved off the training file."""
    digests: dict[str, str]
    """By role."""

    @classmethod
    def of(cls, train: str | Path, dev: str | Path | None) -> Files:
        given = (("train", train), ("dev", dev))
        digests = {role: digest.of_file(path) for role, path in given if path is not None}
        return cls(Path(train), None if dev is None else Path(dev), digests)

    def places(self) -> dict[str, str | None]:
        """Where they are on this machine."""
        return {
            "train": str(self.train.resolve()),
            "dev": None if self.dev is None else str(self.dev.resolve()),
        }


@dataclass(slots=True)
class Run:
    """A run in progress: all that evaluating and saving it needs."""

    target: Path
    files: Files
    recipe: Recipe
    layout: Layout
    data: Data
    dev_encodings: Encodings
    checkpoint: Checkpoint
    task: AnyTask
    built: Built
    rebuild: Callable[[int], Built]
    """A fresh model by its seed, for a run that is begun anew."""
    said: Said
    show: Callable[[Predictor], None]
    """Draws what is to be seen of the finished run."""
    states: States
    saved: Saved | None
    """The state that the run goes on from."""
    tuned: AnyTask | None = None
    """The task with its decoding tuned on dev, as of the last evaluation; what is saved."""
    scorer: Scorer | None = None

    def train(self) -> Predictor:
        """Fine-tunes, saving each best model, and returns the last one saved."""
        history = self._attempt(self.saved.history["attempt"] if self.saved is not None else 0)
        while history.stuck:
            seed = self._seed(history.attempt + 1)
            self.said.say(
                f"stuck after step {history.step:,}: one class for all dev rows, and a loss no "
                f"lower than that of guessing by frequency; begun anew with seed = {seed}"
            )
            self.built, self.saved = self.rebuild(seed), None
            history = self._attempt(history.attempt + 1)
        return self._finished(history)

    def _seed(self, attempt: int) -> int:
        return self.recipe.seed + SEEDS_APART * attempt

    def _attempt(self, attempt: int) -> History:
        """From the first step to the last, or to where it shows that nothing is learned."""
        encodings = self.data.encodings
        model = self.built.model.to(best_device())
        class_weights = self._class_weights(encodings)
        prior = class_prior(self.task.head, encodings, class_weights)
        model.train_in(self.recipe.precision or "fp32")
        engine = TorchEngine(model, self.recipe.token_budget)

        def evaluate() -> dict[str, float]:
            dev = self.data.dev
            with as_saved(model, self.task) as task:
                predictor = Predictor(task, self.checkpoint.tokenizer, engine, self.layout)
                chunks = predictor.run_encoded(dev, self.dev_encodings)
                if prior is not None:
                    chunks = prior.watch(chunks)
                self.tuned, self.scorer = task.tune(dev, chunks)
            return self.scorer()

        return train(
            model,
            self.task.head,
            encodings,
            replace(self.recipe, seed=self._seed(attempt)),
            metric=self.task.metric,
            evaluate=evaluate,
            keep=self.save,
            reporter=self.said.reporter,
            class_weights=class_weights,
            attempt=attempt,
            stuck=prior.is_all if prior is not None and attempt < RESTARTS else lambda _: False,
            begin=self._go_on,
            between=self._keep_state,
        )

    def _finished(self, history: History) -> Predictor:
        progress = history.progress
        self.said.reporter.say(
            f"{progress.step:,} steps, {progress.tokens:,} tokens in {progress.seconds:,.0f} s "
            f"({progress.tokens_per_second:,.0f} tokens/s); best after step {history.best_step:,}"
        )
        # The weights were saved at their best, which may be a while ago; the record goes on.
        path = self.target / "onelayer.json"
        record = ModelRecord.from_json(read_json(path))
        record = replace(record, choices=tuple(self.said.remarks), history=_recorded(history))
        rewrite(path, as_json(record.to_json()))
        rewrite(self.target / TIMING, as_json(self._timing(history)))
        predictor = load(self.target)
        self.show(predictor)
        self.states.clear()  # not before: if that is broken off, the same command does it again
        return predictor

    def _timing(self, history: History) -> dict[str, Any]:
        """Beside the record and not in it, which is the same whenever a run is repeated: what took
        how long, and where its files are, for who wants to read their rows again."""
        return {
            "seconds": [round(seconds, 6) for seconds in history.seconds],
            "files": self.files.places(),
        }

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
        labels = named_outputs(task)
        bounds = intervals(self.scorer) if self.scorer is not None else {}
        card = model_card(self._facts(scores, bounds, labels))
        record = self._record(task, scores, bounds, history)

        def write(folder: Path) -> None:
            write_checkpoint(
                folder,
                config=self.checkpoint.config,
                state=state_of(model),
                architecture=self.checkpoint.config.family.class_for(HEADS[task.head].form),
                labels=labels,
                problem_type=HEADS[task.head].problem_type,
                tokenizer=self.checkpoint.tokenizer,
                record=record,
                card=card,
            )

        with as_saved(model, self.task):
            publish(self.target, write)

    def _record(
        self,
        task: AnyTask,
        scores: dict[str, float],
        bounds: dict[str, tuple[float, float]],
        history: History,
    ) -> ModelRecord:
        parameters = list(self.built.model.parameters())
        new = sum(p.numel() for p in self.built.model.head.parameters())
        files = self.files
        return ModelRecord(
            onelayer=version("onelayer"),
            task=task,
            layout=self.layout,
            recipe=self.recipe.to_json(),
            choices=tuple(self.said.remarks),
            data=RunData(
                train=files.train.name,
                dev=files.dev.name if files.dev else None,
                train_sha256=files.digests["train"],
                dev_sha256=files.digests.get("dev"),
                train_rows=len(self.data.encodings),
                dev_rows=len(self.data.dev),
            ),
            parameters=ParameterCounts(
                all=sum(p.numel() for p in parameters),
                trained=sum(p.numel() for p in parameters if p.requires_grad),
                new=0 if self.built.kept_head else new,
            ),
            dev=DevScores(scores=scores, intervals=bounds, range=self.task.range_of(self.data.dev)),
            history=_recorded(history),
            seen=self.data.seen.to_text(),
        )

    def _facts(
        self,
        scores: dict[str, float],
        bounds: dict[str, tuple[float, float]],
        labels: list[str] | None,
    ) -> CardFacts:
        return CardFacts(
            name=self.target.name,
            task=self.task,
            architecture=self.checkpoint.config.family.class_for(HEADS[self.task.head].form),
            base_model=self.recipe.model,
            hub_name=hub_name(self.recipe.model),
            data=self.files.train.name,
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
        if HEADS[self.task.head].classes is None:
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


def _recorded(history: History) -> TrainingHistory:
    return TrainingHistory(
        steps=history.step,
        best_step=history.best_step,
        restarts=history.attempt,
        losses=tuple(round(loss, 6) for loss in history.losses),
        lrs=tuple(history.lrs),
        tokens=tuple(history.tokens),
        evaluations=tuple(DevEvaluation(**one) for one in history.evaluations),
    )
