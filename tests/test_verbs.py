"""The public functions: typed results that print as tables and say what ``--json`` says."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import onelayer
from onelayer.base.result import Result
from onelayer.cli import main as cli

pytestmark = pytest.mark.slow

COLUMNS = {"text": "review", "label": "verdict"}


@pytest.fixture
def reviews(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    words = ["good cat", "the cat x", "bad", "y bad bad"]
    lines = [f"{words[i % 4]} {i},{'yes' if i % 4 < 2 else 'no'}" for i in range(20)]
    (tmp_path / "reviews.csv").write_text("\n".join(["review,verdict", *lines]) + "\n")
    return tmp_path / "reviews.csv"


@pytest.fixture
def model(reviews: Path, make_bert: Callable[..., Path]) -> onelayer.Predictor:
    """A run trained on the reviews for an epoch."""
    base = make_bert()
    return onelayer.finetune(reviews, out="run", model=str(base), epochs=1, **COLUMNS)


def from_command(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    capsys.readouterr()
    assert cli.main([*map(str, arguments), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def shows(result: Result, *texts: str) -> None:
    """Asserts that texts are in the plain form and in the notebook's table."""
    for text in texts:
        assert text in repr(result)
        assert text in result._repr_html_()


def test_every_verb_is_public() -> None:
    verbs = {"finetune", "load", "evaluate", "predict", "compare", "inspect", "export", "next_rows"}
    for name in verbs | {"curve", "report", "serve", "shrink"}:
        assert name in onelayer.__all__
        verb = getattr(onelayer, name)
        assert "\n    Parameters\n    ------" in verb.__doc__
        assert "Raises" in verb.__doc__


def test_python_results_equal_the_command_lines_json(
    model: onelayer.Predictor, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One model for all verbs, as training takes most of the time."""
    assert model.predict(["good cat"])[0].label in ("yes", "no")
    shows(model, "run: one label a row", "accuracy", "95 % interval")
    assert model.to_json()["run"] == "run"

    scores = onelayer.evaluate("run", "reviews.csv")
    assert scores.to_json() == from_command(capsys, "eval", "run", "reviews.csv")
    shows(scores, "reviews.csv, 20 rows", "accuracy", "support")

    same = onelayer.compare("run", "run", "reviews.csv")
    assert same.to_json() == from_command(capsys, "compare", "run", "run", "reviews.csv")
    shows(same, "no difference", "B - A", "0 rows where A is nearer")

    file = onelayer.inspect("reviews.csv", "reviews.csv", label="verdict")
    found = from_command(capsys, "inspect", "reviews.csv", "reviews.csv", "--label", "verdict")
    assert file.to_json() == found
    shows(file, "task: classify", "in several files: 20")
    made = onelayer.inspect("run")
    assert made.to_json() == from_command(capsys, "inspect", "run")
    shows(made, "made by: onelayer", "reviews.csv")

    doubted = onelayer.inspect("reviews.csv", with_="run", folds=2, **COLUMNS)
    asked = ("--with", "run", "--folds", 2, "--text", "review", "--label", "verdict")
    found = from_command(capsys, "inspect", "reviews.csv", *asked)
    assert isinstance(doubted, Result)
    assert doubted.to_json() == found
    shows(doubted, "labels that are probably wrong", "2-fold cross-validation")

    page = onelayer.report("run", "reviews.csv", out="page.html")
    assert Path("page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    shows(page, "saved page.html")


def test_predict_reads_files_and_lists_and_writes_files(
    model: onelayer.Predictor, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = onelayer.predict(model, ["good cat", {"review": "bad"}, ("y bad",)])
    assert given.rows == 3
    assert given.predictions == tuple(model.predict(["good cat", "bad", "y bad"]))
    shows(given, "3 predictions", given.predictions[0].label)
    assert [one["label"] for one in given.to_json()["predictions"]] == [
        one.label for one in given.predictions
    ]

    with pytest.raises(onelayer.UsageError, match="text = 'body' names a column"):
        onelayer.predict(model, ["good cat"], text="body")

    read = onelayer.predict("run", "reviews.csv")
    assert read.rows == len(read.predictions or ()) == 20
    written = onelayer.predict("run", "reviews.csv", out="out.jsonl")
    assert written.to_json() == {"rows": 20, "out": "out.jsonl"}
    assert cli.main(["predict", "run", "reviews.csv"]) == 0
    assert capsys.readouterr().out == Path("out.jsonl").read_text(encoding="utf-8")


@pytest.mark.process
def test_export_reports_what_was_measured(model: onelayer.Predictor, reviews: Path) -> None:
    with pytest.raises(onelayer.UsageError, match="can't export to 'tflite'"):
        onelayer.export("run", to="tflite")  # type: ignore[arg-type]
    made = onelayer.export("run", out="bundle", accept=True)
    record = json.loads(Path("bundle/onelayer.json").read_text(encoding="utf-8"))
    assert made.to_json() == {"bundle": "bundle", **record["export"]}
    shows(made, "ONNX Runtime", "texts/s", "saved bundle")
    assert onelayer.load("bundle").predict(["bad"])
