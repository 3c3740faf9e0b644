"""The columns of choose: options in a list or side by side, and what they are about."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping

from onelayer.data.column_rules import Column, ColumnRules, Found
from onelayer.data.columns import FileColumns, numbers_in
from onelayer.data.layout import Layout
from onelayer.data.values import listed_in

OPTION_NAMES = ("options", "choices", "endings", "candidates", "选项")
RIGHT_NAMES = (
    *("answer", "label", "answerkey", "answer_key", "correct", "correct_answer", "gold"),
    *("答案", "正确答案"),
)

_OPTION = re.compile(r"(?:(option|choice|ending|answer|opt|op|sol|选项)_?)?([0-9a-j])")
_SERIES = ("0123456789", "abcdefghij")


class ChooseColumns(ColumnRules):
    inputs = ("context", "question", "options")
    optional = ("question",)
    formats = ("multiple-choice",)

    def recognises(self, file: FileColumns) -> bool:
        question = file.named("question") or file.known("question")
        context = file.named("context") or file.known("context", without=[question])
        return bool((question or context) and _options(file))

    def find(self, file: FileColumns) -> Found:
        options = _options(file)
        taken = list(options) if isinstance(options, tuple) else [options]
        question = file.named("question") or file.known("question", without=taken)
        context = file.named("context") or file.known("context", [question, *taken])
        if context is None and question:  # a beginning and its endings, or an unknown name
            others = file.running_texts(without=[question, *taken])
            if len(others) > 1:
                raise file.unsure("context", others)
            context, question = (others[0], question) if others else (question, None)
        right = file.first(RIGHT_NAMES, [question, context, *taken])
        return {"question": question, "context": context, "options": options, "label": right}

    def layout(self, file: FileColumns, columns: Mapping[str, Column]) -> Layout:
        return Layout(columns, first_option=_first_option(file, columns))

    def remarks(self, file: FileColumns, layout: Layout) -> Iterator[str]:
        if layout.first_option:
            yield "the right options are counted from 1"


def _options(file: FileColumns) -> Column | None:
    """What the user named, one column of lists, or a series of columns such as A, B, C."""
    if "options" in file.asked:
        return file.asked["options"]
    column = file.first(OPTION_NAMES)
    if file.hold(column, list, dict) or _hold_written_lists(file, column):
        return column
    if file.hold("answers", list) and file.known("label"):  # ReClor's name for options
        return "answers"
    series: dict[str, dict[str, str]] = defaultdict(dict)
    for name, column in file.by_name.items():
        if (match := _OPTION.fullmatch(name)) and (match[1] or match[2].isalpha()):
            series[match[1] or ""][match[2]] = column
    for marks in series.values():
        ordered = "".join(sorted(marks))
        if len(marks) > 1 and any(ordered in run for run in _SERIES):
            return tuple(marks[mark] for mark in ordered)
    return None


def _hold_written_lists(file: FileColumns, column: str | None) -> bool:
    """Whether a csv's values are lists as JSON writes them."""
    return file.hold(column, str) and all(map(listed_in, file.values(column)))


def _first_option(file: FileColumns, columns: Mapping[str, Column]) -> int:
    """1 where right options are numbers that begin at 1 and reach the number of options."""
    label, options = columns.get("label"), columns["options"]
    numbers = numbers_in(file.values(label)) if isinstance(label, str) else set()
    if isinstance(options, tuple):
        most = len(options)
    else:
        listed = (value for value in file.values(options) if isinstance(value, list))
        most = max(map(len, listed), default=0)
    return int(bool(numbers) and min(numbers) >= 1 and max(numbers) == most)
