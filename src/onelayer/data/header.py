"""Decides whether the first row of a table is a header. Many published csv files have none."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from enum import Enum
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
"""Well-known column names. A first row that has one of them, alone, numbered or combined
(``gold_label``), is a header."""

_NUMBERED_COLUMN = re.compile(r"column[1-9]\d*")
_IDENTIFIER = re.compile(r"[^\W\d][\w #/()-]{0,39}")


class Header(Enum):
    """What the first row is."""

    ABSENT = 0
    """No header: the first row is data."""
    SURE = 1
    """A header: it has a name that the user asked for, or a well-known one."""
    LIKELY = 2
    """Probably a header, by its structure alone."""


def find_header(
    first: Sequence[str], below: Sequence[Sequence[str]], named: Collection[str]
) -> Header:
    """Whether the first row is a header.

    Names that the user asked for decide first (``column1`` means that there is no header), then
    well-known names, then the structure: short identifiers above values that look different.

    Parameters
    ----------
    first
        The cells of the first row.
    below
        The rows that follow.
    named
        Column names that the user asked for.
    """
    if any(cell.strip() in named for cell in first):
        return Header.SURE
    if any(_NUMBERED_COLUMN.fullmatch(name) for name in named):
        return Header.ABSENT
    columns = [
        (cell, [row[index] for row in below if index < len(row)])
        for index, cell in enumerate(first)
    ]
    # A cell that occurs again below is a value: "question" may be the name of a class.
    if any(is_known(cell) and cell not in values for cell, values in columns):
        return Header.SURE
    return Header.LIKELY if _looks_like_header(columns) else Header.ABSENT


def is_known(cell: str) -> bool:
    """Whether a cell is a well-known name: ``Label``, ``sentence1``, ``text_a``, ``标签``.

    Emoji are ignored: ``📝 text``.
    """
    name = "".join(c for c in cell if unicodedata.category(c) not in ("So", "Mn", "Cf"))
    first, *rest = (part.rstrip("0123456789") for part in name.strip().lower().split("_"))
    return first in KNOWN_NAMES and all(part in KNOWN_NAMES or len(part) < 2 for part in rest)


def _looks_like_header(columns: list[tuple[str, list[str]]]) -> bool:
    cells = [cell for cell, _ in columns]
    if len(set(cells)) < len(cells) or not all(_is_identifier(cell) for cell in cells):
        return False
    if any(cell in values for cell, values in columns):
        return False
    if any(_are_numbers(values) for _, values in columns):
        return True
    growth = max(_typical_length(values) / len(cell) for cell, values in columns)
    return growth >= 6 or (growth >= 3 and any(are_classes(values) for _, values in columns))


def _is_identifier(cell: str) -> bool:
    return bool(_IDENTIFIER.fullmatch(cell)) and len(cell.split()) <= 4 and not _is_number(cell)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _are_numbers(values: list[str]) -> bool:
    filled = [value for value in values if value]
    return bool(filled) and all(_is_number(value) for value in filled)


def _typical_length(values: list[str]) -> float:
    return median(map(len, values)) if values else 0


def are_classes(values: Sequence[str]) -> bool:
    """Whether a column holds few distinct values that repeat, such as class names."""
    return len(values) >= 10 and len(set(values)) <= len(values) / 5
