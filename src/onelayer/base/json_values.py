"""Values as JSON can say them."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

FLOAT_MAX = sys.float_info.max


def finite(value: Any) -> Any:
    """The value with nan and infinity as None, which JSON can't say otherwise."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value


def fits(value: Any, hint: Any) -> bool:
    """Whether a value from JSON is of the type that ``hint`` describes: a field's annotation, made
    of the usual types, ``Literal``, unions, ``tuple[T, ...]``, lists and mappings.

    A whole number does for a float, a truth value for no number, and numbers are finite.
    """
    origin, of = get_origin(hint), get_args(hint)
    if origin in (Union, UnionType):
        return any(fits(value, one) for one in of)
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
        return all(fits(k, of[0]) and fits(v, of[1]) for k, v in value.items())
    if isinstance(value, list | tuple) and of:
        each = of if origin is tuple and of[-1] is not Ellipsis else of[:1] * len(value)
        return len(each) == len(value) and all(map(fits, value, each))
    return True
