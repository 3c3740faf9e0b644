"""The columns of a file: their names, their contents, and which of them the user named."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from onelayer.base.errors import DataError, Place, UsageError
from onelayer.data.table import Table
from onelayer.recipe import ROLES

ROWS_SEEN = 1000
"""Rows that column inference looks at."""
COLUMNS_LISTED = 12
"""Columns that an error message lists, at most."""

# In lower case, with ``_`` for spaces and hyphens. The first name that a file has is taken.
KNOWN: dict[str, tuple[str, ...]] = {
    "text": (
        *("text", "sentence", "review", "comment", "tweet", "message", "content", "body"),
        *("document", "utterance", "post", "文本", "内容", "句子", "评论", "正文"),
    ),
    "title": ("headline", "title", "query", "question", "标题", "问题"),
    "label": ("label", "gold_label", "labels", "target", "标签"),
    "question": ("question", "query", "question_stem", "sent2", "问题"),
    "context": (
        *("context", "passage", "paragraph", "article", "story", "dialogue", "premise", "ctx"),
        *("sent1", "text", "document", "sentence", "goal", "scenario", "situation"),
        *("文章", "上下文", "段落", "情景", "场景", "背景", "对话"),
    ),
}
"""Common column names, by what the column holds. A task knows its other names itself."""
SUGGESTION = "suggestion"
"""The column of labels that a model suggests, in files with rows to label."""
ASIDE = {
    SUGGESTION,
    *("id", "ids", "idx", "index", "unnamed:", "date", "time", "timestamp", "year", "split"),
    *("lang", "language", "source", "url", "user", "author", "count", "confidence"),
    *("序号", "编号", "日期"),
}
"""Words that mark a column as a description of the row, which is neither text nor label."""

_SEVERAL_WORDS = re.compile(r"\w[^\w\s]*\s\W*\w|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{4}")
_NUMBERED = re.compile(r"column\d+")


def normal_name(name: str) -> str:
    """A column's name as ``KNOWN`` writes it."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def numbers_in(values: Sequence[Any]) -> set[float]:
    """The distinct numbers among values; empty if more than a tenth aren't numbers."""
    numbers = [number for value in values if (number := _number(value)) is not None]
    return set(numbers) if len(numbers) >= 0.9 * len(values) else set()


def _number(value: Any) -> float | None:
    if isinstance(value, (bool, list, dict, bytes)):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


