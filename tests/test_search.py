"""Runs of several seeds, and restarts of stuck runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

import onelayer
from onelayer.base.errors import Place, UsageError
from onelayer.tasks import Classify
from onelayer.tasks.texts import TextRow
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training import fit, run_store
from onelayer.training.dataset import TrainingData, TrainingSource, read_data
from onelayer.training.history import RunProgress
from onelayer.training.prior import ClassPrior, class_prior
from onelayer.training.progress import Silent
from onelayer.training.search import seeds_folder
from support.tiny_bert import MakeBert

pytestmark = pytest.mark.slow

Lines = list[dict[str, Any]]

TASK = Classify(labels=("a", "b"), max_length=64)


def lines(n: int, start: int = 0) -> Lines:
    words = ["the cat", "good", "x y z and more of it", "bad"]
    rows = range(start, start + n)
    return [
        {"text": f"{words[i % 4]} {i}", "label": "ab"[i % 4 in (1, 2) or i % 11 == 0]} for i in rows
    ]


def written(path: Path, found: Lines) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in found), encoding="utf-8")
    return path


@pytest.fixture
def model(make_bert: MakeBert) -> Path:
    return make_bert(hidden_dropout_prob=0.1)


@pytest.fixture
def finetuned(tmp_path: Path, model: Path) -> Callable[..., onelayer.Predictor]:
    """Fine-tunes with a dev file, so that all seeds train on the same rows."""
    train = written(tmp_path / "train.jsonl", lines(40))
    dev = written(tmp_path / "dev.jsonl", lines(16, start=100))

    def run(out: str, **choices: Any) -> onelayer.Predictor:
        settings = {"epochs": 2, "lr": 2e-3, "batch_size": 8, "precision": "fp32"} | choices
        return onelayer.finetune(train, dev=dev, out=tmp_path / out, model=str(model), **settings)

    return run


def weights(predictor: onelayer.Predictor) -> bytes:
    assert predictor.path is not None
    return (predictor.path / "model.safetensors").read_bytes()


def record(predictor: onelayer.Predictor) -> dict[str, Any]:
    assert predictor.record is not None
    return predictor.record.to_json()


class FailAt(Silent):
    """A reporter that raises at a step, counted over all runs, and counts the started runs."""

    def __init__(self, at: int | None = None) -> None:
        self.at, self.runs, self.steps = at, 0, 0
        self.remarks: list[str] = []

    def say(self, remark: str) -> None:
        self.remarks.append(remark)

    def start(self, total_steps: int, part: str) -> None:
        self.runs += 1

    def step(self, progress: RunProgress) -> None:
        self.steps += 1
        if self.steps == self.at:
            raise InterruptedError


# Several seeds -----------------------------------------------------------------------------------


def test_only_the_best_seed_is_kept(
    finetuned: Callable[..., onelayer.Predictor], tmp_path: Path
) -> None:
    alone = {seed: finetuned(f"alone-{seed}", seed=seed) for seed in (4, 5, 6)}
    scores = {s: record(run)["dev"]["scores"]["accuracy"] for s, run in alone.items()}
    reporter = FailAt()
    best = finetuned("best", seed=4, seeds=3, reporter=reporter)
    kept = record(best)["seeds"]["kept"]
    assert scores[kept] == max(scores.values())
    assert weights(best) == weights(alone[kept])
    values = list(scores.values())
    assert record(best)["seeds"] == {
        "metric": "accuracy",
        "kept": kept,
        "scores": {str(seed): score for seed, score in scores.items()},
        "mean": pytest.approx(np.mean(values)),
        "deviation": pytest.approx(np.std(values, ddof=1)),
    }
    assert reporter.remarks[-1].startswith("accuracy 0.")
    assert f" over 3 seeds; kept seed {kept}, whose own score is the best" in reporter.remarks[-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        *("alone-4", "alone-5", "alone-6", "best", "dev.jsonl", "train.jsonl")
    ]
    assert "\n# best\n" in (tmp_path / "best/README.md").read_text()


def test_seeds_share_one_split(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file is read and split once, by the first seed."""
    splits = []

    def spy(source: TrainingSource, *rest: Any) -> TrainingData:
        splits.append(source.recipe.seed)
        return read_data(source, *rest)

    monkeypatch.setattr("onelayer.training.plan.read_data", spy)
    train = written(tmp_path / "train.jsonl", lines(40))
    choices: dict[str, Any] = {"model": str(model), "epochs": 1, "lr": 1e-3}
    onelayer.finetune(train, out=tmp_path / "run", seed=7, seeds=2, **choices)
    assert splits == [7]


def test_stopped_seeds_resume(finetuned: Callable[..., onelayer.Predictor]) -> None:
    whole = finetuned("whole", seeds=2)
    with pytest.raises(InterruptedError):
        finetuned("stopped", seeds=2, reporter=FailAt(at=12))  # ten steps a run
    reporter = FailAt()
    stopped = finetuned("stopped", seeds=2, reporter=reporter)
    assert reporter.runs == 1  # the first one was finished
    assert weights(stopped) == weights(whole)
    assert record(stopped) == record(whole)


