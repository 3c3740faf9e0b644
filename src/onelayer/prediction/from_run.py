"""Opens a run for prediction with torch: ours, or a directory that transformers saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from onelayer.base.errors import CheckpointError, Place
from onelayer.checkpoint import read as checkpoints
from onelayer.checkpoint.build import build_model
from onelayer.checkpoint.config import CONFIG
from onelayer.checkpoint.read import Checkpoint
from onelayer.engines.torch_engine import TorchEngine, best_device
from onelayer.nn.heads import HEADS
from onelayer.prediction.predictor import Predictor
from onelayer.tasks import TASKS, AnyTask
from onelayer.tasks.protocol import SavedLayer


def predictor_of(folder: Path, threads: int | None = None) -> Predictor:
    """The model of a run, on this number of threads. Raises CheckpointError if it can't be read or
    has no output layer."""
    checkpoint = checkpoints.read_checkpoint(folder)
    record = checkpoint.record
    if record is not None:
        task, layout = record.task, record.layout
    else:
        task = task_of(checkpoint)
        layout = task.columns.default_layout()
        # The config may lack labels and problem type: the task that fits the layer has them.
        checkpoint = replace(
            checkpoint, labels=list(task.outputs), problem_type=HEADS[task.head].problem_type
        )
    built = build_model(checkpoint, task)
    if not built.kept_head:
        raise CheckpointError(
            f"its output layer does not fit the task {task.name}", place=Place(folder)
        )
    if not built.kept_pooler:
        raise CheckpointError(
            f"the weights lack {built.pooler}, which its output layer reads through",
            place=Place(folder),
            hint="fetch the model again, or fine-tune it: onelayer train FILE --model "
            + str(folder),
        )
    return Predictor(
        task=task,
        tokenizer=checkpoint.tokenizer,
        engine=TorchEngine(built.model.to(best_device()).eval(), threads=threads),
        layout=layout,
        path=folder,
        record=record,
    )


def task_of(checkpoint: Checkpoint) -> AnyTask:
    """The task of a directory without ``onelayer.json``: the first one that fits its output layer.

    Raises CheckpointError if none does, or if ``config.json`` doesn't say what the layer is for.
    """
    n_outputs = len(checkpoint.head.get("head.bias", ()))
    layer = SavedLayer(
        form=checkpoint.form,
        problem_type=checkpoint.problem_type,
        labels=tuple(checkpoint.labels or (f"LABEL_{i}" for i in range(n_outputs))),
        positions=checkpoint.config.longest,
    )
    try:
        for kind in TASKS.values() if checkpoint.head else ():
            if (task := kind.of_saved(layer)) is not None:
                return task
    except CheckpointError as error:
        raise CheckpointError(error.message, place=Place(checkpoint.folder)) from error
    if not checkpoint.head and (found := _unnamed_head(checkpoint)):
        raise CheckpointError(
            f"{CONFIG} doesn't say what {found[0]} in the weights is for",
            place=Place(checkpoint.folder),
            hint=f"name the class in its architectures: {' or '.join(found[1:])}",
        )
    raise CheckpointError(
        f"{checkpoint.architecture} has no output layer to predict with",
        place=Place(checkpoint.folder),
        hint="fine-tune it first: onelayer train FILE --model " + str(checkpoint.folder),
    )


def _unnamed_head(checkpoint: Checkpoint) -> list[str]:
    """An output layer's weight that ``config.json`` names no class for, and the classes that may
    have it; empty if there is none."""
    for weight in checkpoint.left_out:
        classes = checkpoint.config.family.classes.items()
        if names := [name for name, one in classes if f"{one.head}.weight" == weight]:
            return [weight, *names]
    return []
