"""A task written outside of onelayer, one class and one registration, works with every command."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from starlette.testclient import TestClient
from transformers import AutoModelForSequenceClassification

import onelayer
from onelayer import load
from onelayer.base.errors import Place
from onelayer.checkpoint.bundle import read_bundle
from onelayer.cli import main as cli
from onelayer.data.readers import read_table
from onelayer.engines.registry import engines_for
from onelayer.serving.http.app import make_app
from onelayer.tasks import TASKS, Classify, register
from onelayer.tasks.infer_columns import infer_columns
from support.ranking import Rank, Ranked, RankRow
from support.tiny_bert import MakeBert

pytestmark = pytest.mark.slow

PASSAGES = ["the good cat", "a bad cat", "cats", "it is good in the town", "x y z"]
ROWS = [
    {"query": f"where is the cat {i % 8}?", "passage": f"{PASSAGES[i % 5]} {i}", "label": i % 5}
    for i in range(40)
]
ASKED = [("where?", "the good cat"), {"query": "who?", "passage": "a bad cat"}]

Main = Callable[..., int]


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    register(Rank)
    yield
    del TASKS["rank"]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rank") / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(make_bert: MakeBert, rows: Path) -> Path:
    """A run trained by the command line from a file and the task's name."""
    out = rows.parent / "run"
    settings = ["--model", make_bert(), "--epochs", 2, "--lr", 1e-3, "--batch-size", 8]
    assert main("train", rows, "--task", "rank", "--out", out, *settings) == 0
    return out


