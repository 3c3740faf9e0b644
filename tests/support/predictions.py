"""Compares predictions: words exactly, numbers within the rounding of fp32.

A matrix product may round a row differently by its place in the batch, and by the processor. Bits
are compared only where docs/architecture.md promises them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

import pytest

from onelayer.tasks.answer.answer_rows import Answer


def assert_same_predictions(predictions: Sequence[Any], others: Sequence[Any]) -> None:
    """Asserts equal labels, spans and choices, and numbers within 1e-5, or 1e-4 relative."""
    assert [words(p) for p in predictions] == [words(p) for p in others]
    assert list(numbers(predictions)) == pytest.approx(list(numbers(others)), rel=1e-4, abs=1e-5)


def words(value: Any) -> Any:
    """Everything in a prediction except its numbers."""
    if isinstance(value, Answer):  # candidates with nearly equal scores may swap
        return value.text, value.start, value.end
    if isinstance(value, float):
        return None
    if isinstance(value, dict):
        return {key: words(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [words(item) for item in value]
    return words(asdict(value)) if is_dataclass(value) else value


def numbers(value: Any) -> Iterator[float]:
    """The scores and probabilities of a prediction, or of several."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, Answer):
        yield from (value.score, value.no_answer_score, value.margin)
    elif isinstance(value, dict):
        yield from numbers(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from numbers(item)
    elif is_dataclass(value):
        yield from numbers(asdict(value))
