"""A layout: which column of a file plays which role in a task."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from onelayer.base.errors import DataError
from onelayer.data.label_form import LabelForm
from onelayer.data.values import FirstOption, flag_in, position_from


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns play which roles. Several columns may play one role together."""

    columns: Mapping[str, str | tuple[str, ...]]
    """By role: text, pair, label, question, context, options, id, title, space_after."""
    labels: LabelForm = field(default_factory=LabelForm)
    """How the labels are written."""
    first_option: FirstOption | None = None
    """The first option's number or letter where right options are given by their positions; None
    where numbers and letters are something else, such as the options' texts."""
    facts: Any = field(default=None, compare=False)
    """What the contents of one file tell its task; see ``ColumnRules.facts``. It isn't kept with a
    model, as another file may differ."""

    def fits(self, columns: Collection[str]) -> bool:
        """Whether a file with these columns can be read with this layout."""
        return all(
            set(each_column(column)) <= set(columns)
            for role, column in self.columns.items()
            if role not in ("title", "impossible")  # only used where a file has them
        )

    def present_in(self, columns: Collection[str]) -> Layout:
        """The layout with only those roles for which a file has at least one column."""
        there = {
            role: column
            for role, column in self.columns.items()
            if not set(each_column(column)).isdisjoint(columns)
        }
        return replace(self, columns=there)

    def without_label(self) -> Layout:
        """The layout of the same rows where they have no gold label."""
        return replace(
            self, columns={role: it for role, it in self.columns.items() if role != "label"}
        )

    def values(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record's values by role; next to options and the right one also its ``position``, from
        0, where the file gives positions; ``written`` where lists stand as text. Raises DataError,
        without a place, for a label that isn't written as the others are."""
        chosen: dict[str, Any] = {}
        for role, column in self.columns.items():
            if isinstance(column, str):
                chosen[role] = record.get(column)
            elif role == "label":
                chosen[role] = flagged_columns(column, record)
            elif role == "options":
                chosen[role] = _options(column, record)
            else:
                chosen[role] = _joined(column, record)
        if "label" in chosen:
            chosen["label"] = label = self.labels.read(chosen["label"])
            if "options" in chosen:
                first = self.first_option
                chosen["position"] = None if first is None else position_from(first, label)
        if self.labels.written:
            chosen["written"] = True
        if self.facts is not None:
            chosen["facts"] = self.facts
        return chosen

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": dict(self.columns),
            **self.labels.to_json(),
            "first_option": self.first_option,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Layout:
        columns = {
            role: tuple(column) if isinstance(column, list) else column
            for role, column in values["columns"].items()
        }
        return cls(columns, LabelForm.from_json(values), values.get("first_option"))


def _options(columns: tuple[str, ...], record: Mapping[str, Any]) -> dict[str, Any]:
    """Options side by side, each labelled with its column and the last letter of its name."""
    letters = [name[-1].upper() if name[-1].isalpha() else "" for name in columns]
    return {"text": [record.get(name) for name in columns], "label": letters, "column": columns}


def _joined(columns: tuple[str, ...], record: Mapping[str, Any]) -> Any:
    """Texts such as a title and a body as one text, a line each. None if all are missing or empty;
    a value that is no text as it is, so that it is refused."""
    found = [value for name in columns if (value := record.get(name)) not in (None, "")]
    texts = [value for value in found if value == value]  # pandas writes NaN for a missing text
    odd = next((value for value in texts if isinstance(value, (list, dict))), None)
    return odd if odd is not None else "\n".join(map(str, texts)) or None


def flagged_columns(columns: tuple[str, ...], record: Mapping[str, Any]) -> list[str]:
    """The names of the columns that hold a 1 (one-hot columns)."""
    flags = {name: flag_in(record.get(name)) for name in columns}
    for name, flag in flags.items():
        if flag is None:
            hint = "correct it, or leave such rows out with --skip-bad"
            raise DataError(f"{name} is {record.get(name)!r:.40}, not 0 or 1", hint=hint)
    return [name for name, flag in flags.items() if flag]


def each_column(column: str | tuple[str, ...] | None) -> tuple[str, ...]:
    """The columns of a role, as a tuple."""
    if column is None:
        return ()
    return column if isinstance(column, tuple) else (column,)
