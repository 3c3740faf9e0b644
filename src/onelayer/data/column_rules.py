"""What a task says of its columns: which roles it reads, and how a file's columns get them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onelayer.data.columns import FileColumns
from onelayer.data.layout import Layout

Column = str | tuple[str, ...]
"""A column, or several that play one role together."""
Found = dict[str, Column | None]
"""Column by role, None where there is none."""


class ColumnRules:
    """The roles of a task, and the rules by which it finds their columns in a file.

    A task with other rules subclasses this. As it stands a role's column is the one that the user
    names, or the one that is called as the role is.
    """

    inputs: tuple[str, ...] = ("text",)
    """The roles that the model reads, in the order of a row that Python gives as a tuple."""
    optional: tuple[str, ...] = ()
    """Those of them that a file may lack."""
    formats: tuple[str, ...] = ()
    """File formats that can hold no other task; see ``Table.format``."""

    @property
    def needed(self) -> tuple[str, ...]:
        """The roles without which a labelled file can't be read."""
        return (*(role for role in self.inputs if role not in self.optional), "label")

    def recognises(self, file: FileColumns) -> bool:
        """Whether a file looks as if it was made for this task. Raises UsageError where it might
        be one of two tasks."""
        return False

    def find(self, file: FileColumns) -> Found:
        """The column of each role. Raises UsageError where two are as likely."""
        roles = dict.fromkeys((*self.inputs, "label"))
        return {role: file.named(role) or file.first([role]) for role in roles}

    def layout(self, file: FileColumns, columns: Mapping[str, Column]) -> Layout:
        """The columns with what their contents say of how to read them."""
        return Layout(columns)

    def remarks(self, file: FileColumns, layout: Layout) -> Iterable[str]:
        """What else the user should know of what was decided."""
        return ()

    def default_layout(self) -> Layout:
        """Each role under its own name: for a model whose training file is unknown."""
        return Layout({role: role for role in self.inputs if role != "pair"})
