"""One file a task: the columns it reads, encode, decode, score. No torch here."""

from __future__ import annotations

import dataclasses
from typing import Any

from onelayer.errors import CheckpointError
from onelayer.tasks.answer import AnswerTask
from onelayer.tasks.base import Task
from onelayer.tasks.calibration import Calibration
from onelayer.tasks.choose import Choose
from onelayer.tasks.classify import Classify
from onelayer.tasks.regress import Regress
from onelayer.tasks.tag import Tag
from onelayer.text.tags import Scheme
from onelayer.text.words import Joints

__all__ = [
    "TASKS",
    "AnswerTask",
    "Choose",
    "Classify",
    "Regress",
    "Tag",
    "Task",
    "task_from_json",
    "task_to_json",
]

TASKS: dict[str, type[Task]] = {
    "classify": Classify,
    "regress": Regress,
    "tag": Tag,
    "answer": AnswerTask,
    "choose": Choose,
}


def task_to_json(task: Task) -> dict[str, Any]:
    """All that decoding needs, as ``onelayer.json`` keeps it."""
    return {"name": task.name, **dataclasses.asdict(task)}  # type: ignore[call-overload]


def task_from_json(values: dict[str, Any]) -> Task:
    """The task that ``task_to_json`` wrote. Raises CheckpointError for anything else."""
    fields: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in values.items()
    }
    name = fields.pop("name", None)
    if name not in TASKS:
        raise CheckpointError(f"onelayer.json names an unknown task: {name!r}")
    try:
        if name == "tag":
            fields["scheme"] = Scheme(fields["scheme"])
            fields["joints"] = Joints(**fields["joints"])
        if fields.get("calibration"):
            fields["calibration"] = Calibration.from_json(fields["calibration"])
        return TASKS[name](**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"onelayer.json does not fit the task {name}: {error}") from None
