"""A new engine is one file and one registry entry: every command then takes it by name."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import onelayer
from onelayer.base.errors import UsageError
from onelayer.cli import main as cli
from onelayer.engines.registry import ENGINES
from onelayer.serving.http.app import make_app

TOY = '''
"""An engine that finds every text most likely to have the last label."""

import numpy as np


class ToyEngine:
    name = "toy"
    title = "Toy"
    package = None

    @classmethod
    def why_not(cls, bundle):
        return None if bundle.precision == "fp32" else "it plays in fp32 alone"

    @classmethod
    def of_bundle(cls, bundle):
        return cls(len(bundle.task.outputs))

    def __init__(self, n_outputs):
        self.n_outputs = n_outputs

    def logits(self, encodings):
        row = np.arange(self.n_outputs, dtype=np.float32)
        return np.tile(row, (len(encodings.reads), 1))
'''


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Registers the engine, written in a file of its own, for one test."""
    (tmp_path / "toy_engine.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(ENGINES, "toy", lambda: importlib.import_module("toy_engine").ToyEngine)
    yield
    sys.modules.pop("toy_engine", None)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    texts = [("a good cat", "yes"), ("the bad cat", "no")] * 4
    lines = (json.dumps({"text": text, "label": label}) for text, label in texts)
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_new_engine_predicts_and_evaluates(
    toy: None, bundle: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["predict", str(bundle), str(rows), "--engine", "toy"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["prediction"]["label"] for answer in answers] == ["yes"] * 8
    columns = ["--text", "text", "--label", "label"]
    assert cli.main(["eval", str(bundle), str(rows), *columns, "--engine", "toy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["scores"]["accuracy"] == 0.5
    assert cli.main(["inspect", str(bundle)]) == 0
    assert "toy" in capsys.readouterr().out


def test_new_engine_serves(toy: None, bundle: Path) -> None:
    with TestClient(make_app({"cats": onelayer.load(bundle, "toy")})) as client:
        answer = client.post("/v1/models/cats/classify", json={"inputs": ["the bad cat"]})
    assert answer.status_code == 200
    assert "yes" in answer.text


@pytest.mark.slow
def test_new_engine_is_measured_and_recorded_by_export(
    toy: None, bundle: Path, rows: Path, make_bert: Any, tmp_path: Path
) -> None:
    model = make_bert("BertForSequenceClassification", labels=("no", "yes"))
    arguments = ["export", model, "--dev", rows, "--out", tmp_path / "out", "--accept"]
    assert cli.main([*map(str, arguments), "--text", "text", "--label", "label"]) == 0
    record = json.loads((tmp_path / "out" / "onelayer.json").read_text())["export"]
    assert {"toy", "onnxruntime"} <= record["engines"].keys()
    assert "Toy" in (tmp_path / "out" / "README.md").read_text()


def test_engine_that_cannot_run_a_bundle_gives_its_reason(bundle: Path) -> None:
    with pytest.raises(UsageError, match=r"no engine 'native' for this bundle here: .*int8"):
        onelayer.load(bundle, "native")
    with pytest.raises(UsageError, match=r"'torch' .* it runs what was not exported"):
        onelayer.load(bundle, "torch")


@pytest.mark.parametrize("command", ["predict", "eval", "serve"])
def test_unknown_engine_is_refused_with_the_known_ones(
    command: str, bundle: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [command, str(bundle), *([] if command == "serve" else [str(rows)])]
    assert cli.main([*arguments, "--engine", "steam"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "no engine is called 'steam'" in error
    assert "known are native, onnxruntime, openvino, torch" in error


@pytest.mark.parametrize("command", ["predict", "eval", "serve"])
def test_help_lists_every_engine(
    command: str, toy: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, "--help"]) == 0
    words = " ".join(capsys.readouterr().out.split())  # the list may go over two lines
    assert "[native, onnxruntime, openvino, toy, torch]" in words
