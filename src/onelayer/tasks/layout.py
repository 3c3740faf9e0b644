"""From a file to its task: which columns it has, what they hold, and so what is to be learned."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from onelayer.errors import DataError, Place, UsageError
from onelayer.tasks.base import Layout
from onelayer.text.table import Table

SAMPLE = 1000
"""Rows that are looked at before anything is decided."""

KNOWN: dict[str, tuple[str, ...]] = {
    "text": (
        *("text", "sentence", "sentence1", "premise", "question1", "#1 string", "text_a", "text1"),
        *("review", "comment", "message", "content", "tweet", "body", "document", "headline"),
        *("title", "query", "utterance", "文本", "内容", "句子", "评论", "标题", "句子1", "文本1"),
    ),
    "pair": (
        *("pair", "sentence2", "hypothesis", "question2", "#2 string", "text_b", "text2"),
        *("response", "reply", "句子2", "文本2"),
    ),
    "label": (
        *("label", "gold_label", "labels", "class", "category", "target", "sentiment", "score"),
        *("similarity", "similarity_score", "rating", "stars", "quality", "is_duplicate", "intent"),
        *("emotion", "emotions", "topic", "标签", "类别", "分类", "情感", "分数", "得分"),
    ),
    "tokens": ("tokens", "words", "word", "sentence_words"),
    "tags": ("tags", "ner_tags", "ner", "pos_tags", "upos", "labels", "label"),
    "spans": ("entities", "spans", "ents", "label", "labels", "annotations"),
    "question": ("question", "query", "问题"),
    "context": ("context", "passage", "paragraph", "article", "story", "premise", "text", "文章"),
    "answers": ("answers", "answer", "label", "答案"),
    "options": ("options", "choices", "choice", "endings", "candidates", "选项"),
}
OPTION_SERIES = (("a", "b"), ("option1", "option2"), ("option_1", "option_2"),
                 ("option0", "option1"), ("choice1", "choice2"), ("ending0", "ending1"),
                 ("option_a", "option_b"), ("optiona", "optionb"))  # fmt: skip
SEPARATORS = (",", ";", "|", "，", "、")
RATED = 20
"""Whole numbers of more distinct values than this are measured, not named."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen in a file: its task, its columns, and in words what was decided."""

    task: str
    layout: Layout
    remarks: tuple[str, ...]


def see(
    table: Table,
    *,
    task: str | None,
    asked: Mapping[str, str],
    multi_label: bool | None = None,
    labelled: bool = True,
) -> Seen:
    """Infers the task and columns of a file, as far as the user left them open.

    Raises UsageError for a column that the file doesn't have, and where nothing fits.
    """
    for name in asked.values():
        for part in name.split(","):
            require(table, part.strip())
    sample = [record.values for record in islice(table, SAMPLE)]
    if not sample:
        raise DataError("no rows", place=Place(table.path))
    columns = _Columns(table, sample, asked)
    task = task or columns.task()
    layout = columns.layout(task, labelled, multi_label)
    said = ", ".join(
        f"{role} = {name if isinstance(name, str) else '+'.join(name)}"
        for role, name in layout.columns.items()
        if role not in ("id", "space_after")
    )
    if layout.separator:
        said += f", several labels parted by {layout.separator!r}"
    remarks = [table.note] if table.note else []
    return Seen(task, layout, (*remarks, f"task = {task}, {said}"))


def require(table: Table, name: str) -> None:
    """Raises UsageError, with the nearest name, where the table has no such column."""
    if name in table.columns:
        return
    near = difflib.get_close_matches(name, table.columns, n=1, cutoff=0.4)
    listed = ", ".join(table.columns[:12])
    raise UsageError(
        f"no column {name!r}",
        place=Place(table.path),
        hint=f"did you mean {near[0]!r}? columns: {listed}" if near else f"columns: {listed}",
    )


