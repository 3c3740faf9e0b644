"""``onelayer.json``: records survive a round trip, and malformed ones are refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from onelayer.base.disk import as_json
from onelayer.base.errors import CheckpointError
from onelayer.checkpoint.record import ModelRecord, read_record

PARITY = {
    "rows": 4,
    "logits": 1.5e-06,
    "changed": None,
    "metric": "pearson",
    "before": 0.9,
    "after": 0.875,
    "interval": [-0.05, 0.0],
    "point": 0.01,
    "tuned": None,
    "drop": 2.5,
}
SPEED = {"latency_ms": 1.25, "texts_per_second": 800.0, "tokens_per_second": 9000.5}
EXPORT = {
    "to": "onnx",
    "precision": "int8",
    "activations": "static",
    "why": None,
    "sha256": "12ab",
    "rows": 4,
    "file": "dev.csv",
    "engines": {"onnxruntime": PARITY, "native": {**PARITY, "logits": None}},
    "bytes": {"run": 1000, "bundle": 300},
    "refused": ["int8 in native costs 2.50 points of pearson, and 1 are allowed"],
    "max_drop": 1.0,
    "machine": "a processor",
    "versions": {"python": "3.11.0"},
    "speed": {"torch": SPEED, "onnxruntime": SPEED},
}
FILE: dict[str, Any] = {
    "format": 1,
    "onelayer": "0.1.0",
    "task": {"name": "regress", "max_length": 64, "mean": 2.0, "deviation": 1.5},
    "layout": {"columns": {"text": "review", "label": "stars"}, "separator": None},
    "recipe": {"model": "starter", "lr": 3e-05, "epochs": 3, "patience": None, "retired": True},
    "choices": ["seed = 1", "a lone \ud800"],
    "data": {
        "train": "a.csv",
        "dev": None,
        "train_sha256": "ab",
        "train_rows": 9,
        "dev_rows": 1,
        "folds": 0,
    },
    "parameters": {"all": 100, "trained": 90, "new": 10},
    "dev": {
        "folds": 0,
        "rows": 1,
        "scores": {"pearson": None, "rmse": 0.5},
        "intervals": {"rmse": [0.25, None]},
        "range": [-3.0, 7.5],
        "caveats": ["no row has the label 'x'"],
        "cross_fitted": 0.25,
    },
    "history": {
        "steps": 2,
        "best_step": 2,
        "restarts": 0,
        "losses": [0.7, None],
        "lrs": [1e-05, 0.0],
        "tokens": [30, 31],
        "evaluations": [{"step": 2, "scores": {"pearson": None, "rmse": 0.5}}],
    },
    "seen": "AAAA",
    "sha256": "0123",
    "seeds": {
        "metric": "pearson",
        "kept": 2,
        "scores": {"1": 0.5, "2": 0.75},
        "mean": 0.625,
        "deviation": 0.125,
    },
    "export": EXPORT,
}


def with_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """The record with every field of the task and the layout that this version writes."""
    own = ModelRecord.from_json(values).to_json()
    for part in ("task", "layout"):
        assert own[part].items() >= values[part].items()
    return {**values, "task": own["task"], "layout": own["layout"]}


def test_record_round_trips_byte_for_byte() -> None:
    expected = with_defaults(FILE)
    assert as_json(ModelRecord.from_json(expected).to_json()) == as_json(expected)
    record = ModelRecord.from_json(expected)
    assert (
        ModelRecord.from_json(json.loads(as_json(record.to_json()))).to_json() == record.to_json()
    )


@pytest.mark.parametrize("part", [name for name in FILE if name not in ("task", "layout")])
def test_record_without_a_part_is_read(part: str) -> None:
    whole = with_defaults(FILE)
    values = {name: value for name, value in whole.items() if name != part}
    format_as_ever = {"format": 1}
    assert ModelRecord.from_json(values).to_json() == format_as_ever | values


def test_null_is_nan_where_a_number_is_expected() -> None:
    record = ModelRecord.from_json(FILE)
    assert record.dev is not None
    assert math.isnan(record.dev.scores["pearson"])
    assert record.dev.intervals["rmse"][0] == 0.25
    assert record.history is not None
    assert math.isnan(record.history.losses[1])
    assert record.export is not None
    assert record.export.engines["onnxruntime"].changed is None


def test_unknown_fields_are_ignored() -> None:
    """Other versions may write other fields into the same format."""
    record = ModelRecord.from_json({**FILE, "careful": [], "data": {**FILE["data"], "rows": 3}})
    assert "careful" not in record.to_json()
    assert record.data is not None
    assert record.data.train_rows == 9


@pytest.mark.parametrize(
    ("part", "value", "message"),
    [
        ("data", [], r"data can't be \[\]"),
        ("data", {"train": 3, "dev": None}, r"data\.train can't be 3"),
        ("history", {"steps": "2", "best_step": 1}, r"history\.steps can't be '2'"),
        ("dev", {"scores": {"f1": "0.5"}, "intervals": {}}, r"dev\.scores\.f1 can't be '0\.5'"),
        ("dev", {"scores": {}, "intervals": {"f1": [1.0]}}, r"dev\.intervals\.f1 can't be"),
        ("choices", "seed = 1", "choices can't be 'seed = 1'"),
        ("recipe", {"lr": [1]}, r"recipe\.lr can't be \[1\]"),
        ("export", {**EXPORT, "bytes": {"run": 1.5}}, r"export\.bytes\.run can't be 1\.5"),
        ("seen", 3, "seen can't be 3"),
        ("format", 4, "format 4, and this version knows 3"),
        ("task", None, "holds no task"),
        ("layout", [], "holds no layout"),
    ],
)
def test_field_of_wrong_type_is_refused_by_name(part: str, value: object, message: str) -> None:
    with pytest.raises(CheckpointError, match=rf"^run/onelayer\.json: .*{message}"):
        read_record({**FILE, part: value}, Path("run"), positions=64)


def test_infinite_numbers_are_refused() -> None:
    history = {**FILE["history"], "losses": [0.5, math.inf]}
    with pytest.raises(CheckpointError, match=r"history\.losses can't be inf"):
        ModelRecord.from_json({**FILE, "history": history})