@pytest.fixture(scope="module")
def bundle(run: Path, rows: Path) -> Path:
    out = rows.parent / "bundle"
    assert main("export", run, "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def other(make_bert: MakeBert) -> Path:
    return make_bert("BertForSequenceClassification", labels=("no", "yes"))


def main(*arguments: object) -> int:
    return cli.main([str(argument) for argument in arguments])


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> Any:
    """The JSON that a command prints."""
    capsys.readouterr()
    assert main(*arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_run_saves_and_opens_the_task(run: Path) -> None:
    info = json.loads((run / "onelayer.json").read_text(encoding="utf-8"))
    assert info["task"] == {"name": "rank", "max_length": 64}
    assert info["layout"]["columns"] == {"query": "query", "passage": "passage", "label": "label"}
    assert load(run).task == Rank(max_length=64)


def test_finetune_takes_the_task_by_name(make_bert: MakeBert, rows: Path, tmp_path: Path) -> None:
    predictor = onelayer.finetune(
        rows, dev=rows, out=tmp_path / "run", task="rank", model=str(make_bert()), epochs=1
    )
    assert isinstance(predictor.task, Rank)


def test_model_card_uses_the_words_of_the_task(run: Path) -> None:
    card = (run / "README.md").read_text(encoding="utf-8")
    assert "pipeline_tag: text-ranking" in card
    assert f"This BERT {Rank.aim}." in card
    assert f"model.predict({Rank.example})" in card


def test_logits_equal_transformers(run: Path) -> None:
    predictor = load(run)
    row = RankRow("where?", "the good cat", None, Place("x"))
    ids = predictor.task.encode([row], predictor.tokenizer, labelled=False)
    model = AutoModelForSequenceClassification.from_pretrained(run).eval()
    with torch.no_grad():
        logits = model(
            input_ids=torch.tensor([ids.ids.tolist()]),
            token_type_ids=torch.tensor([ids.segment_ids.tolist()]),
        ).logits
    assert float(logits) == pytest.approx(predictor.predict_rows([row])[0].relevance, abs=1e-5)


def test_evaluate_scores_the_task(
    run: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = printed(capsys, "eval", run, rows, "--json")
    assert result["rows"] == len(ROWS)
    assert set(result["scores"]) == {"pearson", "spearman", "rmse", "mae"}


def test_predict_returns_the_tasks_predictions(run: Path) -> None:
    found = load(run).predict(ASKED)
    assert [type(one) for one in found] == [Ranked, Ranked]


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_predict_writes_a_file_in_every_format(
    run: Path, rows: Path, tmp_path: Path, form: str
) -> None:
    out = tmp_path / f"out.{form}"
    assert main("predict", run, rows, "--out", out) == 0
    if form == "jsonl":
        lines = map(json.loads, out.read_text(encoding="utf-8").splitlines())
        found = [line["prediction"]["relevance"] for line in lines]
    elif form == "csv":
        with out.open(encoding="utf-8", newline="") as text:
            found = [
                json.loads(one["prediction_json"])["relevance"] for one in csv.DictReader(text)
            ]
    else:
        details = pq.read_table(out)["prediction_json"].to_pylist()
        found = [json.loads(one)["relevance"] for one in details]
    expected = load(run).predict([(row["query"], row["passage"]) for row in ROWS])
    assert found == pytest.approx([one.relevance for one in expected], abs=1e-5)


def test_every_engine_of_a_bundle_predicts_the_same(run: Path, bundle: Path) -> None:
    expected = [one.relevance for one in load(run).predict(ASKED)]
    names = list(engines_for(read_bundle(bundle)))
    assert "onnxruntime" in names
    for name in names:
        found = [one.relevance for one in load(bundle, name).predict(ASKED)]
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_int8_bundle_predicts(run: Path, rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "int8"
    assert main("export", run, "--int8", "--max-drop", 100, "--out", out) == 0
    for name in engines_for(read_bundle(out)):
        assert len(load(out, name).predict(ASKED)) == len(ASKED)


def test_route_of_the_task_answers_and_is_in_openapi(run: Path, other: Path) -> None:
    with TestClient(make_app({"ranker": load(run), "other": load(other)})) as client:
        body = {"inputs": [{"query": "where?", "passage": "the good cat"}]}
        answer = client.post("/v1/models/ranker/rank", json=body)
        assert answer.status_code == 200, answer.text
        (expected,) = load(run).predict([("where?", "the good cat")])
        assert answer.json()["predictions"] == [
            {"relevance": pytest.approx(expected.relevance, abs=1e-5)}
        ]
        assert client.post("/v1/models/ranker/rank", json={"inputs": ["x"]}).status_code == 422
        assert client.post("/v1/models/other/rank", json=body).status_code == 404
        assert "/v1/models/{name}/rank" in client.get("/openapi.json").json()["paths"]
        models = {one["name"]: one for one in client.get("/v1/models").json()["models"]}
        assert models["ranker"]["inputs"] == ["query", "passage"]
        tensor = {"name": "relevance", "datatype": "FP32", "shape": [-1]}
        assert tensor in client.get("/v2/models/ranker").json()["outputs"]


def test_server_without_the_task_starts(other: Path) -> None:
    with TestClient(make_app({"other": load(other)})) as client:
        answer = client.post("/v1/models/other/classify", json={"inputs": "a cat"})
        assert answer.status_code == 200
        assert client.get("/openapi.json").status_code == 200


def test_report_shows_rows_of_the_task(run: Path, rows: Path, tmp_path: Path) -> None:
    assert (run / "report.html").is_file()
    assert main("report", run, rows, "--out", tmp_path / "report.html") == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "where is the cat 3?" in page


def test_compare_uses_the_tasks_metrics(
    run: Path, bundle: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = printed(capsys, "compare", run, bundle, rows, "--json")
    assert "spearman" in result["metrics"]


def test_inspect_reads_the_tasks_columns(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "inspect", rows, "--task", "rank", "--json")
    assert found["task"] == "rank"
    assert found["read_as"] == {"query": "query", "passage": "passage", "label": "label"}


def test_inspect_with_a_run_judges_the_labels(
    run: Path, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ("inspect", rows, "--task", "rank", "--with", run, "--folds", 2, "--json")
    assert printed(capsys, *command)["label_errors"]["rows"] == len(ROWS)


def test_inspect_shows_the_task_of_a_run(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "inspect", run, "--json")["task"]["name"] == "rank"


def test_subclass_of_a_task_is_a_task_of_its_own(make_bert: MakeBert, tmp_path: Path) -> None:
    class Sort(Classify):
        name = "sort"

    path = tmp_path / "rows.jsonl"
    rows = [{"text": f"{PASSAGES[i % 5]} {i}", "label": "ab"[i % 2]} for i in range(20)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    register(Sort)
    try:
        assert infer_columns(read_table(path), task=None, asked={}).kind is Classify
        model = onelayer.finetune(
            path, task="sort", model=str(make_bert()), epochs=1, out=tmp_path / "run"
        )
        assert type(load(tmp_path / "run").task) is Sort
        with TestClient(make_app({"sorter": model})) as client:
            answer = client.post("/v1/models/sorter/sort", json={"inputs": "a cat"})
        assert answer.json()["predictions"][0]["label"] in ("a", "b")
    finally:
        del TASKS["sort"]


def test_second_task_of_the_same_name_is_refused() -> None:
    class Another(Rank):
        pass

    with pytest.raises(ValueError, match="there is a task 'rank' already"):
        register(Another)


@pytest.mark.parametrize("command", [["train"], ["inspect"]])
def test_unknown_task_is_refused_in_one_line(
    rows: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    assert main(*command, rows, "--task", "sort") == 2
    known = "classify, regress, tag, answer, choose, rank"
    assert capsys.readouterr().err == f"onelayer: no task 'sort' (there are {known})\n"
