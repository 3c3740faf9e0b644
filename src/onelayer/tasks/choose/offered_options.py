"""The options of a row in the shapes that files have, and which of them an answer names."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from onelayer.base.errors import DataError, Place
from onelayer.data.row_kind import LeftOutError
from onelayer.data.values import (
    FirstOption,
    in_role,
    label_name,
    letter_in,
    position_from,
    whole_number,
)
from onelayer.data.written import written_value

UNLABELLED = -1
"""What the Hub's test sets have in place of the right option's position."""


@dataclass(frozen=True, slots=True)
class Offered:
    """An option of a row."""

    text: str
    position: int
    """Counted from 0 among all options of the row, empty ones included."""
    marks: tuple[str, ...] = ()
    """By which the answer may name it: its letter, its own label, its column."""
    is_text: bool = True
    """Whether the file has a text there; else it has a number, true or false."""


def offered_in(value: object, place: Place) -> tuple[Offered, ...]:
    """A row's options: a list of texts or of objects with a text, an object of texts by their
    letters, or ARC's object of two lists. Raises DataError for fewer than two.

    Of options that have columns or letters of their own, empty ones are left out: rows may have
    different numbers of options. In a list they are an error.
    """
    there = in_role(place, "options")
    if isinstance(value, str):
        value = written_value(value)
    parts, own_names = _parts(value)
    options = []
    for position, (text, marks) in enumerate(parts):
        if _is_empty(text):
            if own_names:
                continue
            hint = "remove it, or leave such rows out with --skip-bad"
            raise DataError(f"option {position + 1} is empty", place=there, hint=hint)
        if isinstance(text, (list, dict)):
            kind = "a list" if isinstance(text, list) else "an object without a text"
            hint = 'write options as ["one", "two"]'
            raise DataError(f"option {position + 1} is {kind}", place=there, hint=hint)
        called = tuple(str(mark) for mark in marks if mark not in (None, ""))
        options.append(Offered(label_name(text), position, called, isinstance(text, str)))
    if len(options) < 2:
        hint = "give a list, or several columns as in --options A,B,C,D"
        raise DataError("two or more options are needed", place=there, hint=hint)
    return tuple(options)


def _parts(value: object) -> tuple[list[tuple[Any, Sequence[object]]], bool]:
    """The text and the marks of each option, and whether the options have names of their own."""
    if isinstance(value, Mapping):
        texts = value.get("text")
        if not isinstance(texts, (list, tuple)):
            return [(text, (letter,)) for letter, text in value.items()], True
        labels, columns = value.get("label") or (), value.get("column") or ()
        marked = zip_longest(texts, labels[: len(texts)], columns)
        return [(text, marks) for text, *marks in marked], bool(columns)
    if not isinstance(value, (list, tuple)):
        return [], False
    return [
        (item["text"], (item.get("label"),))
        if isinstance(item, Mapping) and "text" in item
        else (item, ())
        for item in value
    ], False


def _is_empty(text: object) -> bool:
    return text is None or text != text or (isinstance(text, str) and not text.strip())


# The right one -----------------------------------------------------------------------------------


def right_option(
    value: object, position: int | None, options: Sequence[Offered], place: Place
) -> tuple[int, tuple[str, ...]]:
    """The index of the option that an answer names, and what was put right to find it.

    Parameters
    ----------
    value
        The answer as the file has it: an option's mark, text or letter.
    position
        The option's position, where the file is known to give it. A number among options that are
        texts is one in any case.
    options
        The options of the row.

    Raises
    ------
    DataError
        For an answer that names none of the options; LeftOutError for a row that isn't labelled.
    """
    if _is_empty(value):
        raise DataError("no answer", place=place, hint="leave such rows out with --skip-bad")
    index, repairs = _named(value, position, options)
    if index is None:
        if whole_number(value) == UNLABELLED:
            raise LeftOutError(f"not labelled: the answer is {UNLABELLED}", place=place)
        raise DataError(
            f"answer {label_name(value)!r} is none of the {len(options)} options",
            place=place,
            hint="an answer is an option's text, its position counted from 0, or its letter",
        )
    texts = [option.text for option in options]
    return texts.index(texts[index]), repairs


def _named(
    value: object, position: int | None, options: Sequence[Offered]
) -> tuple[int | None, tuple[str, ...]]:
    if position is not None:
        return _index(options, lambda option: option.position == position), ()
    name = label_name(value)
    if type(value) is int and all(option.is_text for option in options):
        marked = _index(options, lambda option: name in option.marks)
        return (_index(options, lambda o: o.position == value) if marked is None else marked), ()
    for way in (
        lambda option: name in option.marks,
        lambda option: name.upper() in option.marks,
        lambda option: name == option.text,
        lambda option: _are_same_number(value, option),
    ):
        if (index := _index(options, way)) is not None:
            return index, ()
    if (letter := letter_in(name)) is not None:
        for way in (
            lambda option: letter in option.marks,
            lambda option: option.position == ord(letter) - ord("A"),
        ):
            if (index := _index(options, way)) is not None:
                return index, ()
    alike = [i for i, option in enumerate(options) if _folded(option.text) == _folded(name)]
    if len(alike) == 1:
        return alike[0], ("case or white space of the answer taken from the option",)
    return None, ()


def _index(options: Sequence[Offered], way: Callable[[Offered], bool]) -> int | None:
    return next((i for i, option in enumerate(options) if way(option)), None)


def _are_same_number(value: object, option: Offered) -> bool:
    """Whether both are the same whole number, such as 2 and 2.0; but a number that the file doesn't
    write as a text is no option's text."""
    number = whole_number(value)
    either = isinstance(value, str) or not option.is_text
    return either and number is not None and number == whole_number(option.text)


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


