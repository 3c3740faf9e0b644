"""A task's rules for columns: which roles it reads, and how it finds their columns in a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from onelayer.data.columns import FileColumns
from onelayer.data.label_form import LabelForm
from onelayer.data.layout import Layout
from onelayer.data.table import Table

Column = str | tuple[str, ...]
"""A column, or several that play one role together."""
Found = dict[str, Column | None]
"""Column by role, None where there is none."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the contents of one file tell of how its rows are read."""

    values: Any = None
    """What the task's rows are made with, in JSON; it stands under ``facts`` in their values."""
    remarks: tuple[str, ...] = ()


class ColumnRules:
    """The roles of a task, and the rules by which it finds their columns in a file.

    By default a role's column is the one that the user names, else the one with the role's own
    name. A task with other rules subclasses this.
    """

    inputs: tuple[str, ...] = ("text",)
    """The roles that the model reads, in the order of a row that Python gives as a tuple."""
    optional: tuple[str, ...] = ()
    """The inputs that a file may lack."""
    joined: tuple[str, ...] = ()
    """The inputs that may be several columns, joined to one text."""
    formats: tuple[str, ...] = ()
    """File formats that only hold rows of this task; see ``Table.format``."""

    @property
    def needed(self) -> tuple[str, ...]:
        """The roles without which a labelled file can't be read."""
        return (*(role for role in self.inputs if role not in self.optional), "label")

    def recognises(self, file: FileColumns) -> bool:
        """Whether a file looks made for this task. Raises UsageError where two tasks are equally
        likely."""
        return False

    def find(self, file: FileColumns) -> Found:
        """The column of each role. Raises UsageError where two columns are equally likely."""
        roles = dict.fromkeys((*self.inputs, "label"))
        return {role: file.named(role) or file.first([role]) for role in roles}

    def layout(self, file: FileColumns, columns: Mapping[str, Column]) -> Layout:
        """The columns, and how to read them, which their contents tell."""
        return Layout(columns, self.label_form(file, columns))

    def label_form(self, file: FileColumns, columns: Mapping[str, Column]) -> LabelForm:
        """How the labels in these columns are written. Raises UsageError for a form of labels that
        the task can't learn."""
        return LabelForm()

    def facts(self, table: Table, layout: Layout) -> Facts:
        """What a labelled file tells as a whole, such as how it counts offsets. Each file is asked
        for its own, also where its columns are those of another."""
        return Facts()

    def remarks(self, file: FileColumns, layout: Layout) -> Iterable[str]:
        """What the user should be told about the decisions."""
        return ()

    def default_layout(self) -> Layout:
        """Each role under its own name, for a model whose training file is unknown."""
        return Layout({role: role for role in self.inputs if role != "pair"})
