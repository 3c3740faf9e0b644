"""A folder a task, with all that is known of it, and the registry of them. No torch here."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

from onelayer.base.errors import CheckpointError, UsageError
from onelayer.base.json_values import matches_type
from onelayer.tasks.answer.answer import AnswerTask
from onelayer.tasks.choose.choose import Choose
from onelayer.tasks.classify.classify import Classify
from onelayer.tasks.protocol import AnyTask, Task
from onelayer.tasks.regress.regress import Regress
from onelayer.tasks.tag.tag import Tag

__all__ = [
    "TASKS",
    "AnswerTask",
    "AnyTask",
    "Choose",
    "Classify",
    "Regress",
    "Tag",
    "Task",
    "register",
    "task_called",
    "task_from_json",
    "task_to_json",
]

TASKS: dict[str, type[AnyTask]] = {}
"""By name, in the order in which they were registered."""


def register(kind: type[AnyTask]) -> None:
    """Makes a task known to every command, by its ``name``. Raises ValueError where another one
    has it."""
    if TASKS.setdefault(kind.name, kind) is not kind:
        raise ValueError(f"there is a task {kind.name!r} already")


for _kind in (Classify, Regress, Tag, AnswerTask, Choose):
    register(_kind)


def task_called(name: str) -> type[AnyTask]:
    """Raises UsageError, with the names that are known, for another one."""
    if name not in TASKS:
        raise UsageError(f"no task {name!r}", hint=f"there are {', '.join(TASKS)}")
    return TASKS[name]


def task_to_json(task: AnyTask) -> dict[str, Any]:
    """All that decoding needs, as ``onelayer.json`` keeps it."""
    return {"name": task.name, **task.to_json()}


def task_from_json(values: dict[str, Any]) -> AnyTask:
    """The task that ``task_to_json`` wrote. Raises CheckpointError for anything else."""
    fields: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in values.items()
    }
    name = fields.pop("name", None)
    if not isinstance(name, str) or name not in TASKS:
        raise CheckpointError(f"an unknown task: {name!r:.80}")
    try:
        made = TASKS[name].from_json(fields)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"does not fit the task {name}: {error!s:.200}") from None
    _check_types(made)
    return made


def _check_types(made: Any) -> None:
    """Raises CheckpointError where a field isn't of its annotation's type."""
    hints = get_type_hints(type(made))
    for field in dataclasses.fields(made):
        value = getattr(made, field.name)
        if not matches_type(value, hints[field.name]):
            raise CheckpointError(f"{field.name} can't be {value!r:.80}")
        if dataclasses.is_dataclass(value):
            _check_types(value)
