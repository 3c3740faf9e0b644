"""One value of a record: the text, list, number or label name that a column holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from onelayer.base.errors import DataError, Place


def is_number(text: str) -> bool:
    """Whether a text is a whole number; 18 digits are enough for anything counted here."""
    return text.isdecimal() and len(text) <= 18


def in_role(place: Place, role: str) -> Place:
    """A spot within a row. ``rows.read_rows`` turns the role into the name of its column."""
    return replace(place, column=role) if place.line else place


def text_of(
    values: Mapping[str, Any], role: str, place: Place, *, may_be_empty: bool = False
) -> str:
    """The text in a role. Raises DataError where there is none."""
    value = values.get(role)
    if isinstance(value, str) and (may_be_empty or (value and not value.isspace())):
        return value
    place = in_role(place, role)
    if value is None or value != value:
        raise DataError(f"no {role}", place=place)
    if isinstance(value, (list, dict)):
        kind = "list" if isinstance(value, list) else "object"
        raise DataError(f"{role} is a {kind}, not a text", place=place)
    if isinstance(value, str):
        raise DataError(f"{role} is empty", place=place)
    return json.dumps(value)


def listed_in(value: str) -> list[Any] | None:
    """The list that a csv's field holds, written as JSON."""
    try:
        found = json.loads(value) if value.lstrip().startswith("[") else None
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) else None


def label_name(value: object) -> str:
    """The name of a class of any type: texts as they are, other values as JSON writes them."""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
