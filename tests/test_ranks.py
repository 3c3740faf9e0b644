"""Several processes of torchrun train one model as a single process does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onelayer
from onelayer.base.errors import DataError, FirstProcessFailedError, UsageError
from onelayer.cli import main as cli
from onelayer.recipe import Recipe
from onelayer.training import ranks
from onelayer.training.followers import follow
from onelayer.training.history import RunProgress
from onelayer.training.plan import Plan, make_plan
from onelayer.training.progress import Silent
from onelayer.training.ranks import Finished, Message, Planned, Ranks
from support.tiny_bert import MakeBert

CHOICES: dict[str, Any] = {
    "folds": 0,
    "epochs": 2.0,  # as the command line reads it
    "batch_size": 7,
    "lr": 1e-2,
    "precision": "fp32",
    "patience": 9,
}


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    lines = ["text,label"]
    for i in range(40):
        word = "good" if i % 2 else "bad"
        lines.append(f"{' '.join(['the cat is'] * int(rng.integers(1, 9)))} {word} {i},{word}")
    (tmp_path / "rows.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path / "rows.csv"


def torchrun(rows: Path, model: Path, out: Path) -> subprocess.CompletedProcess[str]:
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in CHOICES.items()]
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    train = ["-m", "onelayer", "train", str(rows), f"--model={model}", f"--out={out}", *flags]
    command = [sys.executable, *launch, *train]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def losses(run: Path) -> list[float]:
    record: dict[str, Any] = json.loads((run / "onelayer.json").read_text(encoding="utf-8"))
    found: list[float] = record["history"]["losses"]
    return found


@pytest.mark.process
def test_two_processes_have_the_losses_of_one(
    rows: Path, make_bert: MakeBert, tmp_path: Path
) -> None:
    model = make_bert()
    done = torchrun(rows, model, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("saved ") == 1
    assert done.stderr.count("2 processes train together") == 1
    assert done.stderr.count("epochs = 2") == 1
    onelayer.finetune(rows, model=str(model), out=tmp_path / "one", **CHOICES)
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=1e-5)


class Stop(Silent):
    def step(self, progress: RunProgress) -> None:
        if progress.step == 5:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.process
def test_two_processes_resume_the_run_of_one(
    rows: Path, make_bert: MakeBert, tmp_path: Path
) -> None:
    model = make_bert()
    choices = CHOICES | {"model": str(model)}
    with pytest.raises(KeyboardInterrupt):
        onelayer.finetune(rows, out=tmp_path / "stopped", reporter=Stop(), **choices)
    done = torchrun(rows, model, tmp_path / "stopped")
    assert done.returncode == 0, done.stderr
    assert "resumes after step 5" in done.stderr, done.stderr
    assert "processes 1 → 2" in done.stderr
    onelayer.finetune(rows, out=tmp_path / "whole", **choices)
    np.testing.assert_allclose(losses(tmp_path / "stopped"), losses(tmp_path / "whole"), rtol=1e-5)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What this process, as the first of two, tells the other one."""
    messages: list[Message] = []
    monkeypatch.setattr(ranks, "_current", Ranks(0, 2))

    def send(self: Ranks, message: Message) -> None:
        if self.leads:
            messages.append(message)

    monkeypatch.setattr(Ranks, "send", send)
    return messages


class Said(Silent):
    def __init__(self) -> None:
        self.remarks: list[str] = []

    def say(self, remark: str) -> None:
        self.remarks.append(remark)


def test_cross_validated_rows_are_trained_by_one_process(
    rows: Path, make_bert: MakeBert, tmp_path: Path, sent: list[Message]
) -> None:
    said, choices = Said(), CHOICES | {"model": str(make_bert()), "folds": 2, "epochs": 1.0}
    onelayer.finetune(rows, out=tmp_path / "run", reporter=said, **choices)
    assert [type(message) for message in sent] == [Planned, Finished]
    assert any("40 rows are trained by one process" in remark for remark in said.remarks)


def test_failure_of_the_first_process_ends_the_others(
    tmp_path: Path, make_bert: MakeBert, sent: list[Message]
) -> None:
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    with pytest.raises(DataError):
        onelayer.finetune(tmp_path / "empty.csv", model=str(make_bert()))
    assert sent == [Finished(None)]


def test_shares_of_a_batch_are_its_examples_and_of_like_size() -> None:
    lengths = np.random.default_rng(0).integers(5, 60, size=33)
    shares = [Ranks(rank, 4).share(lengths) for rank in range(4)]
    assert sorted(np.concatenate(shares).tolist()) == list(range(33))
    sums = [int(lengths[share].sum()) for share in shares]
    assert max(sums) < 1.5 * min(sums)
    assert Ranks().share(lengths).tolist() == list(range(33))


def test_a_batch_smaller_than_the_number_of_processes_leaves_some_without_work() -> None:
    assert [len(Ranks(rank, 3).share(np.array([7, 9]))) for rank in range(3)] == [1, 1, 0]


def test_other_commands_than_train_refuse_torchrun_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli.main(["eval", "run", "rows.csv"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "torchrun is for train" in line


def test_more_processes_than_gpus_are_refused_in_one_line(
    rows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": "0"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UsageError, match=r"2 processes for 1 GPU.*--nproc-per-node 1"):
        onelayer.finetune(rows)


def test_process_with_another_file_is_refused_in_one_line(
    rows: Path, make_bert: MakeBert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ranks, "receive", lambda _: Planned("another"))
    plan = make_plan(rows, None, Recipe(model=str(make_bert())), Silent())
    with pytest.raises(UsageError, match="rank 1 got other files or options than rank 0"):
        follow(Ranks(1, 2), lambda: plan)


def test_process_ends_when_the_first_one_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_plan() -> Plan:
        raise AssertionError("nothing was planned")

    monkeypatch.setattr(Ranks, "receive", lambda _: Finished(None))
    with pytest.raises(FirstProcessFailedError):
        follow(Ranks(1, 2), no_plan)
