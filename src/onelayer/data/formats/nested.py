"""Reads JSON files, among them documents that nest questions in passages: SQuAD and CMRC, DREAM and
C3."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from onelayer.base.errors import DataError, Place
from onelayer.data.formats.delimited import SUFFIXES as DELIMITED
from onelayer.data.formats.exams import EXAMS
from onelayer.data.formats.file_format import FileFormat, JsonShape, Sample
from onelayer.data.formats.frames import is_alone, is_frame, read_frames
from onelayer.data.formats.jsonlines import (
    JSON_LINES,
    first_columns,
    is_row,
    json_items,
    line_value,
    read_json_document,
    read_json_lines,
)
from onelayer.data.formats.label_studio import LABEL_STUDIO
from onelayer.data.formats.spacy_data import SPACY
from onelayer.data.table import Record, Table

_JSON = {".json", *JSON_LINES}
_BEGINNING = re.compile(r'\s*(?:\{\s*(?:["\']|$)|\[\s*(?:[\[{]|$))')
_OPEN = re.compile(r"^\s*\[|[\[{,]\s*$")
"""A line of JSON that begins an array, or that another line follows."""
_KEPT = ("id", "question")
"""The columns that differ from question to question of a passage."""
_SQUAD_HINT = "SQuAD's layout is data > paragraphs > context and qas > id, question, answers"
_CHOICE_HINT = "the layout is [[sentences], [{question, choice, answer}], id]"


def is_squad(value: Any) -> bool:
    """Whether a value is SQuAD's document, or an article or a paragraph of it."""
    articles = value.get("data") if isinstance(value, dict) else None
    first = articles[0] if isinstance(articles, list) and articles else value
    return isinstance(first, dict) and ("paragraphs" in first or {"qas", "context"} <= set(first))


def is_multiple_choice(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) >= 2
        and isinstance(value[0], list)
        and isinstance(value[1], list)
    )


def begins_document(line: str) -> bool:
    """Whether a first line begins a JSON document of several lines or rows, and is no row."""
    if not _BEGINNING.match(line):
        return False
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return _OPEN.search(line) is not None
    return not is_row(value) or is_squad(value) or is_frame(value)


def read_squad(path: str) -> Table:
    """Reads SQuAD 1.1, 2.0 and CMRC: a record per question, with ``id``, ``question``, ``context``,
    ``title`` and, where the file has them, ``answers`` and ``is_impossible``. The document may be
    one of articles, or a list of articles or of paragraphs.
    """

    def records() -> Iterator[Record]:
        for n, (value, _) in enumerate(json_items(path)):
            articles, where = [value], f"item {n + 1}"
            if isinstance(value, dict) and "data" in value:
                articles, where = _list(value, "data", path, "the document"), "data"
            for a, article in enumerate(articles):
                here = f"data[{a}]" if where == "data" else where
                paragraph = isinstance(article, dict) and "qas" in article
                whole = {"paragraphs": [article]} if paragraph else article
                yield from _article_records(whole, path, here)

    columns = first_columns(path, records)
    return Table(path, "squad", columns, records, kept_columns=_KEPT)


def _article_records(article: Any, path: str, where: str) -> Iterator[Record]:
    for p, paragraph in enumerate(_list(article, "paragraphs", path, where)):
        at = f"{where}.paragraphs[{p}]"
        context = _string(paragraph, "context", path, at)
        title = article.get("title") or paragraph.get("id") or article.get("id") or ""
        for q, question in enumerate(_list(paragraph, "qas", path, at)):
            here = f"{at}.qas[{q}]"
            values: dict[str, Any] = {
                "id": _identity(question, here),
                "question": _string(question, "question", path, here),
                "context": context,
            }
            if question.get("answers") is not None:
                values["answers"] = question["answers"]
            values["title"] = str(title)
            if "is_impossible" in question:
                values["is_impossible"] = question["is_impossible"]
            yield Record(values)


def _identity(question: Any, where: str) -> str:
    """A question's id, which may be called ``qid``; else where it is."""
    about = question if isinstance(question, dict) else {}
    return str(about.get("id", about.get("qid", where)))


def _list(item: Any, key: str, path: str, where: str) -> list[Any]:
    value = item.get(key) if isinstance(item, dict) else None
    if not isinstance(value, list):
        raise _malformed(path, f"{where} has no list {key!r}", _SQUAD_HINT)
    return value


def _string(item: Any, key: str, path: str, where: str) -> str:
    value = item.get(key) if isinstance(item, dict) else None
    if not isinstance(value, str):
        raise _malformed(path, f"{where} has no text {key!r}", _SQUAD_HINT)
    return value


def _malformed(path: str, message: str, hint: str, line: int | None = None) -> DataError:
    return DataError(message, place=Place(path, line), hint=hint)


def read_multiple_choice(path: str) -> Table:
    """Reads DREAM and C3: a record per question, with ``id`` (the passage's and the question's
    number), ``context`` (a sentence per line), ``question``, ``options`` and ``answer``, if given.
    """

    def records() -> Iterator[Record]:
        for number, (item, line) in enumerate(json_items(path), 1):
            if not is_multiple_choice(item):
                raise _malformed(path, f"item {number} is no passage", _CHOICE_HINT, line)
            yield from _passage_records(item, path, line, number)

    columns = first_columns(path, records)
    return Table(path, "multiple-choice", columns, records, kept_columns=_KEPT)


def _passage_records(item: list[Any], path: str, line: int, number: int) -> Iterator[Record]:
    sentences, questions, *rest = item
    name = str(rest[0]) if rest else str(number)
    if not all(isinstance(sentence, str) for sentence in sentences):
        raise _malformed(path, f"{name}: a sentence is no text", _CHOICE_HINT, line)
    for q, question in enumerate(questions, 1):
        if not isinstance(question, dict) or not isinstance(question.get("question"), str):
            raise _malformed(path, f"{name}: question {q} has no text", _CHOICE_HINT, line)
        options = question.get("choice")
        if not isinstance(options, list) or not all(isinstance(text, str) for text in options):
            raise _malformed(path, f"{name}: question {q} has no choices", _CHOICE_HINT, line)
        values = {
            "id": f"{name}-{q}",
            "context": "\n".join(sentences),
            "question": question["question"],
            "options": options,
        }
        answer = question.get("answer")
        yield Record(values | ({"answer": answer} if answer is not None else {}), line)


def _is_json(sample: Sample) -> bool:
    """By its name, or by its first characters unless it is named csv, whose cells may hold JSON."""
    if sample.suffixes & _JSON:
        return True
    return bool(_BEGINNING.match(sample.first_line)) and not sample.suffixes & DELIMITED


def _read_any_json(sample: Sample) -> Table:
    path = sample.path
    value = line_value(path)
    by_lines = is_row(value)
    if not by_lines:
        value = next((item for item, _ in json_items(path)), None)
    found = next((shape for shape in SHAPES if shape.fits(value)), None)
    if found:
        return found.read(path)
    if is_frame(value) and is_alone(path):
        return read_frames(path)
    return read_json_lines(path) if by_lines else read_json_document(path)


SHAPES = [
    LABEL_STUDIO,
    SPACY,
    JsonShape(is_squad, read_squad),
    JsonShape(is_multiple_choice, read_multiple_choice),
    *EXAMS,
]
"""The first shape that a file fits reads it; objects of any other shape are rows as they stand."""

JSON = FileFormat(_is_json, _read_any_json)
