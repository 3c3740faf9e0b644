"""Reads single values of a record: a text, a list, a number or a label's name."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from onelayer.base.errors import DataError, Place
from onelayer.data.plain_cells import WRITTEN_AS_TEXT
from onelayer.data.written import written_value

FirstOption = int | Literal["A"]
"""What the first of several options is called where positions are numbers or letters."""

_LETTER = re.compile(r"\(?([A-Za-z])[.):]?")
_WHOLE = re.compile(r"-?[0-9]{1,18}(\.0*)?")


def in_role(place: Place, role: str) -> Place:
    """The place of a role's value in a row. ``rows.read_rows`` replaces the role by its column."""
    return replace(place, column=role) if place.line else place


def text_of(
    values: Mapping[str, Any], role: str, place: Place, *, may_be_empty: bool = False
) -> str:
    """The text that plays a role. Raises DataError if it is missing, empty or not a text."""
    value = values.get(role)
    if isinstance(value, str) and (may_be_empty or (value and not value.isspace())):
        return value
    place = in_role(place, role)
    if isinstance(value, bytes):
        hint = "write the column as strings"
        raise DataError(f"{role} is binary, not a text", place=place, hint=hint)
    if value is None or value != value:
        raise DataError(f"no {role}", place=place)
    if isinstance(value, (list, dict)):
        kind = "list" if isinstance(value, list) else "object"
        raise DataError(f"{role} is a {kind}, not a text", place=place)
    if isinstance(value, str):
        raise DataError(f"{role} is empty", place=place)
    if not isinstance(value, (int, float, *WRITTEN_AS_TEXT)):
        raise DataError(f"{role} is a {type(value).__name__}, not a text", place=place)
    return json.dumps(value, default=str)  # Parquet has dates and decimals


def whole_number(value: object) -> int | None:
    """The whole number that a value is, or that a text writes, ``3.0`` too; None for others."""
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def letter_in(value: object) -> str | None:
    """The capital of the one letter that a text is, also as ``(a)`` or ``A.``; None for others."""
    match = _LETTER.fullmatch(value.strip()) if isinstance(value, str) else None
    return match[1].upper() if match else None


def position_from(first: FirstOption, value: object) -> int | None:
    """The position, from 0, that a number or letter gives where the first one is ``first``; None
    for any other value."""
    if isinstance(first, str):
        letter = letter_in(value)
        return None if letter is None else ord(letter) - ord(first)
    number = whole_number(value)
    return None if number is None else number - first


def listed_in(value: str) -> list[Any] | None:
    """The list that a field holds as text, see `written_value`; None if it holds anything else."""
    found = written_value(value)
    return found if isinstance(found, list) else None


_GROUPED = re.compile(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?")


def number_in(value: object) -> float:
    """The number that a value is or that a text writes, also with a percent sign (37 for ``37%``)
    or with commas between thousands; NaN for anything else, and for infinity."""
    if isinstance(value, str):
        value = value.strip().removesuffix("%").strip()
        if _GROUPED.fullmatch(value):
            value = value.replace(",", "")
    try:
        number = math.nan if isinstance(value, bytes) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    return number if math.isfinite(number) else math.nan


_FLAGS = {
    "0": False,
    "0.0": False,
    "false": False,
    "no": False,
    "1": True,
    "1.0": True,
    "true": True,
    "yes": True,
}


def flag_in(value: object) -> bool | None:
    """What a cell of a one-hot column says: 1 or 0, true or false; None for anything else."""
    return _FLAGS.get(str(value).strip().lower())


def label_name(value: object) -> str:
    """A class's name: a text without surrounding spaces, any other value as JSON writes it."""
    return (
        value.strip()
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, default=str)
    )
