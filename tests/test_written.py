"""Lists and objects that a csv's field holds as text."""

from __future__ import annotations

from typing import Any

import pytest

from onelayer.data.values import whole_number
from onelayer.data.written import LONGEST_WRITTEN, written_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('["a", "b"]', ["a", "b"]),
        ("['a', \"it's\"]", ["a", "it's"]),
        ("('a', 'b')", ["a", "b"]),
        ("[1, -2, None]", [1, -2, None]),
        ("['a b' 'c'\n 'd']", ["a b", "c", "d"]),
        ("{'text': ['1712'], 'answer_start': [33]}", {"text": ["1712"], "answer_start": [33]}),
        (
            "{'text': array(['1712'], dtype=object), 'answer_start': array([33], dtype=int32)}",
            {"text": ["1712"], "answer_start": [33]},
        ),
        ("{'text': array([], dtype=object)}", {"text": []}),
        (' {"a": [1.5, true]} ', {"a": [1.5, True]}),
        ("a text", None),
        ("[sic] he said", None),
        ("[open('x')]", None),
        ("[__import__('os').system('x')]", None),
        ("{**{}}", None),
        ("12", None),
        ("", None),
        ("(" * 500, None),
        ("[" * 100_000, None),
        ("['" + "a" * LONGEST_WRITTEN + "']", None),
    ],
)
def test_list_or_object_is_read_from_text(text: str, value: Any) -> None:
    assert written_value(text) == value


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (3, 3),
        (3.0, 3),
        ("3", 3),
        (" 3.0 ", 3),
        ("-1", -1),
        (3.5, None),
        ("3.5", None),
        (True, None),
        (None, None),
        (float("nan"), None),
        (1e300, None),
        ("9" * 19, None),
        ("٣", None),
        ([3], None),
    ],
)
def test_whole_number_is_read_in_any_notation(value: object, number: int | None) -> None:
    assert whole_number(value) == number