class FileColumns:
    """The columns of one file, judged by its first rows.

    Parameters
    ----------
    table
        The file.
    asked
        The columns that the user named, by role.
    multi_label
        Whether a field holds several labels; None if the user didn't say.
    labelled
        Whether the rows must have a label.

    Raises
    ------
    UsageError
        For a named column that the file doesn't have.
    DataError
        For a file without rows.
    """

    def __init__(
        self,
        table: Table,
        asked: Mapping[str, str],
        *,
        multi_label: bool | None = None,
        labelled: bool = True,
    ) -> None:
        self.table = table
        self.multi_label = multi_label
        self.labelled = labelled
        self.asked = {role: _parts(table, role, name) for role, name in asked.items()}
        for columns in self.asked.values():
            for name in (columns,) if isinstance(columns, str) else columns:
                _require(table, name)
        usable = (row for row in table if not (row.left_out or (labelled and row.void)))
        self.sample: list[Mapping[str, Any]] = [row.values for row in islice(usable, ROWS_SEEN)]
        if not self.sample:
            void = next((row.void for row in table if row.void), None)
            message = f"no rows to learn from: all are {void}" if void else "no rows"
            raise DataError(message, place=Place(table.path), hint="is it the right file?")
        self.names = table.columns
        self.by_name = {normal_name(name): name for name in reversed(table.columns)}
        self.nameless = all(map(_NUMBERED.fullmatch, table.columns))

    # Names -----------------------------------------------------------------------------------

    def named(self, role: str) -> str | None:
        """The one column that the user named for a role."""
        column = self.asked.get(role)
        return column if isinstance(column, str) else None

    def called(self, *names: str, without: Collection[str | None] = ()) -> list[str]:
        """The columns that have one of these names, in the order of the names."""
        found = (self.by_name.get(name) for name in names)
        return [column for column in found if column and column not in without]

    def first(self, names: Iterable[str], without: Collection[str | None] = ()) -> str | None:
        """The column that has the first of these names."""
        return next(iter(self.called(*names, without=without)), None)

    def known(self, role: str, without: Collection[str | None] = ()) -> str | None:
        """The column with the best of the common names for a role."""
        return self.first(KNOWN[role], without)

    def words_of(self, column: str) -> set[str]:
        """The words of a column's name; none if one of them is in ``ASIDE``."""
        words = set(normal_name(column).split("_"))
        return set() if words & ASIDE else words

    # Contents --------------------------------------------------------------------------------

    def values(self, column: str | None) -> list[Any]:
        """The column's values in the first rows, without None, NaN and empty texts."""
        present = (row.get(column) for row in self.sample) if column else ()
        return [value for value in present if value not in (None, "") and value == value]

    def hold(self, column: str | None, *types: type) -> bool:
        """Whether the column has values, all of them of one of the types."""
        values = self.values(column)
        return bool(values) and all(isinstance(value, types) for value in values)

    def hold_texts(self, column: str | None) -> bool:
        """Whether most of the column's values are texts: a number among them is a text, too, and a
        list or object is its row's error."""
        values = self.values(column)
        return sum(isinstance(value, str) for value in values) > len(values) / 2

    def running_texts(self, without: Collection[str | None] = ()) -> list[str]:
        """The columns of running text: most values are distinct and have several words, and their
        mean length is at least a third of the longest such column's."""
        mean: dict[str, float] = {}
        for column in self.names:
            if column in without or not self.hold_texts(column):
                continue
            values = [value for value in self.values(column) if isinstance(value, str)]
            several = sum(bool(_SEVERAL_WORDS.search(value)) for value in values)
            if len(set(values)) > len(values) / 4 and several > len(values) / 2:
                mean[column] = sum(map(len, values)) / len(values)
        longest = max(mean.values(), default=0.0)
        return [column for column, length in mean.items() if length >= longest / 3]

    def the_text(self, running: Sequence[str]) -> str | None:
        """The only column of running text, or the only one with a name such as ``review_text``.
        Raises UsageError where two are equally likely."""
        if len(running) < 2:
            return next(iter(running), None)
        for word in ("text", "body", "content", "sentence"):
            named = [column for column in running if word in self.words_of(column)]
            if len(named) == 1:
                return named[0]
        raise self.unsure("text", running)

    # Errors ----------------------------------------------------------------------------------

    def unsure(self, role: str, between: Iterable[str] = ()) -> UsageError:
        """The error for a role with no or several likely columns; names the flag to use."""
        names = list(between)
        say_so = f"say so with --{role} NAME" if role in ROLES else f"call it {role}"
        hint = f"{say_so}; {_listed(self.table)}"
        if role == "text" and names:
            a, b = names[0], names[-1]
            hint = f"say so with --text {a}, --text {a},{b} to join them, or --text {a} --pair {b}"
        if binary := [column for column in self.names if self.hold(column, bytes)]:
            hint = f"{binary[0]} is binary: write it as strings; {hint}"
        either = f": {' or '.join(names[:6])}" if names else ""
        return self.error(f"can't tell which column is the {role}{either}", hint)

    def error(self, message: str, hint: str) -> UsageError:
        return UsageError(message, place=Place(self.table.path), hint=hint)


def _parts(table: Table, role: str, name: str) -> str | tuple[str, ...]:
    """A role's column as the user wrote it; texts, options and labels may be several columns, with
    commas."""
    if role not in ("text", "pair", "options", "label") or name in table.columns or "," not in name:
        return name
    return tuple(part.strip() for part in name.split(","))


def _require(table: Table, name: str) -> None:
    """Raises UsageError if the table has no such column, and suggests the nearest name."""
    if name in table.columns:
        return
    by_lower = {column.lower(): column for column in table.columns}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.4)
    meant = f"did you mean {by_lower[near[0]]!r}? " if near else ""
    raise UsageError(f"no column {name!r}", place=Place(table.path), hint=meant + _listed(table))


def _listed(table: Table) -> str:
    if table.note and table.columns[0] in table.note:
        return table.note
    more = ", …" if len(table.columns) > COLUMNS_LISTED else ""
    return "columns: " + ", ".join(table.columns[:COLUMNS_LISTED]) + more