class _Columns:
    """The columns of one file, by what they are called and what they hold."""

    def __init__(
        self, table: Table, sample: Sequence[Mapping[str, Any]], asked: Mapping[str, str]
    ) -> None:
        self.table = table
        self.sample = sample
        self.asked = asked
        self.by_lower = {name.strip().lower(): name for name in reversed(table.columns)}

    def known(self, *kinds: str, without: Iterable[str | None] = ()) -> str | None:
        """The column with the best known name of the given kinds."""
        names = (name for kind in kinds for name in KNOWN[kind])
        taken = set(without)
        return next(
            (
                self.by_lower[n]
                for n in names
                if n in self.by_lower and self.by_lower[n] not in taken
            ),
            None,
        )

    def values(self, column: str) -> list[Any]:
        present = (row.get(column) for row in self.sample)
        return [value for value in present if value is not None and value != ""]

    def holds(self, column: str | None, *types: type) -> bool:
        """Whether every value that is there is of one of the types, and there is one."""
        if column is None:
            return False
        values = self.values(column)
        return bool(values) and all(isinstance(value, types) for value in values)

    def task(self) -> str:
        """What this file is for."""
        fixed = {"squad": "answer", "multiple-choice": "choose", "conll": "tag", "conllu": "tag"}
        if self.table.format in fixed:
            return fixed[self.table.format]
        question, context = self.known("question"), self.known("context")
        if self.options() and (question or context):
            return "choose"
        if "options" in self.asked:
            return "choose"
        if question and context and question != context and self.known("answers"):
            return "answer"
        if self.holds(self.known("tokens"), list):
            return "tag"
        spans = self.known("spans")
        if self.holds(spans, list, dict) and self._are_spans(spans):
            return "tag"
        label = self.asked.get("label") or self.label_column()
        return "regress" if label and self.measured(label) else "classify"

    def _are_spans(self, column: str | None) -> bool:
        items = (item for value in self.values(column or "") for item in list(value)[:1])
        first = next(items, None)
        return first is not None and (
            isinstance(first, (dict, list)) or isinstance(self.values(column or "")[0], dict)
        )

    def measured(self, column: str) -> bool:
        """Whether the labels are measurements rather than names."""
        values = self.values(column)
        if any(isinstance(value, (bool, list, dict)) for value in values):
            return False
        try:
            numbers = [float(value) for value in values]
        except ValueError:
            return False
        whole = all(number.is_integer() for number in numbers)
        return len(set(numbers)) > (RATED if whole else 2) or not whole

    def layout(self, task: str, labelled: bool, multi_label: bool | None) -> Layout:
        make = {"tag": self._tag, "answer": self._answer, "choose": self._choose}
        columns = make.get(task, self._texts)()
        columns = {role: name for role, name in columns.items() if name is not None}
        for role, name in self.asked.items():
            parts = tuple(part.strip() for part in name.split(","))
            columns[role] = parts if role == "options" and len(parts) > 1 else name
        for role in {"answer": ("question", "context"), "choose": ("context", "options")}.get(
            task, ("text",)
        ):
            if role not in columns:
                self._missing(task, role)
        if labelled and "label" not in columns:
            self._missing(task, "label")
        separator = None
        label = columns.get("label")
        if task == "classify" and isinstance(label, str) and multi_label is not False:
            separator = self.separator(label, sure=bool(multi_label))
        return Layout(columns, separator)

    def _missing(self, task: str, role: str) -> None:
        listed = ", ".join(self.table.columns[:12])
        raise UsageError(
            f"can't see which column is the {role} ({task})",
            place=Place(self.table.path),
            hint=f"say so with --{role} NAME; columns: {listed}",
        )

    def _texts(self) -> dict[str, Any]:
        label = self.asked.get("label") or self.label_column()
        text = self.asked.get("text") or self.known("text", without=[label])
        pair = self.asked.get("pair") or self.known("pair", without=[label, text])
        if text is None:
            long = self.long_columns(without=[label])
            text = long[0] if long else None
            pair = pair or (long[1] if len(long) > 1 else None)
        return {"text": text, "pair": pair, "label": label}

    def _tag(self) -> dict[str, Any]:
        tokens = self.known("tokens")
        if self.holds(tokens, list):
            space_after = "space_after" if "space_after" in self.table.columns else None
            tags = self.known("tags", without=[tokens])
            return {"text": tokens, "label": tags, "space_after": space_after}
        text = self.known("text") or next(iter(self.long_columns()), None)
        return {"text": text, "label": self.known("spans", without=[text])}

    def _answer(self) -> dict[str, Any]:
        question = self.known("question")
        return {
            "id": "id" if "id" in self.table.columns else None,
            "question": question,
            "context": self.known("context", without=[question]),
            "label": self.known("answers"),
        }

    def _choose(self) -> dict[str, Any]:
        question, options = self.known("question"), self.options()
        taken = [question, *(options if isinstance(options, tuple) else (options,))]
        context = self.known("context", without=taken)
        if context is None:  # SWAG and COPA: a beginning and its endings
            context, question = question, None
        return {
            "question": question,
            "context": context,
            "options": options,
            "label": self.known("answers", without=taken),
        }

    def options(self) -> str | tuple[str, ...] | None:
        """One column of lists, or a series of columns such as A, B, C."""
        column = self.known("options")
        if self.holds(column, list):
            return column
        for first, second in OPTION_SERIES:
            if first in self.by_lower and second in self.by_lower:
                stem, start = first[:-1], ord(first[-1])
                names = (f"{stem}{chr(start + i)}" for i in range(10))
                return tuple(self.by_lower[name] for name in names if name in self.by_lower)
        return None

    def label_column(self) -> str | None:
        """By name; else the column of fewest distinct values that repeat and leave no gaps."""
        named = self.known("label")
        if named:
            return named
        texts = {self.known("text"), self.known("pair")}
        candidates = []
        for column in self.table.columns:
            values = self.values(column)
            if column in texts or len(values) < len(self.sample):
                continue
            distinct = len({str(value) for value in values})
            if 1 < distinct <= max(2, len(values) // 2) or self.measured_by_name(column):
                candidates.append((distinct, column))
        return min(candidates, default=(0, None))[1]

    def measured_by_name(self, column: str) -> bool:
        """Numbers with decimals, in a file whose header tells nothing."""
        values = self.values(column)
        try:
            return any(not float(value).is_integer() for value in values)
        except (TypeError, ValueError):
            return False

    def long_columns(self, without: Iterable[str | None] = ()) -> list[str]:
        """Columns of running text in the file's order: those at least a third as long on average
        as the longest, of mostly distinct values."""
        taken = set(without)
        mean: dict[str, float] = {}
        for column in self.table.columns:
            values = self.values(column)
            if column in taken or not values or not self.holds(column, str):
                continue
            if len(set(values)) > len(values) / 4:
                mean[column] = sum(map(len, values)) / len(values)
        longest = max(mean.values(), default=0.0)
        long = [column for column, length in mean.items() if length >= max(longest / 3, 4)]
        best = sorted(long, key=lambda column: -mean[column])[:2]
        return [column for column in long if column in best]

    def separator(self, column: str, *, sure: bool) -> str | None:
        """What parts several labels in one field: a mark whose parts are labels by themselves
        elsewhere, so that a class called "Yes, always" stays whole."""
        values = [value for value in self.values(column) if isinstance(value, str)]
        for mark in SEPARATORS:
            joined = [value for value in values if mark in value]
            parts = Counter(part.strip() for value in values for part in value.split(mark))
            alone = {value.strip() for value in values if mark not in value}
            inside = {part.strip() for value in joined for part in value.split(mark)}
            common = sum(part in alone or parts[part] > 1 for part in inside)
            whole = len(set(values))
            if joined and (sure or (common >= 0.9 * len(inside) and len(parts) < whole)):
                return mark
        return None
