"""What ``onelayer.json`` and the model card tell about a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

from onelayer.checkpoint.build import Built, named_outputs
from onelayer.checkpoint.card import CardFacts
from onelayer.checkpoint.record import (
    DevEvaluation,
    DevScores,
    ModelRecord,
    ParameterCounts,
    RunData,
    TrainingHistory,
)
from onelayer.checkpoint.source import hub_name
from onelayer.evaluation.caveats import caveats_of_dev, caveats_of_labels
from onelayer.metrics import Scorer, intervals
from onelayer.nn.heads import HEADS
from onelayer.tasks import AnyTask
from onelayer.training.history import History
from onelayer.training.plan import Plan


@dataclass
class DevResult:
    """A model's scores on dev."""

    task: AnyTask
    """With its decoding tuned on dev, as it is saved with the model."""
    scores: dict[str, float]
    scorer: Scorer

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % interval of each score."""
        return intervals(self.scorer)

    @property
    def caveats(self) -> tuple[str, ...]:
        """What the scores can't tell, in words."""
        value = getattr(self.scorer, "cross_fitted", None)
        tuned = caveats_of_dev(self.task, 0, value) if value is not None else ()
        return (*caveats_of_labels(self.task, self.scorer), *tuned)


def run_record(
    plan: Plan, built: Built, on_dev: DevResult, history: History, remarks: Sequence[str]
) -> ModelRecord:
    """The record for ``onelayer.json``, except the digest of the weights."""
    parameters = list(built.model.parameters())
    new = [] if built.kept_head else list(built.model.head.parameters())
    files, data = plan.files, plan.data
    return ModelRecord(
        onelayer=version("onelayer"),
        task=on_dev.task,
        layout=plan.layout,
        recipe=plan.recipe.to_json(),
        choices=tuple(remarks),
        data=RunData(
            train=files.train_name,
            dev=files.dev_name,
            train_sha256=files.digests["train"],
            dev_sha256=files.digests.get("dev"),
            train_rows=len(data.encodings),
            dev_rows=len(data.dev),
        ),
        parameters=ParameterCounts(
            all=sum(p.numel() for p in parameters),
            trained=sum(p.numel() for p in parameters if p.requires_grad),
            new=sum(p.numel() for p in new),
        ),
        dev=DevScores(
            scores=on_dev.scores,
            intervals=on_dev.intervals,
            range=plan.task.range_of(data.dev),
            caveats=on_dev.caveats,
            cross_fitted=getattr(on_dev.scorer, "cross_fitted", None),
        ),
        history=history_record(history),
        seen=data.seen.to_text(),
    )


def history_record(history: History) -> TrainingHistory:
    """The part of a history that a repeated run leaves again: without durations."""
    return TrainingHistory(
        steps=history.step,
        best_step=history.best_step,
        restarts=history.attempt,
        losses=tuple(round(loss, 6) for loss in history.losses),
        lrs=tuple(history.lrs),
        tokens=tuple(history.tokens),
        evaluations=tuple(DevEvaluation(**one) for one in history.evaluations),
    )


def card_facts(plan: Plan, on_dev: DevResult, name: str) -> CardFacts:
    """What the model card tells; ``name`` is its title."""
    return CardFacts(
        name=name,
        task=plan.task,
        architecture=plan.config.family.class_for(HEADS[plan.task.head].form),
        base_model=plan.recipe.model,
        hub_name=hub_name(plan.recipe.model),
        data=plan.files.train_name,
        rows={"train": len(plan.data.encodings), "dev": len(plan.data.dev)},
        labels=named_outputs(plan.task),
        scores=on_dev.scores,
        intervals=on_dev.intervals,
        caveats=(
            *on_dev.caveats,
            "The dev rows also chose the checkpoint: expect a little less on new rows.",
        ),
    )
