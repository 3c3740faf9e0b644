"""One file a task: the columns it reads, encode, decode, score. No torch here."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, get_origin, get_type_hints

from onelayer.base.errors import CheckpointError
from onelayer.base.json_values import fits
from onelayer.tasks.answer.answer import AnswerTask
from onelayer.tasks.calibration import Calibration
from onelayer.tasks.choose.choose import Choose
from onelayer.tasks.classify.classify import Classify
from onelayer.tasks.protocol import Task
from onelayer.tasks.regress.regress import Regress
from onelayer.tasks.tag.schemes import Scheme
from onelayer.tasks.tag.tag import Tag
from onelayer.tokens.words import Joints

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
    if not isinstance(name, str) or name not in TASKS:
        raise CheckpointError(f"an unknown task: {name!r:.80}")
    try:
        if name == "tag":
            fields["scheme"] = Scheme(fields["scheme"])
            fields["joints"] = Joints(**fields["joints"])
        if fields.get("calibration"):
            fields["calibration"] = Calibration.from_json(fields["calibration"])
        made = TASKS[name](**fields)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"does not fit the task {name}: {error!s:.200}") from None
    _check_fields(made)
    return made


def _check_fields(made: object) -> None:
    """Raises CheckpointError where a field isn't of its annotation's type."""
    for field, hint in get_type_hints(type(made)).items():
        value = getattr(made, field)
        if get_origin(hint) is not ClassVar and not fits(value, hint):
            raise CheckpointError(f"{field} can't be {value!r:.80}")
        if dataclasses.is_dataclass(value):
            _check_fields(value)
