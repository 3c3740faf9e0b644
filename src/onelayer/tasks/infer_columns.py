"""From a file to its task: which columns it has, what they hold, and so what is to be learned.

Names decide first, then contents. Where two columns are as likely, nothing is guessed: the error
says which flag decides. Each task has its own rules; here they are only asked, in order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from onelayer.data.column_rules import Column
from onelayer.data.columns import FileColumns
from onelayer.data.layout import Layout
from onelayer.data.table import Table
from onelayer.tasks import TASKS, AnyTask, task_called

UNSAID = ("id", "start", "impossible", "space_after", "title")
"""Roles that go without saying."""


@dataclass(frozen=True, slots=True)
class InferredColumns:
    """A file's task, its columns, and in words what was decided."""

    kind: type[AnyTask]
    layout: Layout
    remarks: tuple[str, ...]


def infer_columns(
    table: Table,
    *,
    task: str | None,
    asked: Mapping[str, str],
    multi_label: bool | None = None,
    labelled: bool = True,
) -> InferredColumns:
    """Infers the task and columns of a file, as far as the user left them open.

    Raises UsageError for a column that the file doesn't have, and where it would be a guess.
    """
    file = FileColumns(table, asked, multi_label=multi_label, labelled=labelled)
    kind = _recognised(file) if task is None else task_called(task)
    layout = kind.columns.layout(file, _columns(file, kind))
    remarks = (table.note, _in_words(kind, layout), *kind.columns.remarks(file, layout))
    found = InferredColumns(kind, layout, tuple(filter(None, remarks)))
    return _with_facts(found, table) if labelled else found


def _with_facts(found: InferredColumns, table: Table) -> InferredColumns:
    """With what a labelled file tells as a whole, and what is said of that."""
    facts = found.kind.columns.facts(table, found.layout)
    layout = replace(found.layout, facts=facts.values)
    return InferredColumns(found.kind, layout, (*found.remarks, *facts.remarks))


def inferred_like(
    layout: Layout, kind: type[AnyTask], table: Table, multi_label: bool | None = None
) -> InferredColumns:
    """What a labelled file holds that has the columns of another one: the same roles, with labels
    in the form in which this file writes them, and what else this file alone tells."""
    file = FileColumns(table, {}, multi_label=multi_label)
    form = kind.columns.label_form(file, layout.columns).or_else(layout.labels)
    if multi_label is not None:
        form = replace(form, several=multi_label)
    return _with_facts(InferredColumns(kind, replace(layout, labels=form), ()), table)


def _recognised(file: FileColumns) -> type[AnyTask]:
    """The task that a file looks made for. The task that was registered last is asked first, as it
    may be a special case of an earlier one; what none recognises is for the first."""
    default, *others = TASKS.values()
    for kind in reversed(others):
        if file.table.format in kind.columns.formats:
            return kind
    return next((kind for kind in reversed(others) if kind.columns.recognises(file)), default)


def _columns(file: FileColumns, kind: type[AnyTask]) -> dict[str, Column]:
    """The column or columns of every role that the task has."""
    rules = kind.columns
    roles = (*rules.needed, *rules.optional)
    for role in file.asked:
        if role not in roles:
            flags = ", ".join(f"--{role}" for role in roles)
            raise file.error(f"{kind.name} has no use for --{role}", f"it reads {flags}")
        alone = role in ("text", "pair") and role not in rules.joined
        if alone and isinstance(file.asked[role], tuple):
            raise file.error(f"{kind.name} reads one column as --{role}", "name one of them")
    found = {**rules.find(file), **file.asked}
    for role in rules.needed:
        if found.get(role) is None and (role != "label" or file.labelled):
            raise file.unsure(role)
    return {role: column for role, column in found.items() if column is not None}


def _in_words(kind: type[AnyTask], layout: Layout) -> str:
    def said() -> Iterator[str]:
        yield f"task = {kind.name}"
        for role, column in layout.columns.items():
            if role not in UNSAID:
                yield f"{role} = {column if isinstance(column, str) else '+'.join(column)}"
        if layout.labels.separator:
            yield f"several labels parted by {layout.labels.separator!r}"

    return ", ".join(said())
