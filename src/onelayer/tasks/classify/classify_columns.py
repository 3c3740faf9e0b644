"""The columns of classify: a text or a pair, and a label or several in one field."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from onelayer.base.errors import DataError
from onelayer.base.wording import listed
from onelayer.data.column_rules import Column, Found
from onelayer.data.columns import FileColumns, numbers_in
from onelayer.data.label_form import LabelForm, are_flags, are_shares, list_in, separated
from onelayer.data.layout import Layout, flagged_columns
from onelayer.tasks.text_columns import TextColumns

SEPARATORS = (",", ";", "|", "#", "，", "、", " ")
"""What separates labels in one field; doccano writes ``#``."""
SURE_MARKS = (";", "|")
"""Separators that are seldom part of a name."""
NAMES = ("text", "name", "names", "str")
"""What the name of a column ends in that names the numbers of another: ``label_text``."""


class ClassifyColumns(TextColumns):
    def find(self, file: FileColumns) -> Found:
        found = super().find(file)
        if not file.asked.get("label") and (names := _names_of(file, found["label"])):
            found["label"] = names
        return found

    def label_form(self, file: FileColumns, columns: Mapping[str, Column]) -> LabelForm:
        label = columns.get("label")
        if label is None:
            return LabelForm(several=file.multi_label)
        if isinstance(label, tuple):
            return _counted(file, LabelForm(), list(_rows_of_flags(file, label)))
        form = _form(file, label)
        return _counted(file, form, [form.read(value) for value in file.values(label)])

    def remarks(self, file: FileColumns, layout: Layout) -> Iterator[str]:
        label, form = layout.columns.get("label"), layout.labels
        if isinstance(label, tuple):
            each = "several labels a row" if form.several else "one label a row"
            yield f"{len(label)} columns say with 1 or 0 whether a row has their label: {each}"
            return
        values = file.values(label)
        numbers, _, ending = str(label).rpartition("_")
        if ending.lower() in NAMES and _names_of(file, numbers) == label:
            yield f"{label} has the names of the numbers in {numbers}"
        if form.flags:
            yield (
                f"{label} says with 1 or 0 which of {len(form.names)} labels a row has; they are "
                f"called {form.names[0]} to {form.names[-1]}, by their position"
            )
        elif form.names:
            yield f"the numbers in {label} stand for {listed(form.names)}"
        elif len(numbers_in(values)) > 2:
            yield f"the numbers in {label} are taken as names; --task regress measures them"
        if form.several is False and file.multi_label is None:
            yield from _whole_names(label, values)
        if form.several is False and file.multi_label is None and any(map(_is_list, values)):
            yield f"each list in {label} has one label; --multi-label learns several a row"


def _names_of(file: FileColumns, label: Column | None) -> str | None:
    """The column that names each number of a label, as SetFit's data sets have it."""
    if not isinstance(label, str):
        return None
    for column in (f"{label}_{ending}" for ending in NAMES):
        pairs = {(str(row.get(label)), str(row.get(column))) for row in file.sample}
        numbers, names = ([*{pair[side] for pair in pairs}] for side in (0, 1))
        one_to_one = len(numbers) == len(names) == len(pairs) > 1
        if column in file.names and one_to_one and numbers_in(numbers) and not numbers_in(names):
            return column
    return None


def _whole_names(label: str | None, values: Sequence[Any]) -> Iterator[str]:
    """A remark on names that look like several labels, without being sure enough."""
    for mark in SURE_MARKS:
        joined = [value for value in values if isinstance(value, str) and mark in value.strip(mark)]
        if joined:
            yield f"{joined[0]!r} in {label} is one label; --multi-label separates it at {mark!r}"
            return


def _form(file: FileColumns, label: str) -> LabelForm:
    """How the labels of a column are written. Raises UsageError for soft labels."""
    values, names = file.values(label), file.table.class_names.get(label, ())
    written = bool(values) and all(
        isinstance(value, str) and list_in(value) is not None for value in values
    )
    lists = [LabelForm(written=written).read(value) for value in values]
    soft = [value for value in lists if are_shares(value)]
    if soft and all(are_shares(value) or are_flags(value) for value in lists):
        raise file.error(
            f"{label!r} holds soft labels, a share for each class: {soft[0]!r:.60}",
            "write the name of the likeliest class",
        )
    # As names, 0 and 1 in lists of one length would say that every row has every label.
    lengths = {len(value) for value in lists if isinstance(value, (list, tuple))}
    n = max(lengths, default=0)
    if not names and len(lengths) == 1 and n > 1 and all(map(are_flags, lists)):
        return LabelForm(written=written, flags=True, names=tuple(map(str, range(n))))
    if not written and (hot := _separated_flags(values)):
        return hot
    separator = None if written else _separator(file, values)
    return LabelForm(separator=separator, written=written, names=names)


def _separated_flags(values: Sequence[Any]) -> LabelForm | None:
    """The form of fields such as ``1,0,1``; None for others."""
    texts = [value if isinstance(value, str) else "" for value in values]
    for mark in SEPARATORS:
        split = [separated(text, mark) for text in texts]
        n = len(split[0]) if split else 0
        if n > 1 and all(len(parts) == n and set(parts) <= {"0", "1"} for parts in split):
            return LabelForm(separator=mark, flags=True, names=tuple(map(str, range(n))))
    return None


def _rows_of_flags(file: FileColumns, columns: tuple[str, ...]) -> Iterator[list[str]]:
    """The labels of the first rows; rows with anything but zeros and ones are left out."""
    for row in file.sample:
        with suppress(DataError):
            yield flagged_columns(columns, row)


def _counted(file: FileColumns, form: LabelForm, rows: Sequence[Any]) -> LabelForm:
    """The form, with whether rows have several labels: what the user says, else whether some of
    the lists have none or several."""
    if file.multi_label is not None:
        return replace(form, several=file.multi_label)
    return replace(form, several=any(isinstance(row, list) and len(row) != 1 for row in rows))


def _is_list(value: Any) -> bool:
    return isinstance(value, list) or (isinstance(value, str) and list_in(value) is not None)


def _separator(file: FileColumns, values: list[Any]) -> str | None:
    """What separates several labels in one field; None where a field is one label."""
    if file.multi_label is False:
        return None
    texts = [value for value in values if isinstance(value, str)]
    return _mark(texts, sure=bool(file.multi_label))


def _mark(values: list[str], *, sure: bool) -> str | None:
    """A mark whose parts are labels by themselves elsewhere, so that a class called "Yes, always"
    stays whole; where it is sure that there are several labels, the first mark that occurs."""
    for mark in SEPARATORS:
        split = [separated(value, mark) for value in values]
        joined = [parts for parts in split if len(parts) > 1]
        rows = defaultdict[str, int](int)
        for part in (part for parts in split for part in parts):
            rows[part] += 1
        alone = {parts[0] for parts in split if len(parts) == 1}
        inside = {part for parts in joined for part in parts}
        common = sum(part in alone or rows[part] > 1 for part in inside)
        fewer = len(rows) < len(set(values))
        if mark == " ":  # also between the words of a name: each word must be a label elsewhere
            if joined and fewer and inside <= alone and len({*map(tuple, joined)}) > 1:
                return mark
        elif joined and (sure or (common >= 0.9 * len(inside) and fewer)):
            return mark
    return None
