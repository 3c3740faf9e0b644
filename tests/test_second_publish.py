"""A process dies at each disk operation of replacing what it wrote before: the old one or the new
one is whole, and the same command ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onelayer
from onelayer.base import disk
from onelayer.checkpoint.bundle import read_bundle
from onelayer.checkpoint.read import read_checkpoint
from onelayer.data.layout import Layout
from onelayer.exporting import export as exporting
from onelayer.exporting.export import _Job
from onelayer.prediction.job import predict_to
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns
from onelayer.tasks import Classify
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training import fit, run_store, trainer
from onelayer.training.history import History
from onelayer.training.progress import Silent
from onelayer.training.run_store import Store
from support.dying import dying, every_death

pytestmark = pytest.mark.slow


@pytest.fixture(params=["exchange", "two renames"], autouse=True)
def both_ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "two renames":
        monkeypatch.setattr(disk, "_exchange", lambda *_: False)


def bytes_in(folder: Path) -> dict[str, bytes]:
    """The files that don't name their place or a time."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in ("timing.json", "report.html")
    }


class Remarks(Silent):
    def __init__(self) -> None:
        self.told: list[str] = []

    def say(self, remark: str) -> None:
        self.told.append(remark)


class Command:
    """One training command, whose model is better after each of its two epochs."""

    def __init__(self, folder: Path, model: Path) -> None:
        folder.mkdir()
        self.folder, self.model, self.out = folder, model, folder / "run"
        lines = (json.dumps({"text": f"cat {i}", "label": str(i % 2)}) for i in range(12))
        (folder / "rows.jsonl").write_text("\n".join(lines) + "\n")

    def run(self, reporter: Silent | None = None, **more: Any) -> Predictor:
        choices = {
            "epochs": 2,
            "lr": 0.01,
            "batch_size": 16,
            "precision": "fp32",
            "folds": 0,
        } | more
        rows, model = self.folder / "rows.jsonl", str(self.model)
        return onelayer.finetune(rows, out=self.out, model=model, reporter=reporter, **choices)

    def dies_in_the_second_publish(self, at: int) -> bool:
        """Whether the command died; it dies at an operation of replacing its best model."""
        publish, times = disk.publish, []

        def watched(target: Path, write: Any) -> None:
            times.append(target)
            death.armed = times.count(self.out) == 2 and target == self.out
            publish(target, write)
            death.armed = False

        finished = False
        with pytest.MonkeyPatch.context() as patch, dying(at) as death:
            death.armed = False
            patch.setattr(run_store, "publish", watched)
            self.run()
            finished = True
        return not finished


@pytest.fixture(autouse=True)
def _always_better(monkeypatch: pytest.MonkeyPatch) -> None:
    add = History.add_scores
    monkeypatch.setattr(
        History,
        "add_scores",
        lambda history, scores, metric, **_: add(history, scores, metric) or _best(history),
    )
    monkeypatch.setattr(fit.time, "perf_counter", lambda: 0.0)
    monkeypatch.setattr(Store, "is_state_due", lambda _: True)
    monkeypatch.setattr(trainer, "draw_report", lambda *_: None)


def _best(history: History) -> bool:
    history.best_step = history.step
    return True


def test_run_resumes_after_a_death_while_its_best_model_is_replaced(
    bert: Path, tmp_path: Path
) -> None:
    whole = Command(tmp_path / "whole", bert)
    whole.run()
    expected, seen = bytes_in(whole.out), set()
    at = 0
    while True:
        command = Command(tmp_path / str(at), bert)
        if not command.dies_in_the_second_publish(at):
            break
        remarks = Remarks()
        if at % 5 == 0 or not command.out.exists():  # each has a whole model, some are run again
            command.run(remarks)
            assert any("resumes after step" in remark for remark in remarks.told)
            assert bytes_in(command.out) == expected
            assert not list(command.folder.glob(".*"))
        else:
            read_checkpoint(command.out)
            seen.add((command.out / "model.safetensors").read_bytes())
        shutil.rmtree(command.folder)
        at += 1
    assert at > 20
    assert len(seen) == 2


