"""Opens a run for prediction with torch: ours, or a directory that transformers saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from onelayer.base.errors import CheckpointError, Place
from onelayer.checkpoint import read as checkpoints
from onelayer.checkpoint.build import PROBLEM_TYPES, build
from onelayer.checkpoint.read import Checkpoint
from onelayer.checkpoint.record import read_record
from onelayer.engines.torch_engine import TorchEngine, best_device
from onelayer.prediction.predictor import INPUTS, Predictor
from onelayer.tasks import AnswerTask, Choose, Classify, Regress, Tag, Task
from onelayer.tasks.protocol import Layout
from onelayer.tasks.tag.schemes import Scheme, recognise


def predictor_of(folder: Path) -> Predictor:
    """Raises CheckpointError for a directory that can't be read or has no output layer."""
    checkpoint = checkpoints.read(folder)
    info = checkpoint.onelayer
    if info:
        task, layout = read_record(info, folder, checkpoint.config.max_position_embeddings)
    else:
        task = task_of(checkpoint)
        layout = default_layout(task)
        # What its config leaves open was just settled; the layer is the checkpoint's own.
        checkpoint = replace(
            checkpoint, labels=list(task.outputs), problem_type=PROBLEM_TYPES.get(task.head)
        )
    built = build(checkpoint, task)
    if not built.kept_head:
        raise CheckpointError(
            f"its output layer does not fit the task {task.name}", place=Place(folder)
        )
    return Predictor(
        task=task,
        tokenizer=checkpoint.tokenizer,
        engine=TorchEngine(built.model.to(best_device()).eval()),
        layout=layout,
        path=folder,
        info=info,
    )


def default_layout(task: Task) -> Layout:
    """Roles under their own names: for models whose training file is unknown."""
    return Layout({name: name for name in INPUTS[task.name] if name != "pair"})


def task_of(checkpoint: Checkpoint) -> Task:
    """What a directory without ``onelayer.json`` was fine-tuned for, by its architecture."""
    limit = checkpoint.config.max_position_embeddings
    n_outputs = len(checkpoint.head.get("head.bias", ()))
    labels = tuple(checkpoint.labels or (f"LABEL_{i}" for i in range(n_outputs)))
    made: dict[str, Any] = {
        "QuestionAnswering": lambda: AnswerTask(
            max_length=min(384, limit), stride=min(128, limit // 4), max_answer_tokens=30
        ),
        "MultipleChoice": lambda: Choose(max_length=limit),
        "TokenClassification": lambda: _tag(labels, limit),
        "SequenceClassification": lambda: _classify(checkpoint, labels, limit),
    }
    if not checkpoint.head or checkpoint.form not in made:
        raise CheckpointError(
            f"{checkpoint.architecture} has no output layer to predict with",
            place=Place(checkpoint.folder),
            hint="fine-tune it first: onelayer train FILE --model " + str(checkpoint.folder),
        )
    task: Task = made[checkpoint.form]()
    return task


def _classify(checkpoint: Checkpoint, labels: tuple[str, ...], limit: int) -> Task:
    if checkpoint.problem_type == "regression" or len(labels) == 1:
        return Regress(max_length=limit)
    multi_label = checkpoint.problem_type == "multi_label_classification"
    return Classify(labels=labels, max_length=limit, multi_label=multi_label)


def _tag(labels: tuple[str, ...], limit: int) -> Task:
    """The prefixes of the label names tell the scheme; B and I alone are read as IOB2."""
    scheme = recognise([[label] for label in labels])
    scheme = Scheme.IOB2 if scheme is Scheme.IOB1 else scheme
    return Tag(labels=labels, scheme=scheme, max_length=limit, stride=min(128, limit // 4))
