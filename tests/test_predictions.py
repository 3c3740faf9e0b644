"""Methods of all predictions, including those of a task that defines none itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest

from onelayer.base.errors import UsageError
from onelayer.prediction.formats import form_of
from onelayer.tasks.classify.class_predictions import Label
from onelayer.tasks.predictions import BasePrediction


@dataclass(frozen=True, slots=True)
class Inner:
    share: float


@dataclass(frozen=True, slots=True)
class Prediction(BasePrediction):
    score: float
    parts: tuple[Inner, ...] = ()
    note: str | None = None


def test_json_numbers_have_seven_digits() -> None:
    one = Prediction(0.123456789, (Inner(1 / 3),))

    assert one.to_json() == {"score": 0.1234568, "parts": [{"share": 0.3333333}]}


def test_infinite_number_is_null_in_json() -> None:
    assert Prediction(math.inf).to_json()["score"] is None


def test_json_omits_fields_that_were_not_requested() -> None:
    probabilities = {"a": 0.9, "b": 0.1}

    assert "label_set" not in Label("a", 0.9, probabilities).to_json()
    assert Label("a", 0.9, probabilities, ("a",)).to_json()["label_set"] == ["a"]
    assert Label(None, 0.9, probabilities).to_json()["label"] is None


def test_prediction_without_a_headline_shows_its_json() -> None:
    assert Prediction(0.5, note="北京").headline == '{"score": 0.5, "parts": [], "note": "北京"}'
    assert Prediction(0.5).decision == Prediction(0.5).headline


@pytest.mark.parametrize(
    ("name", "form"),
    [("a.csv", "csv"), ("a.PARQUET", "parquet"), ("a.jsonl", "jsonl"), ("a", "jsonl")],
)
def test_output_has_the_format_of_its_name(name: str, form: str) -> None:
    assert form_of(name) == form


@pytest.mark.parametrize("name", ["a.xlsx", "a.feather", "a.csv.gz"])
def test_name_that_promises_another_format_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=r"no \.\w+ files are written \(name it \.jsonl"):
        form_of(name)