def test_refused_command_leaves_nothing(
    finetuned: Callable[..., onelayer.Predictor], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--freeze 9"):
        finetuned("run", seeds=2, freeze="9")
    assert not (tmp_path / "run").exists()
    assert not seeds_folder(tmp_path / "run").exists()


def test_runs_of_another_command_are_not_resumed(
    finetuned: Callable[..., onelayer.Predictor],
) -> None:
    with pytest.raises(InterruptedError):
        finetuned("run", seeds=2, reporter=FailAt(at=12))
    with pytest.raises(UsageError, match="unfinished runs of another command"):
        finetuned("run", seeds=2, lr=1e-3)
    reporter = FailAt()
    finetuned("run", seeds=2, lr=1e-3, resume=False, reporter=reporter)
    assert reporter.runs == 2


def test_resume_without_unfinished_runs_is_refused(
    finetuned: Callable[..., onelayer.Predictor],
) -> None:
    with pytest.raises(UsageError, match="no unfinished runs of this command to resume"):
        finetuned("run", seeds=2, resume=True)


def test_runs_without_out_take_the_next_free_name_or_resume_their_own(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs/set-1").mkdir(parents=True)
    train = written(tmp_path / "set.jsonl", lines(40))
    choices: dict[str, Any] = {"model": str(model), "epochs": 1, "lr": 1e-3, "seeds": 2}
    with pytest.raises(InterruptedError):
        onelayer.finetune(train, reporter=FailAt(at=3), **choices)
    assert onelayer.finetune(train, **choices).path == Path("runs/set-2")
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["set-1", "set-2"]


# Stuck at the class prior ------------------------------------------------------------------------


@pytest.mark.parametrize("class_weights", [None, torch.tensor([0.5, 3.0])])
def test_prior_loss_equals_the_best_constant(
    tokenizer: Tokenizer, class_weights: torch.Tensor | None
) -> None:
    rows = [TextRow("x", None, label, Place("rows.jsonl")) for label in "aaab"]
    encodings = TASK.encode(rows, tokenizer, labelled=True)
    weights = None if class_weights is None else class_weights.numpy()
    prior = class_prior("label", encodings, weights)
    assert prior is not None
    constant = torch.zeros(1, 2, requires_grad=True)
    gold = torch.tensor([0, 0, 0, 1])
    optimizer = torch.optim.LBFGS([constant], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        found = F.cross_entropy(constant.expand(4, 2), gold, class_weights)
        found.backward()
        return found

    optimizer.step(loss)
    assert prior.loss == pytest.approx(float(loss().detach()), abs=1e-5)


def test_run_is_stuck_if_it_predicts_one_class_at_the_prior_loss() -> None:
    prior = ClassPrior(0.6)
    one = np.asarray([[2.0, 1.0], [0.5, 0.1]])
    both = np.asarray([[2.0, 1.0], [0.1, 0.5]])
    for logits, losses, stuck in (
        (one, [0.7, 0.5], True),
        (one, [0.6, 0.58], False),
        (both, [0.7, 0.7], False),
    ):
        chunk: Any = ([], None, logits)
        assert list(prior.watch([chunk])) == [chunk]
        assert prior.explains(losses) == stuck


@pytest.fixture
def stuck_once(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[float]]:
    """Makes the first check find a run stuck; returns the losses of each check."""
    monkeypatch.setattr(fit, "MIN_STEPS_BEFORE_RESTART", 0)
    looks: list[Sequence[float]] = []

    def explains(_: ClassPrior, losses: Sequence[float]) -> bool:
        looks.append(list(losses))
        return len(looks) == 1

    monkeypatch.setattr(ClassPrior, "explains", explains)
    return looks


def test_stuck_run_is_restarted_with_another_seed(
    finetuned: Callable[..., onelayer.Predictor], stuck_once: list[Sequence[float]]
) -> None:
    reporter = FailAt()
    run = finetuned("run", seed=3, epochs=4, reporter=reporter)
    assert [len(losses) for losses in stuck_once] == [5] * 4  # from the middle on
    history = record(run)["history"]
    assert history["restarts"] == 1
    assert len(history["losses"]) == 20
    (line,) = (remark for remark in record(run)["choices"] if remark.startswith("stuck"))
    assert line.endswith("restarted with seed = 1003")
    other = finetuned("other", seed=1003, epochs=4)
    assert weights(run) == weights(other)


def test_short_run_is_not_restarted(
    finetuned: Callable[..., onelayer.Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ClassPrior, "explains", lambda *_: True)
    assert record(finetuned("run"))["history"]["restarts"] == 0


def test_run_is_restarted_at_most_twice(
    finetuned: Callable[..., onelayer.Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "MIN_STEPS_BEFORE_RESTART", 0)
    monkeypatch.setattr(ClassPrior, "explains", lambda *_: True)
    reporter = FailAt()
    history = record(finetuned("run", reporter=reporter))["history"]
    assert reporter.runs == 3
    assert history["restarts"] == 2
    assert history["steps"] == 10  # the last one is trained to its end


@pytest.mark.parametrize("at", [3, 13])
def test_stopped_run_resumes_in_the_same_attempt(
    at: int, finetuned: Callable[..., onelayer.Predictor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is stuck after five steps; it is stopped in the first or the second attempt."""
    losses = record(finetuned("unstuck", seed=3))["history"]["losses"]

    def explains(_: ClassPrior, found: Sequence[float]) -> bool:
        return round(found[-1], 6) == losses[4]

    monkeypatch.setattr(fit, "MIN_STEPS_BEFORE_RESTART", 0)
    monkeypatch.setattr(ClassPrior, "explains", explains)
    monkeypatch.setattr(run_store, "MIN_SECONDS_BETWEEN_STATES", 0.0)
    monkeypatch.setattr(run_store, "MIN_TRAINING_PER_SAVING", 0)
    whole = finetuned("whole", seed=3)
    assert record(whole)["history"]["restarts"] == 1
    with pytest.raises(InterruptedError):
        finetuned("run", seed=3, reporter=FailAt(at))
    reporter = FailAt()
    resumed = finetuned("run", seed=3, reporter=reporter)
    assert reporter.steps == 5 + 10 - (at - 1)
    assert weights(resumed) == weights(whole)
    assert record(resumed) == record(whole)
