"""The columns of choose: options in a list or side by side, and what they are about."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from onelayer.base.errors import DataError, Place
from onelayer.data.column_rules import Column, ColumnRules, Found
from onelayer.data.columns import FileColumns
from onelayer.data.layout import Layout
from onelayer.data.row_kind import LeftOutError
from onelayer.data.written import written_value
from onelayer.tasks.choose.offered_options import (
    Numbering,
    Offered,
    numbering_of,
    offered_in,
    right_option,
)

OPTION_NAMES = (
    *("options", "choices", "endings", "candidates", "answer_choices", "alternatives", "choice"),
    "选项",
)
RIGHT_NAMES = (
    *("answer", "label", "answerkey", "answer_key", "correct", "correct_answer", "gold"),
    *("answer_idx", "answer_index", "correct_option", "correct_choice", "right_answer"),
    *("gold_label", "cop", "答案", "正确答案"),
)

_PREFIXES = "option|choice|ending|answer|opt|op|sol|solution|candidate|alternative|hyp|选项"
_OPTION = re.compile(rf"(?:({_PREFIXES})[_.]?)?([0-9]{{1,2}}|[a-j])")
_LETTERS = "abcdefghij"


class ChooseColumns(ColumnRules):
    inputs = ("context", "question", "options")
    optional = ("question",)
    formats = ("multiple-choice",)

    def recognises(self, file: FileColumns) -> bool:
        """Options side by side or in a list, and a question or context of a known name, or answers
        that name one of the options. Raises UsageError where they name none."""
        options = _options(file)
        if not options:
            return False
        question = file.named("question") or file.known("question")
        context = file.named("context") or file.known("context", without=[question])
        known = bool(question or context)
        right = file.named("label") or file.first(RIGHT_NAMES, _each(options))
        named = _share_named(file, options, right) if right and file.labelled else None
        if named is None or isinstance(options, str):
            return known
        if known and named <= 0.5 and "options" not in file.asked:
            names = "+".join(options)
            raise file.error(
                f"can't tell the task: {names} look like options, but {right} names few of them",
                "say so with --task choose or --task classify",
            )
        return known or named > 0.9

    def find(self, file: FileColumns) -> Found:
        options = _options(file)
        taken = _each(options)
        question = file.named("question") or file.known("question", without=taken)
        context = file.named("context") or file.known("context", [question, *taken])
        right = file.first(RIGHT_NAMES, [question, context, *taken])
        if context is None:  # a beginning and its endings, or an unknown name
            used = [question, file.named("label") or right, *taken]
            others = file.running_texts(without=used) or ([] if question else _texts(file, used))
            if len(others) > 1:
                raise file.unsure("context", others)
            context, question = (others[0], question) if others else (question, None)
        return {"question": question, "context": context, "options": options, "label": right}

    def layout(self, file: FileColumns, columns: Mapping[str, Column]) -> Layout:
        return Layout(columns, first_option=_numbering(file, columns).first)

    def remarks(self, file: FileColumns, layout: Layout) -> Iterator[str]:
        if isinstance(layout.first_option, int):
            yield f"the right options are counted from {layout.first_option}"
        elif _numbering(file, layout.columns).unclear:
            yield "answers are read as the options' texts, though they could be positions, too"


def _options(file: FileColumns) -> Column | None:
    """What the user named, one column of lists, or a series of columns such as A, B, C."""
    if "options" in file.asked:
        return file.asked["options"]
    column = file.first(OPTION_NAMES)
    if file.hold(column, list, dict) or _hold_written_lists(file, column):
        return column
    if file.hold("answers", list) and file.known("label"):  # ReClor's name for options
        return "answers"
    series: dict[str, dict[int, str]] = defaultdict(dict)
    for name, column in file.by_name.items():
        if (match := _OPTION.fullmatch(name)) and (match[1] or match[2].isalpha()):
            prefix, mark = match[1] or "", match[2]
            if mark.isalpha():
                series[prefix + "a"][_LETTERS.index(mark)] = column
            else:
                series[prefix][int(mark)] = column
    for numbered in series.values():
        marks = sorted(numbered)
        if len(marks) > 1 and marks[-1] - marks[0] == len(marks) - 1:
            return tuple(numbered[mark] for mark in marks)
    return None


def _hold_written_lists(file: FileColumns, column: str | None) -> bool:
    """Whether a csv's values are lists or objects as JSON or Python write them."""
    return file.hold(column, str) and all(
        written_value(value) is not None for value in file.values(column)
    )


def _texts(file: FileColumns, used: Collection[str | None]) -> list[str]:
    """The other columns of texts, however short, that don't describe the row."""
    others = (name for name in file.names if name not in used and file.words_of(name))
    return [name for name in others if file.hold(name, str)]


def _each(options: Column | None) -> list[str]:
    return [options] if isinstance(options, str) else list(options or ())


def _rows(
    file: FileColumns, layout: Layout
) -> Iterator[tuple[dict[str, Any], tuple[Offered, ...]]]:
    """The values and options of the first rows, where they have an answer and can be read."""
    for record in file.sample:
        values = layout.values(record)
        if values["label"] in (None, ""):
            continue
        try:
            yield values, offered_in(values["options"], Place(file.table.path))
        except DataError:
            continue


def _numbering(file: FileColumns, columns: Mapping[str, Column]) -> Numbering:
    label = columns.get("label")
    if not isinstance(label, str) or "options" not in columns:
        return Numbering(None)
    layout = Layout({"options": columns["options"], "label": label})
    return numbering_of([(values["label"], offered) for values, offered in _rows(file, layout)])


def _share_named(file: FileColumns, options: Column, right: str) -> float | None:
    """The share of the first rows in which the answer names an option or says that there is none
    yet; None where no row can be read."""
    columns = {"options": options, "label": right}
    layout = Layout(columns, first_option=_numbering(file, columns).first)
    here = Place(file.table.path)
    named = [_names_one(values, offered, here) for values, offered in _rows(file, layout)]
    return sum(named) / len(named) if named else None


def _names_one(values: Mapping[str, Any], offered: tuple[Offered, ...], place: Place) -> bool:
    try:
        right_option(values["label"], values["position"], offered, place)
    except LeftOutError:
        return True
    except DataError:
        return False
    return True
