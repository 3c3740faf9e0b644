"""JSON values, and dataclasses to and from JSON."""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

FLOAT_MAX = sys.float_info.max


def finite(value: Any) -> Any:
    """The value with None for nan and infinity, which JSON has no numbers for."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def matches_type(value: Any, hint: Any) -> bool:
    """Whether a JSON value is of a type.

    A whole number passes as a float, a boolean doesn't pass as a number, and numbers must be
    finite.

    Parameters
    ----------
    value
        What ``json.loads`` gave.
    hint
        A field's annotation: a plain type, ``Literal``, a union, ``tuple[T, ...]``, a list or a
        mapping.
    """
    origin, of = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(matches_type(value, one) for one in of)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in of)
    if hint is float:
        return type(value) in (int, float) and -FLOAT_MAX <= value <= FLOAT_MAX
    if hint is int:
        return type(value) is int
    if hint is None:
        return value is None
    kind = origin or hint
    if not isinstance(value, kind):
        return False
    if isinstance(value, Mapping) and of:
        return all(matches_type(k, of[0]) and matches_type(v, of[1]) for k, v in value.items())
    if isinstance(value, list | tuple) and of:
        each = of if origin is tuple and of[-1] is not Ellipsis else of[:1] * len(value)
        return len(each) == len(value) and all(map(matches_type, value, each))
    return True


def to_plain(value: Any) -> Any:
    """A dataclass, or a collection of dataclasses, as JSON values.

    A field whose default is None is left out while it is None; nan and infinity become null.
    """
    if dataclasses.is_dataclass(value):
        named = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {f.name: to_plain(v) for f, v in named if v is not None or f.default is not None}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return finite(value)


def from_plain(hint: Any, value: Any, name: str = "the value") -> Any:
    """The inverse of ``to_plain``.

    Unknown fields are ignored, and null is read as nan where a float is expected.

    Parameters
    ----------
    hint
        The type to make: a dataclass, or a field's annotation.
    value
        What ``json.loads`` gave.
    name
        What the error calls the value.

    Raises
    ------
    ValueError
        For a value of another type; names the field.
    """
    origin, of = get_origin(hint), get_args(hint)
    if value is None and (hint is float or NoneType in of):
        return math.nan if hint is float else None
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return _dataclass_from(hint, value, name)
    inner = [one for one in of if one is not NoneType]
    if origin in (Union, UnionType) and len(inner) == 1:
        return from_plain(inner[0], value, name)
    if origin is tuple and isinstance(value, list):
        if of[-1] is Ellipsis:
            return _items_from(of[0], value, name)
        if len(of) == len(value):
            pairs = zip(of, value, strict=True)
            return tuple(from_plain(one, item, name) for one, item in pairs)
    elif origin is Mapping and isinstance(value, Mapping):
        items = ((key, from_plain(of[1], item, f"{name}.{key}")) for key, item in value.items())
        return {_key_from(of[0], key, name): item for key, item in items}
    elif matches_type(value, hint):
        return value
    raise ValueError(f"{name} can't be {value!r:.80}")


def _key_from(hint: Any, key: str, name: str) -> Any:
    """A mapping's key: JSON writes numbers as texts."""
    if hint is not int:
        return key
    if not key.isdecimal():
        raise ValueError(f"{name} can't have the key {key!r:.80}")
    return int(key)


def _dataclass_from(kind: Any, values: Mapping[str, Any], name: str) -> Any:
    hints = get_type_hints(kind)
    made = {
        field.name: from_plain(hints[field.name], values.get(field.name), f"{name}.{field.name}")
        for field in dataclasses.fields(kind)
        if field.name in values or field.default is field.default_factory is dataclasses.MISSING
    }
    return kind(**made)


def _items_from(hint: Any, values: Iterable[Any], name: str) -> tuple[Any, ...]:
    """The items of a list. A run records a number for every step, so lists of numbers are checked
    as a whole and not item by item."""
    items = tuple(values)
    if hint is float and set(map(type, items)) == {float} and all(map(math.isfinite, items)):
        return items
    if hint is int and set(map(type, items)) == {int}:
        return items
    return tuple(from_plain(hint, item, name) for item in items)
