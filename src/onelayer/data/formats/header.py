"""Decides whether the first row of a table is a header. Many published csv files have none.

The columns give the evidence. A name stands out from the values below it: a word above numbers, a
word above two classes that occur again and again, three letters above long texts. A value fits in:
it is a number above numbers, or one of the classes. Each column adds a logarithm of a likelihood
ratio: how probable its first cell is for a header, and how probable for one more value.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from math import log
from statistics import median

_NAMES = """
    text texts sentence sentences sent question questions query premise hypothesis paragraph passage
    context document content contents body title headline article review reviews comment
    comments tweet message utterance abstract summary description keywords label labels gold
    target class category categories tag tags tokens words intent sentiment emotion polarity
    score scores rating stars similarity quality answer answers option options choice choices
    id idx index qid pid guid
    文本 句子 语句 内容 正文 标题 评论 评价 问题 答案 上下文 段落 选项 前提 假设 摘要 关键词
    标签 标注 类别 分类 类型 主题 情感 意图 分数 得分 评分 相似度 序号 编号
"""
KNOWN_NAMES = frozenset(_NAMES.split())
"""Well-known column names, which speak for a header, alone, numbered or combined (``gold_label``).
Values may have such names, too: a class may be called ``question``."""

_NUMBERED_COLUMN = re.compile(r"column[1-9]\d*")

ENOUGH = 2.0
"""The evidence that makes a header: 7 to 1. With more, short files lose their header."""
KNOWN_NAME = 3.5
"""The evidence of a well-known name, 33 to 1. It decides where there are no rows below."""
MOST_WEIGHT = 4.5
"""The evidence of one cell, at most: 90 to 1."""
RARELY = 0.04
"""The share of headers with a cell that is also a value of its column, or a number."""
LONGEST_NAME = 60
"""Characters of a column's name, as a rule; questions of forms are as long."""
_SHAPE_LENGTH = 40
"""Characters of a value that make its shape."""


