"""Tables with a row for each word, such as those of Kaggle's NER sets and of simpletransformers:
they become a row for each sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, pairwise
from typing import Any

from onelayer.base.errors import DataError, Place
from onelayer.data.formats.conll import LONGEST_SENTENCE
from onelayer.data.table import Record, Table

WORDS = ("word", "words", "token", "tokens", "text", "字", "词")
SENTENCES = re.compile(
    r"(sentence|sent|sequence|seq|doc|document|example|row)([ _-]*(#|no|num|number|id|idx|index))?"
)
"""Names of the columns of words, and of the column that tells the sentence."""
ROWS_SEEN = 1000

_IOB = re.compile(r"[BIESMLU]-.+|O", re.IGNORECASE | re.DOTALL)
_FEWEST_ROWS = 4


def by_sentence(table: Table) -> Table | None:
    """A row for each sentence, every column but the sentence's being a list; None for a table whose
    rows aren't words.

    Rows are words if a column has one word each, and another column tells the sentence: it has the
    same value for several rows on end, or one in the first row of each sentence only. Without IOB
    tags both need names of such columns; with them blank lines may end the sentences. Raises
    DataError for words with IOB tags where nothing does.
    """
    if len(table.columns) < 2:
        return None
    head = table.head(ROWS_SEEN)
    if len(head) < _FEWEST_ROWS:
        return None
    single = [name for name in table.columns if _are_words([row.get(name) for row in head])]
    tags = [name for name in single if _are_iob([row.get(name) for row in head])]
    named = [name for name in single if name.strip().lower() in WORDS and name not in tags]
    others = [name for name in single if name not in tags]
    if not (tags and others) and not named:
        return None
    words = named[0] if named else max(others, key=lambda name: _distinct(head, name))
    sentences = _sentence_column(table.columns, head, {words, *tags}, by_name=not tags)
    blank_lines = sentences is None and bool(tags) and _has_blank_lines(table, words)
    if sentences is None and not tags:
        return None
    if sentences is None and not blank_lines:
        raise DataError(
            f"a word a row ({words}, {tags[0]}), and nothing tells where a sentence ends",
            place=Place(table.path),
            hint="add a column sentence_id, or write CoNLL with a blank line after each sentence",
        )
    columns = tuple(name for name in table.columns if name != sentences)
    return replace(
        table,
        format="token-rows",
        columns=columns,
        read=lambda: _sentences(table, sentences, words, columns),
        note=f"a word a row: those of one {sentences} are a sentence"
        if sentences
        else "a word a row: a blank line ends a sentence",
    )


def _are_words(values: Sequence[Any]) -> bool:
    """Whether nearly all values are a word each."""
    texts = [value for value in values if isinstance(value, str) and value.strip()]
    single = sum(len(text.split()) == 1 for text in texts)
    return 2 * len(texts) > len(values) and single >= 0.98 * len(texts)


def _are_iob(values: Sequence[Any]) -> bool:
    """Whether values are IOB tags, some of them ``O`` and some with ``B``."""
    tags = [value.upper() for value in values if isinstance(value, str) and value.strip()]
    fitting = sum(bool(_IOB.fullmatch(tag)) for tag in tags)
    return fitting >= 0.98 * len(tags) and "O" in tags and any(tag[:2] == "B-" for tag in tags)


def _distinct(head: Sequence[Mapping[str, Any]], column: str) -> int:
    return len({row.get(column) for row in head})


def _sentence_column(
    columns: Sequence[str], head: Sequence[Mapping[str, Any]], without: set[str], *, by_name: bool
) -> str | None:
    """The column that tells the sentence: by its name, else the first one whose values come in
    runs, unless only a name is sure enough."""
    fitting = [
        name
        for name in columns
        if name not in without and _come_in_runs([row.get(name) for row in head])
    ]
    named = [name for name in fitting if SENTENCES.fullmatch(name.strip().lower())]
    return next(iter(named if by_name else [*named, *fitting]), None)


def _come_in_runs(values: Sequence[Any]) -> bool:
    """Whether each value stands on rows one after another, or on the first row of its sentence."""
    if _is_blank(values[0]) or any(isinstance(value, (list, dict)) for value in values):
        return False
    filled = [value for value in values if not _is_blank(value)]
    if len(filled) < len(values):
        return len(set(filled)) == len(filled) and 2 * len(filled) < len(values)
    runs = 1 + sum(bool(a != b) for a, b in pairwise(values))
    return runs == len(set(values)) and runs > 1 and 2 * runs <= len(values)


def _is_blank(value: object) -> bool:
    return value in (None, "") or value != value


def _has_blank_lines(table: Table, words: str) -> bool:
    """Whether lines are left out between the first rows, or rows have no word."""
    head = list(islice(table, ROWS_SEEN))
    blank = any(_is_blank(record.values.get(words)) for record in head)
    return blank or any(_is_apart(one, other) for one, other in pairwise(head))


def _is_apart(one: Record, other: Record) -> bool:
    """Whether there is a line between two records."""
    return one.line is not None and other.line is not None and other.line - one.line > 1


def _sentences(
    table: Table, sentences: str | None, words: str, columns: Sequence[str]
) -> Iterator[Record]:
    """The sentences by the values of a column; without one, by blank lines."""
    rows: list[Record] = []
    current: Any = None
    for record in table:
        if record.left_out is not None:
            yield record
            continue
        value = record.values.get(sentences) if sentences else None
        is_word = not _is_blank(record.values.get(words))
        apart = bool(rows) and not sentences and (not is_word or _is_apart(rows[-1], record))
        if rows and (apart or not (_is_blank(value) or value == current)):
            yield _joined(rows, columns)
            rows = []
        if len(rows) == LONGEST_SENTENCE:
            raise DataError(
                f"a sentence of more than {LONGEST_SENTENCE:,} words", place=table.place(rows[0])
            )
        current = current if _is_blank(value) else value
        if sentences or is_word:
            rows.append(record)
    if rows:
        yield _joined(rows, columns)


def _joined(rows: Sequence[Record], columns: Sequence[str]) -> Record:
    values = {name: [row.values.get(name) for row in rows] for name in columns}
    return Record(values, rows[0].line)