def test_prediction_finds_the_model_after_a_death_between_two_renames(
    bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = Command(tmp_path / "x", bert)
    command.run()
    command.out.rename(tmp_path / "x" / ".run.old")
    (tmp_path / "x" / ".run.staged").mkdir()
    assert len(onelayer.predict(str(command.out), ["a cat"]).predictions or ()) == 1
    assert onelayer.inspect(command.out)


def test_removed_states_are_named(bert: Path, tmp_path: Path) -> None:
    for at, changes, reason in (
        (0, {"lr": 0.02}, "is of another command"),
        (1, {"resume": False}, ""),
        (2, {}, "is gone, with the best model"),
    ):
        command, remarks = Command(tmp_path / str(at), bert), Remarks()
        assert command.dies_in_the_second_publish(3)
        shutil.rmtree(command.out)
        command.run(remarks, **changes)
        said = " ".join(remarks.told)
        assert "starts at step 1; the states of an unfinished run are removed" in said
        assert reason in said


def test_bundle_is_whole_after_a_death_while_it_is_replaced(
    bundle: Path, make_bert: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_bert("BertForSequenceClassification", labels=("no", "yes"))
    out = tmp_path / "bundle"
    rows = tmp_path / "dev.jsonl"
    rows.write_text('{"text": "a good cat", "label": "yes"}\n' * 3)

    def copied(job: Any, folder: Path) -> None:
        """In place of the graph's making, which has no part in the move."""
        shutil.copytree(bundle, folder, dirs_exist_ok=True)
        (folder / "README.md").write_text(os.urandom(8).hex())
        job._found = read_bundle(bundle).export

    def export() -> None:
        columns = Columns(text="text", label="label")
        exporting.export_run(model, out=out, dev=rows, accept=True, columns=columns)

    monkeypatch.setattr(_Job, "write", copied)
    loaded = onelayer.load(model)
    monkeypatch.setattr(exporting, "load", lambda _: loaded)
    export()
    deaths = 0
    for at in every_death(export):
        deaths += 1
        if at % 3 == 0:
            onelayer.load(out, "onnxruntime")  # it is found and its weights are whole
        disk.restore(out)
        assert bytes_in(out).keys() == bytes_in(bundle).keys()
    assert deaths > 15
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "dev.jsonl"]


class LengthsAsLogits:
    name = "lengths"

    def logits(self, encodings: Encodings) -> Logits:
        return np.stack([encodings.lengths, np.ones_like(encodings.lengths)], 1) / 9


@pytest.fixture
def model(tokenizer: Tokenizer, bert: Path) -> Predictor:
    task = Classify(labels=("no", "yes"), max_length=12)
    return Predictor(task, tokenizer, LengthsAsLogits(), Layout({"text": "text"}), path=bert)


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_predictions_are_whole_after_a_death_while_they_are_replaced(
    form: str, model: Predictor, tmp_path: Path
) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / f"out.{form}"

    def predict(texts: int) -> None:
        rows.write_text("".join(["text\n", *(f"cat {i}\n" for i in range(texts))]))
        predict_to(out, replace(model), rows, Columns(), form)

    predict(7)
    new = out.read_bytes()
    predict(5)
    old, seen = out.read_bytes(), []
    out.chmod(0o640)
    for _ in every_death(lambda: predict(7)):
        seen.append(out.read_bytes())
        assert seen[-1] in (old, new)
        assert out.stat().st_mode & 0o777 == 0o640
        predict(7)
        assert out.read_bytes() == new
        predict(5)
    assert {old, new} <= set(seen)
    assert sorted(path.name for path in tmp_path.iterdir()) == [out.name, "rows.csv"]