@dataclass(frozen=True, slots=True)
class Header:
    """Whether the first row is a header, and why."""

    present: bool
    why: str | None = None
    """In words; None where nobody will ask, as the names are the user's own or well-known."""


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What a cell tells: above 0 for a header, below 0 for one more value."""

    weight: float
    why: str

    def __post_init__(self) -> None:
        # A class that is rare in the first rows must not outweigh everything else.
        bounded = max(-MOST_WEIGHT, min(self.weight, MOST_WEIGHT))
        object.__setattr__(self, "weight", bounded)


def find_header(
    first: Sequence[str],
    below: Sequence[Sequence[str]],
    named: Collection[str],
    expected: Collection[str] = (),
) -> Header:
    """Whether the first row is a header.

    Names that the user asked for decide first (``column1`` means that there is no header), then
    the names of the columns that a model was trained on, then the columns' values.

    Parameters
    ----------
    first
        The cells of the first row.
    below
        The rows that follow.
    named
        Column names that the user asked for.
    expected
        Column names that the file may have.
    """
    cells = [cell.strip() for cell in first]
    if any(cell in named for cell in cells):
        return Header(True)
    if any(_NUMBERED_COLUMN.fullmatch(name) for name in named):
        return Header(False)
    rows = [row for row in below if list(row) != list(first)]  # a header may come again
    columns = [
        (cell, [value for row in rows if index < len(row) and (value := row[index].strip())])
        for index, cell in enumerate(cells)
    ]
    if any(cell in expected and cell not in values for cell, values in columns):
        return Header(True)
    found = list(_evidence(columns, numbered=_are_counted(cells)))
    # Where the training file had no header, another file of the model hardly has one.
    alike = bool(expected) and all(map(_NUMBERED_COLUMN.fullmatch, expected))
    present = sum(evidence.weight for evidence in found) >= ENOUGH * (2 if alike else 1)
    side = [e for e in found if (e.weight > 0) is present]
    strongest = max(side, key=lambda e: abs(e.weight), default=None)
    if present and any(map(is_known, cells)) and all(e.weight > -1 for e in found):
        return Header(True)
    if strongest is None or (not present and strongest.weight > -0.5):
        return Header(present, "nothing tells the first line from the lines below")
    return Header(present, strongest.why)


def is_known(cell: str) -> bool:
    """Whether a cell is a well-known name: ``Label``, ``sentence1``, ``text_a``, ``标签``.

    Emoji are ignored: ``📝 text``.
    """
    name = "".join(c for c in cell if unicodedata.category(c) not in ("So", "Mn", "Cf"))
    first, *rest = (part.rstrip("0123456789") for part in name.strip().lower().split("_"))
    return first in KNOWN_NAMES and all(part in KNOWN_NAMES or len(part) < 2 for part in rest)


def are_classes(values: Sequence[str]) -> bool:
    """Whether a column holds few distinct values that repeat, such as class names."""
    return len(values) >= 10 and len(set(values)) <= len(values) / 5


# Evidence --------------------------------------------------------------------------------------


def _evidence(columns: Sequence[tuple[str, list[str]]], *, numbered: bool) -> Iterator[_Evidence]:
    """The strongest evidence of each column for a header, and the strongest against it.
    ``numbered``: the cells are 0, 1, 2, as pandas names columns without names."""
    for cell, values in columns:
        if not cell:
            if counts_rows(values):
                yield _Evidence(4.0, f"the column without a name counts the rows from {values[0]}")
            continue
        found: list[_Evidence] = []
        if values:
            found += _repeated(cell, values, numbered)
            found += _written_otherwise(cell, values, numbered)
            found += _shorter(cell, values)
        if _SENTENCE.search(cell) or len(cell) > LONGEST_NAME:
            found.append(_Evidence(-3.0, f"{_shown(cell)} is a sentence, as names hardly are"))
        if is_known(cell) and cell not in values:
            yield _Evidence(KNOWN_NAME, f"{cell!r} is a usual name")
        if any(e.weight > 0 for e in found):
            yield max(found, key=lambda e: e.weight)
        if any(e.weight < 0 for e in found):
            yield min(found, key=lambda e: e.weight)


def _repeated(cell: str, values: Sequence[str], numbered: bool) -> list[_Evidence]:
    """Whether the cell occurs below, where values occur again and again."""
    counts = Counter(values)
    once = sum(count == 1 for count in counts.values())
    if cell in counts:
        known = max(1 - once / len(values), 0.1)
        weight = 0.0 if numbered else log(RARELY / known)
        return [_Evidence(weight, f"{_shown(cell)} occurs again below")]
    # Good and Turing: the share of values that occur once is the probability of a new value.
    new = min((once + 0.5) / (len(values) + 1), 1.0)
    classes = ", ".join(_shown(name) for name, _ in counts.most_common(2))
    return [_Evidence(-log(new), f"{_shown(cell)} stands above {classes} and isn't one of them")]


def _written_otherwise(cell: str, values: Sequence[str], numbered: bool) -> list[_Evidence]:
    """Whether the cell is written like the values: a number, a date, a code."""
    share = sum(map(_is_number, values)) / len(values)
    if share >= 0.9:
        if _is_number(cell):
            weight = 0.0 if numbered else log(RARELY)
            return [_Evidence(weight, f"{cell} is a number, as the values below it are")]
        words = min(0.05, 1 - share + 0.5 / (len(values) + 1))
        return [_Evidence(-log(words), f"{_shown(cell)} stands above numbers")]
    shapes = Counter(map(_shape, values))
    usual, count = shapes.most_common(1)[0]
    if usual.isalpha() or count < 0.9 * len(values):
        return []  # words and texts have no common shape
    if _shape(cell) == usual:
        return [_Evidence(log(5 * RARELY), f"{_shown(cell)} is written as the values below it are")]
    other = 1 - count / len(values) + 0.5 / (len(values) + 1)
    like = f"values such as {_shown(values[0])}"
    return [_Evidence(-log(other), f"{_shown(cell)} stands above {like}")]


def _shorter(cell: str, values: Sequence[str]) -> list[_Evidence]:
    """Whether the cell is shorter than texts below it, or as long as most of them."""
    lengths = sorted(map(len, values))
    middle = median(lengths)
    if middle < 12:
        return []  # words, not texts
    shorter = sum(length <= len(cell) for length in lengths)
    rank = (shorter + 0.5) / (len(lengths) + 1)
    by_rank, by_ratio = log(0.9 / rank), 1.25 * log(middle / len(cell))
    if min(by_rank, by_ratio) > 0:
        why = f"{_shown(cell)} is shorter than the texts below it"
        return [_Evidence(min(by_rank, by_ratio), why)]
    if len(values) >= 10 and len(cell) >= middle:
        return [_Evidence(-1.6, f"{_shown(cell)} is as long as the texts below it")]
    return []


def counts_rows(values: Sequence[str]) -> bool:
    """Whether values count up by one from 0 or 1, as row numbers do."""
    counted = [str(n) for n in range(2 + len(values))]
    return bool(values) and list(values) in (counted[:-2], counted[1:-1])


def _are_counted(cells: Sequence[str]) -> bool:
    return len(cells) > 1 and list(cells) == [str(n) for n in range(len(cells))]


def _is_number(cell: str) -> bool:
    try:
        float(cell.removesuffix("%").replace(",", "."))
    except ValueError:
        return False
    return True


_SENTENCE = re.compile(r"\w\W+\w+\W+\w.*[.!。！]$|\w{5}.*[。！]$", re.DOTALL)
_LETTERS, _DIGITS = re.compile(r"[^\W\d_]+"), re.compile(r"\d+")


def _shape(value: str) -> str:
    """How a value is written: ``2023/01/4 10:00`` is ``9/9/9 9:9``, ``Normal`` is ``a``."""
    return _DIGITS.sub("9", _LETTERS.sub("a", value[:_SHAPE_LENGTH]))


def _shown(value: str) -> str:
    return repr(value if len(value) <= 30 else value[:29] + "…")
