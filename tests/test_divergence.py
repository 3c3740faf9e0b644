"""A run whose numbers are no longer finite stops, and is never published as the best model."""

from __future__ import annotations

import math
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import onelayer
from onelayer.base.errors import OneLayerError, UsageError
from onelayer.cli import main as cli
from onelayer.engines.torch_engine import TorchEngine
from onelayer.recipe import Recipe
from onelayer.training import fit
from onelayer.training.history import History, RunProgress
from onelayer.training.progress import Silent
from support.tiny_bert import MakeBert

STEPS = 3
"""Steps of an epoch: 24 rows without the dev rows, eight a batch."""


@pytest.fixture
def train(make_bert: MakeBert, tmp_path: Path) -> Callable[..., Any]:
    """Trains a tiny model on a few rows, in ``tmp_path / "run"``."""
    rows = tmp_path / "rows.csv"
    lines = [f"the cat number {i},{'good' if i % 2 else 'bad'}" for i in range(24)]
    rows.write_text("\n".join(["text,label", *lines]), encoding="utf-8")
    model = make_bert()

    def train(**choices: Any) -> Any:
        choices = {
            "folds": 0,
            "epochs": 3,
            "batch_size": 8,
            "lr": 1e-3,
            "precision": "fp32",
        } | choices
        return onelayer.finetune(rows, model=str(model), out=tmp_path / "run", **choices)

    return train


def breaks_at(step: int, monkeypatch: pytest.MonkeyPatch, *, loss: float | None = math.nan) -> None:
    """From this step on the loss is not finite; if it is None, only the weights aren't."""
    real, calls = fit.update_weights, 0

    def update(network: torch.nn.Module, *others: Any) -> float:
        nonlocal calls
        calls += 1
        found = real(network, *others)
        if calls < step:
            return found
        with torch.no_grad():
            next(network.parameters()).fill_(math.nan)
        return found if loss is None else loss

    monkeypatch.setattr(fit, "update_weights", update)


def left(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.iterdir() if path.name != "rows.csv")


@pytest.mark.parametrize("lr", ["1e30", "1e38"])
def test_absurd_learning_rate_is_named_in_one_line(
    lr: str, train: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OneLayerError) as caught:
        train(lr=float(lr))
    message = str(caught.value)
    assert "\n" not in message
    assert re.search(r"diverged: the (loss of|weights after|logits after) step \d+", message)
    assert f"lower --lr, which is {float(lr):g}" in message
    assert left(tmp_path) == []


def test_diverged_run_exits_with_one_line(
    make_bert: MakeBert, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("text,label\n" + "".join(f"cat {i},{i % 2}\n" for i in range(24)))
    command = ["train", str(rows), "--model", str(make_bert()), "--out", str(tmp_path / "run")]
    assert cli.main([*command, "--lr", "1e30", "--epochs", "2", "--folds", "0"]) == 1
    errors = [x for x in capsys.readouterr().err.splitlines() if x.startswith("onelayer: ")]
    assert len(errors) == 1
    assert "training diverged" in errors[0]
    assert left(tmp_path) == []


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_loss_that_is_not_finite_stops_the_run_and_keeps_the_best_model(
    loss: float, train: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks_at(STEPS + 2, monkeypatch, loss=loss)
    with pytest.raises(OneLayerError) as caught:
        train()
    assert f"the loss of step {STEPS + 2} is {loss}, after a loss of " in str(caught.value)
    assert f"has the best model, of step {STEPS} " in f"{caught.value} ".replace(" (", " ")
    assert left(tmp_path) == ["run"]
    (found,) = onelayer.load(tmp_path / "run").predict(["the cat"])
    assert all(map(math.isfinite, found.probabilities.values()))


def test_weights_that_are_not_finite_are_not_published(
    train: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks_at(STEPS, monkeypatch, loss=None)
    with pytest.raises(OneLayerError, match=f"the weights after step {STEPS} are not finite"):
        train()
    assert left(tmp_path) == []


def test_dev_logits_that_are_not_finite_are_not_published(
    train: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TorchEngine.logits
    monkeypatch.setattr(TorchEngine, "logits", lambda e, x: real(e, x) * np.float32("nan"))
    with pytest.raises(OneLayerError, match=f"the logits after step {STEPS} are not finite"):
        train()
    assert left(tmp_path) == []


class StopAfterSecondStep(Silent):
    def step(self, progress: RunProgress) -> None:
        if progress.step == 2:
            signal.raise_signal(signal.SIGINT)


def test_resumed_run_stops_with_the_same_line_and_leaves_no_state(
    train: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The state was saved after the step that broke the weights, before the loss showed it."""
    breaks_at(2, monkeypatch, loss=None)
    with pytest.raises(KeyboardInterrupt):
        train(reporter=StopAfterSecondStep())
    assert left(tmp_path) == [".run.resume"]
    monkeypatch.undo()
    with pytest.raises(OneLayerError, match="the loss of step 3 is nan, after a loss of"):
        train()
    assert left(tmp_path) == []


def test_finite_score_wins_over_any_other() -> None:
    history, found = History(), []
    for score in (math.nan, math.inf, 0.1, math.inf, math.nan, 0.2):
        history.add_step(1.0, 1e-3, 1, 0.0)
        found.append(history.add_scores({"r": score}, "r"))
    assert found == [True, False, True, False, False, True]
    assert history.best == 0.2


@pytest.mark.parametrize("name", ["lr", "epochs"])
def test_infinite_choice_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"--{name} must be"):
        Recipe(**{name: math.inf})
