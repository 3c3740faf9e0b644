"""Recipes in records, including options of older versions that were removed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import onelayer
from onelayer import Recipe
from onelayer.base.errors import UsageError
from onelayer.exporting.dev_rows import rows_of_run
from onelayer.inspection.label_errors import wrong_labels
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns
from onelayer.training.progress import Silent

UNUSED: dict[str, Any] = {
    "recipe": "default",
    "ema": 0.0,
    "layer_decay": 1.0,
    "reinit_layers": 0,
    "label_smoothing": 0.0,
    "r_drop": 0.0,
}
"""The removed options in the record of a run that used none of them."""
USED: dict[str, Any] = {
    "recipe": "careful",
    "ema": 0.98,
    "layer_decay": 0.9,
    "reinit_layers": 1,
    "label_smoothing": 0.1,
    "r_drop": 1.0,
}


@pytest.fixture
def old_run(bert: Path, tmp_path: Path) -> Callable[..., Predictor]:
    """``old_run(**options)`` returns a run whose record holds options of an older version."""
    file = tmp_path / "rows.jsonl"
    rows = [{"text": f"the cat {i}", "label": "ab"[i % 2]} for i in range(24)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def make(**options: Any) -> Predictor:
        run = tmp_path / "run"
        choices: dict[str, Any] = {"epochs": 1, "lr": 1e-3, "precision": "fp32", "folds": 0}
        onelayer.finetune(file, out=run, model=str(bert), **choices)
        record = json.loads((run / "onelayer.json").read_text())
        record["recipe"] |= UNUSED | options
        (run / "onelayer.json").write_text(json.dumps(record))
        return onelayer.load(run)

    return make


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"precision": "fp16"}, "--precision must be fp32 or bf16, not 'fp16'"),
        ({"span_head": "pointer"}, "--span-head must be span or three-way, not 'pointer'"),
        ({"lr": "1e-5"}, "--lr must be a number above 0, not '1e-5'"),
        ({"max_length": 4}, "--max-length must be 8 or more, not 4"),
        ({"warmup": 1.0}, "--warmup must be from 0 to below 1, not 1.0"),
        ({"token_budget": 0}, "--token-budget above 0"),
    ],
)
def test_wrong_option_is_refused_in_python_as_on_the_command_line(
    option: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError) as error:
        Recipe(**option)
    assert message in str(error.value)


def test_recipe_survives_json() -> None:
    recipe = Recipe(task="tag", epochs=2.5, freeze="1", seeds=3)
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_removed_options_that_changed_nothing_are_ignored() -> None:
    assert Recipe.from_json(Recipe(seed=4).to_json() | UNUSED) == Recipe(seed=4)


@pytest.mark.parametrize("option", USED)
def test_removed_option_that_was_used_is_refused_by_name(option: str) -> None:
    with pytest.raises(UsageError, match=f"doesn't have: {option} = {USED[option]}"):
        Recipe.from_json({option: USED[option]})


def test_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="doesn't have: eopchs = 3"):
        Recipe.from_json({"eopchs": 3})


@pytest.mark.slow
def test_run_of_an_older_version_opens_and_its_recipe_is_reused(
    old_run: Callable[..., Predictor], tmp_path: Path
) -> None:
    predictor = old_run()
    assert predictor.predict(["the cat"])
    assert len(rows_of_run(predictor, None, None, Columns(), lambda _: None).dev) == 2
    found = wrong_labels(
        tmp_path / "rows.jsonl", tmp_path / "run", Columns(), folds=2, reporter=Silent()
    ).to_json()
    assert "cross-validation" in found["judged"]


@pytest.mark.slow
def test_run_with_a_removed_option_predicts_but_is_not_trained_again(
    old_run: Callable[..., Predictor], tmp_path: Path
) -> None:
    predictor = old_run(ema=0.98)
    assert predictor.predict(["the cat"])
    assert len(rows_of_run(predictor, None, None, Columns(), lambda _: None).dev) == 2
    with pytest.raises(UsageError, match=r"ema = 0\.98") as error:
        wrong_labels(
            tmp_path / "rows.jsonl", tmp_path / "run", Columns(), folds=2, reporter=Silent()
        )
    assert "\n" not in str(error.value)
