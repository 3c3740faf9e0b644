"""What ``onelayer.json`` and the model card tell about a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version

from onelayer.base.result import interval_text, short_figure
from onelayer.checkpoint.build import Built, named_outputs
from onelayer.checkpoint.card import CardFacts
from onelayer.checkpoint.record import (
    DevEvaluation,
    HeldOutScores,
    ModelRecord,
    ParameterCounts,
    RunData,
    TrainingHistory,
)
from onelayer.checkpoint.source import hub_name
from onelayer.evaluation.caveats import CROSS_VALIDATED, caveats_of_dev, caveats_of_labels
from onelayer.metrics import Scorer, intervals
from onelayer.nn.heads import HEADS
from onelayer.tasks import AnyTask
from onelayer.training.history import History
from onelayer.training.out_of_fold import OutOfFold
from onelayer.training.plan import Plan
from onelayer.training.schedule import method_of


@dataclass
class HeldOutResult:
    """A model's scores on rows that it was not trained on: on dev, or of cross-validation."""

    task: AnyTask
    """With its decoding tuned on these rows, as it is saved with the model."""
    scores: dict[str, float]
    """Empty where no row could be held out."""
    scorer: Scorer | None
    out_of_fold: OutOfFold | None = None
    """The logits of cross-validation; None on dev."""

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """The 95 % interval of each score."""
        return {} if self.scorer is None else intervals(self.scorer)

    @property
    def caveats(self) -> tuple[str, ...]:
        """What the scores can't tell, in words."""
        if self.scorer is None:
            return ()
        value = getattr(self.scorer, "cross_fitted", None)
        tuned = caveats_of_dev(self.task, 0, value) if value is not None else ()
        return (*caveats_of_labels(self.task, self.scorer), *tuned)


def remarks_on_scores(result: HeldOutResult, plan: Plan) -> Iterator[str]:
    """The scores of cross-validation, and of what model they are."""
    data = plan.data
    if plan.recipe.patience is not None:
        yield "warning: --patience changes nothing without a dev set"
    if result.scorer is None:
        yield "the model has no score; it is trained on all rows"
        return
    metric = plan.task.metric
    interval = interval_text(result.intervals[metric])
    known = f" (95 % interval {interval})" if interval else ""
    yield (
        f"{metric} {short_figure(result.scores[metric])}{known}, "
        f"cross-validated over {data.n_folds} folds of {len(result.scorer):,} rows; the model is "
        f"trained on all {len(data.rows):,}"
    )


def run_record(
    plan: Plan, built: Built, held_out: HeldOutResult, history: History, remarks: Sequence[str]
) -> ModelRecord:
    """The record for ``onelayer.json``, except the digest of the weights."""
    parameters = list(built.model.parameters())
    new = [] if built.kept_head else list(built.model.head.parameters())
    files, data = plan.files, plan.data
    return ModelRecord(
        onelayer=version("onelayer"),
        task=held_out.task,
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
            folds=data.n_folds,
        ),
        parameters=ParameterCounts(
            all=sum(p.numel() for p in parameters),
            trained=sum(p.numel() for p in parameters if p.requires_grad),
            new=sum(p.numel() for p in new),
        ),
        dev=None if held_out.scorer is None else _scores(plan, held_out, held_out.scorer),
        history=history_record(history),
        seen=data.seen.to_text(),
        taught=plan.lessons.made_of if plan.lessons else None,
    )


def _scores(plan: Plan, held_out: HeldOutResult, scorer: Scorer) -> HeldOutScores:
    data = plan.data
    return HeldOutScores(
        folds=data.n_folds,
        rows=len(scorer),
        scores=held_out.scores,
        intervals=held_out.intervals,
        range=plan.task.range_of(data.rows if data.is_folded else data.dev),
        caveats=held_out.caveats,
        cross_fitted=getattr(scorer, "cross_fitted", None),
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


def card_facts(plan: Plan, held_out: HeldOutResult, name: str) -> CardFacts:
    """What the model card tells; ``name`` is its title."""
    data = plan.data
    rows, split, chosen = {"train": len(data.encodings)}, "dev", []
    if data.is_folded:
        split = f"all rows, cross-validated in {data.n_folds} folds"
        chosen = [CROSS_VALIDATED]
    else:
        rows["dev"] = len(data.dev)
        if plan.recipe.epochs:  # without, only the last step is scored
            chosen = ["The dev rows also chose the checkpoint: expect a little less on new rows."]
    return CardFacts(
        name=name,
        task=plan.task,
        architecture=plan.config.family.class_for(HEADS[plan.task.head].form),
        base_model=str(plan.recipe.model),
        taught=plan.lessons.made_of if plan.lessons else None,
        hub_name=hub_name(str(plan.recipe.model)),
        data=plan.files.train_name,
        rows=rows,
        method=method_of(plan.recipe),
        labels=named_outputs(plan.task),
        split=split,
        scores=held_out.scores,
        intervals=held_out.intervals,
        caveats=(*held_out.caveats, *chosen),
    )
