"""Runs of few rows: cross-validated scores, and a model that is trained on all rows."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onelayer
from onelayer.base.errors import UsageError
from onelayer.exporting.dev_rows import rows_of_run
from onelayer.prediction.load import load
from onelayer.recipe import Columns, Recipe
from onelayer.training.history import RunProgress
from onelayer.training.out_of_fold import OutOfFold
from onelayer.training.plan import make_plan
from onelayer.training.progress import JsonReporter, Silent, TextReporter
from support.task_cases import CASES, LONG, Case

ONE_A_TASK = [case for case in CASES if case.name in {c.task for c in CASES} | {"tag IOB2"}]
FAST: dict[str, Any] = {"epochs": 1, "lr": 0.01, "batch_size": 8, "precision": "fp32"}


class Listening(Silent):
    def __init__(self) -> None:
        self.remarks: list[str] = []
        self.parts: list[str] = []
        self.steps = 0

    def say(self, remark: str) -> None:
        self.remarks.append(remark)

    def start(self, total_steps: int, part: str) -> None:
        self.parts.append(part)

    def step(self, progress: RunProgress) -> None:
        self.steps += 1


def written(path: Path, labels: Any) -> Path:
    lines = ({"text": f"the cat {i} {label}", "label": label} for i, label in enumerate(labels))
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


@pytest.mark.slow
@pytest.mark.parametrize("case", ONE_A_TASK, ids=lambda case: case.task)
def test_scores_are_those_of_the_held_out_rows(case: Case, bert: Path, tmp_path: Path) -> None:
    file, choices = case.write(tmp_path), FAST | LONG.get(case.task, {}) | case.choices
    recipe = Recipe(model=str(bert), folds=2, **choices)
    run = onelayer.finetune(file, out=tmp_path / "run", recipe=recipe)
    record, plan = run.record, make_plan(file, None, recipe, Silent())
    assert record is not None
    assert record.data is not None
    assert record.dev is not None
    assert record.history is not None
    assert (record.data.train_rows, record.data.dev_rows) == (len(plan.data.rows), 0)
    assert record.data.folds == 2
    assert record.history.best_step == record.history.steps  # the last step is kept
    assert run.path is not None

    rows, encodings, logits = OutOfFold.read(run.path).chunk(plan)
    scorer = run.task.score(rows, run.task.decode(rows, encodings, logits))
    assert (record.dev.folds, record.dev.rows) == (2, len(rows))
    assert scorer() == pytest.approx(dict(record.dev.scores), nan_ok=True)
    assert f"{len(rows)} rows of {file.name}, cross-validated in 2 folds" in " ".join(
        (run.path / "report.html").read_text(encoding="utf-8").split()
    )
    card = (run.path / "README.md").read_text(encoding="utf-8")
    assert "## Scores on all rows, cross-validated in 2 folds" in card
    assert "this model is trained on all rows" in card


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return written(tmp_path / "rows.jsonl", ["good", "bad"] * 15)


def test_progress_names_folds_and_training_says_what_the_score_is(
    rows: Path, bert: Path, tmp_path: Path
) -> None:
    listening = Listening()
    run = onelayer.finetune(
        rows, out=tmp_path / "run", model=str(bert), folds=3, reporter=listening, **FAST
    )
    assert listening.parts == ["fold 1 of 3", "fold 2 of 3", "fold 3 of 3", "all rows"]
    assert listening.steps == 3 * 3 + 4  # 20 rows for each fold, then 30, in batches of 8
    said = "\n".join(listening.remarks)
    assert "30 rows, cross-validated in 3 folds: each is scored by a model of the other" in said
    assert "cross-validated over 3 folds of 30 rows; the model is trained on all 30" in said
    assert run.parts()[1] == "all rows, cross-validated in 3 folds"
    assert run.to_json()["dev"]["folds"] == 3


def test_file_of_few_rows_is_cross_validated_by_default(
    rows: Path, bert: Path, tmp_path: Path
) -> None:
    folded = onelayer.finetune(rows, out=tmp_path / "a", model=str(bert), **FAST)
    split = onelayer.finetune(rows, out=tmp_path / "b", model=str(bert), folds=0, **FAST)
    assert folded.record is not None
    assert split.record is not None
    assert folded.record.data is not None
    assert split.record.data is not None
    assert (folded.record.data.folds, folded.record.data.train_rows) == (4, 30)
    assert (split.record.data.folds, split.record.data.dev_rows) == (0, 3)


def test_model_is_that_of_a_training_on_all_rows(rows: Path, bert: Path, tmp_path: Path) -> None:
    """The folds leave no trace in it: with another number of folds it has the same weights."""
    weights = []
    for folds in (2, 3):
        out = tmp_path / f"run-{folds}"
        onelayer.finetune(rows, out=out, model=str(bert), folds=folds, **FAST)
        weights.append((out / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_two_equal_commands_give_equal_bytes(rows: Path, bert: Path, tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        out = tmp_path / name / "run"
        onelayer.finetune(rows, out=out, model=str(bert), folds=2, **FAST)
        (out / "timing.json").unlink()
        (out / "report.html").unlink()  # it shows tokens a second
        files.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert files[0] == files[1]


@pytest.mark.parametrize("labels", ["abcdef", ["a"] * 3 + ["b"]])
def test_rows_that_can_not_be_held_out_are_trained_on(
    labels: Any, bert: Path, tmp_path: Path
) -> None:
    listening = Listening()
    file = written(tmp_path / "rows.jsonl", labels)
    run = onelayer.finetune(file, out=tmp_path / "run", model=str(bert), reporter=listening, **FAST)
    assert run.predict(["the cat"])[0].label in set(labels)
    assert run.record is not None
    said = "\n".join(listening.remarks)
    if "f" in labels:
        assert run.record.dev is None
        assert "6 rows to train on, and none to hold out" in said
        assert "the model has no score; it is trained on all rows" in said
        assert "no report.html: no row was held out" in said
        assert "Scores" not in (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    else:
        assert run.record.dev is not None
        assert run.record.dev.rows == 3
        assert "1 row is held out by no fold" in said
        assert "warning: in cross-validation no row has the label 'b'" in said


def test_best_seed_is_chosen_by_its_cross_validated_score(
    rows: Path, bert: Path, tmp_path: Path
) -> None:
    run = onelayer.finetune(rows, out=tmp_path / "run", model=str(bert), folds=2, seeds=2, **FAST)
    assert run.record is not None
    assert run.record.seeds is not None
    assert run.record.dev is not None
    kept = run.record.seeds.scores[str(run.record.seeds.kept)]
    assert kept == run.record.dev.scores["accuracy"] == max(run.record.seeds.scores.values())
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "cross-validated in 2 folds" in page


def test_seeds_without_a_score_are_refused(bert: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "rows.jsonl", "abcdef")
    with pytest.raises(UsageError, match="--seeds needs a score to choose by"):
        onelayer.finetune(file, out=tmp_path / "run", model=str(bert), seeds=2, **FAST)
    assert not (tmp_path / "run").exists()


def test_folds_and_a_dev_file_are_refused(rows: Path, bert: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--folds 3 and --dev"):
        onelayer.finetune(rows, dev=rows, out=tmp_path / "run", model=str(bert), folds=3)


@pytest.mark.parametrize("folds", [-1, 1])
def test_impossible_number_of_folds_is_refused(folds: int) -> None:
    with pytest.raises(UsageError, match=f"--folds must be 0, or 2 or more, not {folds}"):
        Recipe(folds=folds)


def test_other_commands_say_that_the_rows_were_learned(
    rows: Path, bert: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    trained = onelayer.finetune(rows, out=run, model=str(bert), folds=2, **FAST)
    assert trained.record is not None
    assert trained.record.dev is not None
    (caveat,) = onelayer.evaluate(run, rows).caveats
    score = trained.record.dev.scores["accuracy"]
    assert caveat == (
        "all of the rows are training rows of the run: its scores flatter; cross-validated, "
        f"accuracy is {score:.4g}"
    )
    assert any("training rows of A" in one for one in onelayer.compare(run, run, rows).caveats)

    said: list[str] = []
    found = rows_of_run(load(run), None, None, Columns(), said.append)
    assert found.learned
    assert (len(found.dev), found.name) == (30, "rows.jsonl, training rows")
    assert said == ["compared on the rows that the model was trained on: --dev FILE gives others"]


def test_reporters_tell_which_fold_is_trained() -> None:
    text, lines = StringIO(), StringIO()
    progress = RunProgress(step=1, loss=0.5, lr=1e-3, tokens=10, seconds=1.0)
    for reporter in (TextReporter(text), JsonReporter(lines)):
        reporter.start(1, "fold 2 of 5")
        reporter.step(progress)
    assert text.getvalue() == "· fold 2 of 5, step 1 of 1: loss 0.5, 10 tokens/s\n"
    assert json.loads(lines.getvalue().splitlines()[0]) == {
        "event": "start",
        "steps": 1,
        "part": "fold 2 of 5",
    }


def test_out_of_fold_logits_are_in_the_order_of_the_file(rows: Path, bert: Path) -> None:
    plan = make_plan(rows, None, Recipe(model=str(bert), folds=3), Silent())
    data = plan.data
    numbers = [np.flatnonzero(data.folds == fold) for fold in range(3)]
    by_fold = [np.stack([i, -i], axis=1).astype(np.float32) for i in numbers]
    found = OutOfFold.of(data, by_fold)
    assert found.logits[:, 0].tolist() == list(range(30))
    assert [row.text for row in found.chunk(plan)[0]] == [row.text for row in data.rows]
