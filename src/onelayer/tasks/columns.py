"""The columns of a file, by what they are called and what they hold."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

from onelayer.data.table import Table
from onelayer.tasks.protocol import listed_in
from onelayer.tasks.tag.spans import are_spans

SAMPLE = 1000
"""Rows that are looked at before anything is decided."""

# Names in lower case, with ``_`` for spaces and hyphens; the best ones first.
KNOWN: dict[str, tuple[str, ...]] = {
    "text": (
        *("text", "sentence", "review", "comment", "tweet", "message", "content", "body"),
        *("document", "utterance", "post", "文本", "内容", "句子", "评论", "正文"),
    ),
    "title": ("headline", "title", "query", "question", "标题", "问题"),
    "label": ("label", "gold_label", "labels", "target", "标签"),
    "tokens": ("tokens", "words"),
    "tags": ("tags", "ner_tags", "ner", "pos_tags", "upos", "labels", "label"),
    "spans": ("entities", "spans", "ents", "label", "labels", "annotations"),
    "question": ("question", "query", "question_stem", "sent2", "问题"),
    "context": (
        *("context", "passage", "paragraph", "article", "story", "dialogue", "premise", "ctx"),
        *("sent1", "text", "document", "sentence", "goal", "scenario", "situation"),
        *("文章", "上下文", "段落", "情景", "场景", "背景", "对话"),
    ),
    "answers": ("answers", "answer", "答案"),
    "options": ("options", "choices", "endings", "candidates", "选项"),
    "right": (
        *("answer", "label", "answerkey", "answer_key", "correct", "correct_answer", "gold"),
        *("答案", "正确答案"),
    ),
}
PAIRS = (
    *(("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2")),
    *(("text1", "text2"), ("text_a", "text_b"), ("#1_string", "#2_string"), ("text", "pair")),
    *(("sentence_a", "sentence_b"), ("question", "sentence"), ("question", "passage")),
    *(("question", "context"), ("question", "answer"), ("query", "document")),
    *(("claim", "evidence"), ("句子1", "句子2"), ("文本1", "文本2"), ("前提", "假设")),
)
MEASURES = {"score", "similarity", "similarity_score", "grade", "分数", "得分", "评分", "相似度"}
CLASSES = {
    *("class", "category", "sentiment", "emotion", "emotions", "intent", "topic", "polarity"),
    *("class_index", "stance", "tags", "rating", "stars", "quality", "is_duplicate"),
    *("类别", "分类", "情感", "意图", "主题"),
}
"""With MEASURES, names of what is to be predicted where one column alone has such a name."""
ASIDE = {
    *("id", "ids", "idx", "index", "unnamed:", "date", "time", "timestamp", "year", "split"),
    *("lang", "language", "source", "url", "user", "author", "count", "confidence"),
    *("序号", "编号", "日期"),
}
"""Words in the names of columns that describe a row and are not to be learned."""
SEPARATORS = (",", ";", "|", "，", "、")

_OPTION = re.compile(r"(?:(option|choice|ending|answer|opt|op|sol|选项)_?)?([0-9a-j])")
_SERIES = ("0123456789", "abcdefghij")
_SEVERAL_WORDS = re.compile(r"\w[^\w\s]*\s\W*\w|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]{4}")
_NUMBERED = re.compile(r"column\d+")


def normal(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def numbers_in(values: Sequence[Any]) -> set[float]:
    """The distinct numbers among values; none where more than a tenth are something else."""
    numbers = [number for value in values if (number := _number(value)) is not None]
    return set(numbers) if len(numbers) >= 0.9 * len(values) else set()


def _number(value: Any) -> float | None:
    if isinstance(value, (bool, list, dict)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


class Columns:
    """The columns of one file; what they hold is seen from its first rows."""

    def __init__(self, table: Table) -> None:
        self.sample: list[Mapping[str, Any]] = [row.values for row in islice(table, SAMPLE)]
        self.names = table.columns
        self.by_name = {normal(name): name for name in reversed(table.columns)}
        self.nameless = all(map(_NUMBERED.fullmatch, table.columns))

    # Names -----------------------------------------------------------------------------------

    def called(self, *names: str, without: Collection[str | None] = ()) -> list[str]:
        """The columns of these names, in the order of the names."""
        found = (self.by_name.get(name) for name in names)
        return [column for column in found if column and column not in without]

    def known(self, kind: str, without: Collection[str | None] = ()) -> str | None:
        """The column with the best known name of a kind."""
        return next(iter(self.called(*KNOWN[kind], without=without)), None)

    def words_of(self, column: str) -> set[str]:
        """The words of a name, or none where one of them sets the column aside."""
        words = set(normal(column).split("_"))
        return set() if words & ASIDE else words

    def targets(self) -> list[str]:
        """The columns that may be the label: by their whole names, else by a word of them."""
        names = CLASSES | MEASURES
        whole = [column for column in self.names if normal(column) in names]
        return whole or [column for column in self.names if self.words_of(column) & names]

    # Contents --------------------------------------------------------------------------------

    def values(self, column: str | None) -> list[Any]:
        """What is there; None, NaN and the empty text are not."""
        present = (row.get(column) for row in self.sample) if column else ()
        return [value for value in present if value not in (None, "") and value == value]

    def hold(self, column: str | None, *types: type) -> bool:
        """Whether every value that is there is of one of the types, and there is one."""
        values = self.values(column)
        return bool(values) and all(isinstance(value, types) for value in values)

    def running_texts(self, without: Collection[str | None] = ()) -> list[str]:
        """Columns of mostly distinct values of several words, at least a third as long on average
        as the longest."""
        mean: dict[str, float] = {}
        for column in self.names:
            values = self.values(column)
            if column in without or not self.hold(column, str):
                continue
            several = sum(bool(_SEVERAL_WORDS.search(value)) for value in values)
            if len(set(values)) > len(values) / 4 and several > len(values) / 2:
                mean[column] = sum(map(len, values)) / len(values)
        longest = max(mean.values(), default=0.0)
        return [column for column, length in mean.items() if length >= longest / 3]

    def repeating(self, without: Collection[str | None] = ()) -> list[str]:
        """Columns without gaps whose values come again and again, or are decimal numbers."""
        found, counted = [], []
        for column in self.names:
            values = [str(value) for value in self.values(column)]
            if column in without or len(values) < len(self.sample) or not self.words_of(column):
                continue
            distinct, numbers = set(values), numbers_in(values)
            decimals = any(not number.is_integer() for number in numbers)
            if decimals or 1 < len(distinct) <= max(2, len(values) // 2):
                found.append(column)
                if numbers == set(range(len(numbers))) != set():
                    counted.append(column)
        # Without names, 0 to n - 1 is how labels are written: CoLA's stand after codes of sources.
        return counted if self.nameless and len(counted) == 1 else found

    def tokens(self, asked: str | None) -> str | None:
        """A column of lists of words."""
        column = asked or self.known("tokens")
        if not self.hold(column, list):
            return None
        words = (word for value in self.values(column) for word in value)
        return column if all(isinstance(word, (str, int, float)) for word in words) else None

    def spans(self, asked: str | None) -> str | None:
        """A column of entities given by their characters."""
        for column in [asked] if asked else self.called(*KNOWN["spans"]):
            values = [value for value in self.values(column) if value not in ([], {})]
            if values and all(map(are_spans, values)):
                return column
        return None

    def options(self) -> str | tuple[str, ...] | None:
        """One column of lists, or a series of columns such as A, B, C."""
        column = self.known("options")
        if self.hold(column, list, dict) or self._hold_written_lists(column):
            return column
        if self.hold("answers", list) and self.known("label"):  # ReClor's name for options
            return "answers"
        series: dict[str, dict[str, str]] = defaultdict(dict)
        for name, column in self.by_name.items():
            if (match := _OPTION.fullmatch(name)) and (match[1] or match[2].isalpha()):
                series[match[1] or ""][match[2]] = column
        for marks in series.values():
            ordered = "".join(sorted(marks))
            if len(marks) > 1 and any(ordered in run for run in _SERIES):
                return tuple(marks[mark] for mark in ordered)
        return None

    def _hold_written_lists(self, column: str | None) -> bool:
        """Whether a csv's values are lists as JSON writes them."""
        return self.hold(column, str) and all(map(listed_in, self.values(column)))

    def separator(self, column: str, *, sure: bool) -> str | None:
        """What parts several labels in one field: a mark whose parts are labels by themselves
        elsewhere, so that a class called "Yes, always" stays whole."""
        values = [value for value in self.values(column) if isinstance(value, str)]
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
