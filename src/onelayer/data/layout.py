"""A layout: which column of a file plays which role in a task."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from onelayer.data.values import is_number


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns play which roles. Several columns may play one role together."""

    columns: Mapping[str, str | tuple[str, ...]]
    """By role: text, pair, label, question, context, options, id, title, space_after."""
    separator: str | None = None
    """What separates several labels in one field."""
    first_option: int = 0
    """The first option's number where right options are given by number."""

    def fits(self, columns: Collection[str]) -> bool:
        """Whether a file with these columns can be read with this layout."""
        return all(
            set(_each(column)) <= set(columns)
            for role, column in self.columns.items()
            if role != "title"  # only used where a file has one
        )

    def present_in(self, columns: Collection[str]) -> Layout:
        """The layout with only those roles for which a file has at least one column."""
        there = {
            role: column
            for role, column in self.columns.items()
            if not set(_each(column)).isdisjoint(columns)
        }
        return replace(self, columns=there)

    def values(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """A record's values by role. Where several columns play one role they are options, each
        labelled with the last letter of its column's name; empty ones are left out."""
        chosen: dict[str, Any] = {}
        for role, column in self.columns.items():
            if isinstance(column, tuple):
                there = [name for name in column if record.get(name) not in (None, "")]
                letters = [name[-1].upper() for name in there if name[-1].isalpha()]
                chosen[role] = {"text": [record[name] for name in there], "label": letters}
            else:
                chosen[role] = record.get(column)
        label = chosen.get("label")
        if self.separator and isinstance(label, str):
            parts = (part.strip() for part in label.split(self.separator))
            chosen["label"] = [part for part in parts if part]
        if self.first_option and is_number(str(label)):
            chosen["label"] = int(str(label)) - self.first_option
        return chosen

    def to_json(self) -> dict[str, Any]:
        return {
            "columns": dict(self.columns),
            "separator": self.separator,
            "first_option": self.first_option,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Layout:
        columns = {
            role: tuple(column) if isinstance(column, list) else column
            for role, column in values["columns"].items()
        }
        return cls(columns, values.get("separator"), values.get("first_option", 0))


def _each(column: str | tuple[str, ...]) -> tuple[str, ...]:
    return column if isinstance(column, tuple) else (column,)
