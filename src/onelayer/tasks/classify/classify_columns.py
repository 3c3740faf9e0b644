"""The columns of classify: a text or a pair, and a label or several in one field."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from onelayer.data.column_rules import Column
from onelayer.data.columns import FileColumns, numbers_in
from onelayer.data.layout import Layout
from onelayer.tasks.text_columns import TextColumns

SEPARATORS = (",", ";", "|", "，", "、")


class ClassifyColumns(TextColumns):
    def layout(self, file: FileColumns, columns: Mapping[str, Column]) -> Layout:
        label = columns.get("label")
        if not isinstance(label, str) or file.multi_label is False:
            return Layout(columns)
        return Layout(columns, _separator(file, label))

    def remarks(self, file: FileColumns, layout: Layout) -> Iterator[str]:
        label = layout.columns.get("label")
        values = file.values(label) if isinstance(label, str) else []
        if len(numbers_in(values)) > 2:
            yield f"the numbers in {label} are taken as names; --task regress measures them"


def _separator(file: FileColumns, label: str) -> str | None:
    """What parts several labels in one field. Raises UsageError for lists written as text."""
    values = file.values(label)
    if values and all(re.fullmatch(r"\[.*\]", str(value)) for value in values):
        if file.hold(label, list):
            return None
        raise file.error(
            f"{label!r} holds lists written as text: {values[0]:.40}",
            "write the labels as a;b, or save the file as jsonl or parquet",
        )
    return _mark([value for value in values if isinstance(value, str)], sure=bool(file.multi_label))


def _mark(values: list[str], *, sure: bool) -> str | None:
    """A mark whose parts are labels by themselves elsewhere, so that a class called "Yes, always"
    stays whole; where it is sure that there are several labels, the first mark that occurs."""
    for mark in SEPARATORS:
        split = [[part.strip() for part in value.split(mark)] for value in values]
        joined = [parts for parts in split if len(parts) > 1]
        rows = defaultdict[str, int](int)
        for part in (part for parts in split for part in parts):
            rows[part] += 1
        alone = {parts[0] for parts in split if len(parts) == 1}
        inside = {part for parts in joined for part in parts}
        common = sum(part in alone or rows[part] > 1 for part in inside)
        fewer = len(rows) < len(set(values))
        if joined and (sure or (common >= 0.9 * len(inside) and fewer)):
            return mark
    return None
