"""Reads exams in JSON whose questions are nested: RACE's and QuALITY's objects of a passage and its
questions, and the objects of CommonsenseQA and ARC, whose question is an object itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from onelayer.base.errors import DataError, Place
from onelayer.data.formats.file_format import JsonShape
from onelayer.data.formats.jsonlines import first_columns, json_values
from onelayer.data.table import Record, Table

_LISTS = ("questions", "options", "answers")
_HINT = 'a passage has "questions", and as many "options" and "answers"'


def has_question_list(value: Any) -> bool:
    """Whether a value is a passage with a list of questions, and options for each."""
    questions = value.get("questions") if isinstance(value, dict) else None
    if not isinstance(questions, list) or not questions:
        return False
    if isinstance(questions[0], dict):
        return "question" in questions[0] and bool({"options", "choices"} & set(questions[0]))
    options = value.get("options")
    return isinstance(options, list) and bool(options) and isinstance(options[0], (list, dict))


def has_question_stem(value: Any) -> bool:
    """Whether a value's question is an object with its text, the stem, and its choices."""
    question = value.get("question") if isinstance(value, dict) else None
    return isinstance(question, dict) and "stem" in question and "choices" in question


def read_question_lists(path: str) -> Table:
    """Reads passages with lists of questions: a record for each question, with the fields of its
    passage, ``question``, ``options`` and ``answer``, if there are answers.
    """

    def records() -> Iterator[Record]:
        for value, line in json_values(path):
            if not has_question_list(value):
                raise DataError("no passage with questions", place=Place(path, line), hint=_HINT)
            for question in _questions(value, Place(path, line)):
                yield Record(question, line)

    columns = first_columns(path, records)
    kept = tuple(name for name in columns if name in ("id", "question", "answer"))
    return Table(path, "multiple-choice", columns, records, kept_columns=kept)


def _questions(value: Mapping[str, Any], place: Place) -> Iterator[dict[str, Any]]:
    about = {name: it for name, it in value.items() if name not in _LISTS}
    questions = value["questions"]
    if isinstance(questions[0], dict):
        for question in questions:
            if not isinstance(question, dict):
                raise DataError("a question is no object", place=place, hint=_HINT)
            yield {**about, **question}
        return
    lists = {"question": questions, "options": value["options"]}
    if isinstance(value.get("answers"), list):
        lists["answer"] = value["answers"]
    for name, items in lists.items():
        if len(items) != len(questions):
            message = f"{len(questions)} questions, but {name} has {len(items)} items"
            raise DataError(message, place=place, hint=_HINT)
    for parts in zip(*lists.values(), strict=True):
        yield {**about, **dict(zip(lists, parts, strict=True))}


def read_question_stems(path: str) -> Table:
    """Reads objects whose question is an object: its fields are columns as the others are."""

    def records() -> Iterator[Record]:
        for value, line in json_values(path):
            if not has_question_stem(value):
                hint = 'write "question": {"stem": ..., "choices": [...]}'
                raise DataError("no question with a stem", place=Place(path, line), hint=hint)
            inner = dict(value["question"])
            about = {name: it for name, it in value.items() if name != "question"}
            yield Record({**about, "question": inner.pop("stem"), **inner}, line)

    return Table(path, "multiple-choice", first_columns(path, records), records)


EXAMS = [
    JsonShape(has_question_list, read_question_lists),
    JsonShape(has_question_stem, read_question_stems),
]