# What numbers mean -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Numbering:
    """What numbers and letters mean as answers in a file."""

    first: FirstOption | None
    """The first option's number or letter; None where they are the options' own marks or texts."""
    unclear: bool = False
    """Whether they could be read as positions just as well."""


def numbering_of(answers: Sequence[tuple[object, Sequence[Offered]]]) -> Numbering:
    """What numbers and letters mean, by the answers and options of the first rows: texts of the
    options where each answer is one, else positions, counted as more of the rows agree with."""
    given = [(value, options) for value, options in answers if whole_number(value) != UNLABELLED]
    numbers = [row for row in given if whole_number(row[0]) is not None]
    if numbers:
        if all(isinstance(value, str) for value, _ in numbers) and len(numbers) < 0.9 * len(given):
            return Numbering(None)  # a few numbers among names may be anything
        return _most_fitting((0, 1), numbers)
    if given and all(letter_in(value) and not _marks(options) for value, options in given):
        return _most_fitting(("A",), given)
    return Numbering(None)


def _most_fitting(
    firsts: Sequence[FirstOption], rows: Sequence[tuple[object, Sequence[Offered]]]
) -> Numbering:
    fits = {
        first: sum(
            any(option.position == position_from(first, value) for option in options)
            for value, options in rows
        )
        for first in firsts
    }
    best = max(fits, key=lambda first: fits[first])  # from 0 where both fit
    named = sum(_is_named(value, options) for value, options in rows)
    if named == len(rows) or named > fits[best]:
        marked = all(label_name(value) in _marks(options) for value, options in rows)
        return Numbering(None, unclear=fits[best] == len(rows) and not marked)
    return Numbering(best)


def _is_named(value: object, options: Sequence[Offered]) -> bool:
    """Whether an answer is an option's mark or its text, to the letter."""
    name = label_name(value)
    return any(
        name in option.marks
        or (name == option.text and (isinstance(value, str) or not option.is_text))
        or _are_same_number(value, option)
        for option in options
    )


def _marks(options: Sequence[Offered]) -> set[str]:
    return {mark for option in options for mark in option.marks}
