"""What goes out: a prediction as JSON has it, and the one thing that a spreadsheet wants of it."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from onelayer.tasks.choose.choose import Choice
from onelayer.tasks.labels import Label, Labels
from onelayer.tasks.regress.regress import Value
from onelayer.tasks.tag.schemes import OUTSIDE
from onelayer.tasks.tag.tag import Tagged


def to_json(prediction: Any) -> dict[str, Any]:
    """A prediction as JSON has it: a tagged text's words as texts, numbers to the seven digits
    that fp32 has; without the fields that were not asked for."""
    values = {
        field.name: _plain(value)
        for field in dataclasses.fields(prediction)
        if (value := getattr(prediction, field.name)) is not None or field.default is not None
    }
    if isinstance(prediction, Tagged):
        values["words"] = [prediction.text[start:end] for start, end in prediction.words]
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if dataclasses.is_dataclass(value):
        return {
            field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    return value


def headline(prediction: Any) -> str | float:
    """The one thing that a spreadsheet wants of a prediction."""
    match prediction:
        case Label():
            return prediction.label or ""
        case Labels():
            return ";".join(prediction.labels)
        case Value():
            return float(f"{prediction.value:.7g}")
        case Tagged(entities=()):
            return " ".join(prediction.tags) if set(prediction.tags) != {OUTSIDE} else ""
        case Tagged():
            return "; ".join(f"{entity.text} [{entity.label}]" for entity in prediction.entities)
        case Choice():
            return prediction.option
    return str(prediction.text)
