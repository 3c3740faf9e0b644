"""Checking a value from JSON against a field's annotation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import pytest

from onelayer.base.json_values import matches_type


@pytest.mark.parametrize(
    ("value", "hint", "right"),
    [
        (1, int, True),
        (True, int, False),
        (1.0, int, False),
        (1, float, True),
        (True, float, False),
        (math.nan, float, False),
        (math.inf, float, False),
        (10**400, float, False),
        (False, bool, True),
        (0, bool, False),
        ("a", str, True),
        (None, str | None, True),
        (1, str | None, False),
        ("a", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        (True, Literal[1], False),
        (("a", "b"), tuple[str, ...], True),
        ((), tuple[str, ...], True),
        (("a", 1), tuple[str, ...], False),
        ("ab", tuple[str, ...], False),
        ((0.5, 1), tuple[float, int], True),
        ((0.5, 1, 2), tuple[float, int], False),
        (((0.5, 1),), tuple[tuple[float, int], ...], True),
        ((0.5,), float | tuple[float, ...], True),
        (["a", ["b"]], list[str | list[str]], True),
        ({"a": 1}, Mapping[str, float], True),
        ({"a": "1"}, Mapping[str, float], False),
        ([], Mapping[str, float], False),
    ],
)
def test_value_is_checked_against_its_annotation(value: Any, hint: Any, right: bool) -> None:
    assert matches_type(value, hint) is right
