"""What every task's predictions can do: stand in JSON, in one cell of a table, and in tensors."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Hashable, Mapping
from functools import cache
from typing import Any, ClassVar, Literal, TypeVar

from onelayer.base.result import html_table


class BasePrediction:
    """What a model says of one row. A task's own kind is a frozen dataclass that extends this."""

    __slots__ = ()

    json_schema: ClassVar[Mapping[str, Any]] = {}
    """The JSON Schema of each field that JSON has in another type than Python."""

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON has them, numbers to the seven digits that fp32 has; without those
        that were not asked for, whose value and default are None."""
        kind: Any = type(self)
        return {
            name: _json_value(value)
            for name, only_if_asked in _json_fields(kind)
            if (value := getattr(self, name)) is not None or not only_if_asked
        }

    def _repr_html_(self) -> str:
        """A line for each field, as a notebook shows it."""
        return html_table(
            [
                [name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)]
                for name, value in self.to_json().items()
            ]
        )

    @property
    def headline(self) -> str | float:
        """The one value that a spreadsheet shows."""
        return json.dumps(self.to_json(), ensure_ascii=False)

    @property
    def decision(self) -> Hashable:
        """What is predicted, without how sure: the same for two models that say the same."""
        return self.headline


Prediction = TypeVar("Prediction", bound=BasePrediction)


@cache
def _json_fields(kind: Any) -> tuple[tuple[str, bool], ...]:
    """The names of a kind's fields, and whether JSON has them only if they were asked for."""
    return tuple((field.name, field.default is None) for field in dataclasses.fields(kind))


def _json_value(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _json_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item) for item in value]
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {field.name: _json_value(getattr(value, field.name)) for field in fields}
    return value


@dataclasses.dataclass(frozen=True, slots=True)
class OutputTensor:
    """A tensor of the Open Inference Protocol, made of one value, or one list of values, of each
    prediction."""

    name: str
    datatype: Literal["BYTES", "FP32", "INT64"]
    of: Callable[[Any], Any]
    columns: tuple[int, ...] = ()
    """Its shape after the first dimension; -1: as many as there are."""
