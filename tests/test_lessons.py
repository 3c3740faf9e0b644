"""A model learns what another one says: lessons in place of labels, for every task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onelayer
from onelayer.checkpoint.record import TaughtRecord
from onelayer.data.in_memory import source_of
from onelayer.engines.torch_engine import TorchEngine
from onelayer.exporting.dev_rows import rows_of_run
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns, Recipe
from onelayer.training.finetune import learn_lessons
from onelayer.training.lessons import Lessons, answers_to
from onelayer.training.progress import OnceReporter, Silent
from support.task_cases import CASES, LONG, Case

MADE_OF = TaughtRecord(
    by="teacher", sha256=None, what="2 of the 2 layers of teacher", lessons="24 rows"
)
ONE_OF_EACH = ("classify", "classify multi-label", "regress", "tag IOB2", "answer", "choose")


def case_named(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def taught(case: Case, bert: Path, folder: Path) -> tuple[Predictor, list[Any]]:
    """A model of a few steps, and its training rows."""
    choices = {"epochs": 2, "lr": 0.01, "batch_size": 8, "folds": 0, "max_length": 64}
    choices |= LONG.get(case.task, {}) | case.choices
    run = onelayer.finetune(case.write(folder), model=str(bert), out=folder / "run", **choices)
    rows = rows_of_run(run, None, None, Columns(), lambda _: None, apart=True)
    assert rows.train is not None
    return run, list(rows.train)


def learned(run: Predictor, rows: Sequence[Any], folder: Path, **changes: Any) -> Predictor:
    assert run.record is not None
    assert run.record.recipe is not None
    answers = answers_to(run, rows, run.engine, max_tokens=10**9)
    recipe = replace(Recipe.from_json(run.record.recipe), practice=0.0, **changes)
    (file,) = folder.glob("rows.*")
    source = source_of(file)
    return learn_lessons(
        Lessons(answers, MADE_OF), source, dev=None, out=folder / "small", recipe=recipe,
        reporter=Silent(),
    )  # fmt: skip


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_model_learns_the_answers_of_another(name: str, bert: Path, tmp_path: Path) -> None:
    """From the pretrained weights, with a new layer, it comes closer to the teacher than it was
    after a first step."""
    run, rows = taught(case_named(name), bert, tmp_path)
    small = learned(run, rows, tmp_path, epochs=8)
    assert small.record is not None
    assert small.record.history is not None
    losses = small.record.history.losses
    assert np.mean(losses[-3:]) < 0.7 * np.mean(losses[:3])
    assert small.record.taught == MADE_OF
    card = (tmp_path / "small" / "README.md").read_text(encoding="utf-8")
    assert "It is 2 of the 2 layers of teacher, and learned the answers of `teacher`" in card


def test_own_answers_have_no_loss(bert: Path, tmp_path: Path) -> None:
    """A regression's logits are in the labels' unit, and its layer learns in another one."""
    case = case_named("regress")
    run, rows = taught(case, bert, tmp_path)
    small = learned(run, rows, tmp_path, model=str(run.path), epochs=1, lr=1e-9)
    assert small.record is not None
    assert small.record.history is not None
    assert small.record.history.losses[0] < 0.05  # of dropout; numbers of deviation 1 are learned


def test_answers_end_with_the_chunk_that_has_enough_tokens(bert: Path, tmp_path: Path) -> None:
    run, rows = taught(case_named("classify"), bert, tmp_path)
    few = answers_to(run, rows * 100, run.engine, max_tokens=1)
    assert len(few) == 1024
    none = answers_to(run, [], run.engine, max_tokens=1)
    assert len(none) == 0


def test_other_answers_are_another_command(bert: Path, tmp_path: Path) -> None:
    run, rows = taught(case_named("classify"), bert, tmp_path)
    assert isinstance(run.engine, TorchEngine)
    first = Lessons(answers_to(run, rows, run.engine, max_tokens=10**9), MADE_OF)
    again = Lessons(answers_to(run, rows, run.engine, max_tokens=10**9), MADE_OF)
    assert first.digest == again.digest
    targets = np.array(first.encodings.targets)
    targets[0] += 1
    other = replace(first, encodings=replace(first.encodings, targets=targets))
    assert other.digest != first.digest


def test_remark_on_the_same_rows_is_told_once() -> None:
    told: list[str] = []

    class Listening(Silent):
        def say(self, remark: str) -> None:
            told.append(remark)

    reporter = OnceReporter(Listening())
    for remark in ("24 rows", "1-layer: learns", "24 rows"):
        reporter.say(remark)
    assert told == ["24 rows", "1-layer: learns"]
