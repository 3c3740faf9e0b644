"""``onelayer next``: which rows of an unlabelled file to label, and the files to label them in."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onelayer
from onelayer.base.errors import DataError, Place, UsageError
from onelayer.checkpoint.record import ModelRecord
from onelayer.cli import main as cli
from onelayer.data.layout import Layout
from onelayer.data.sketch import Sketch
from onelayer.labelling.next_rows import NextRows
from onelayer.recipe import Recipe
from onelayer.tasks import TASKS
from onelayer.tasks.labelled import read_labelled
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings
from support.tiny_bert import MakeBert

WORDS = (("the", "a", "no"), ("good", "bad"), ("cat", "dog", "🙂"))
TEXTS = [" ".join(words) for words in product(*WORDS)]


@pytest.fixture(scope="module")
def sorter(make_bert: MakeBert) -> Path:
    return make_bert("BertForSequenceClassification", labels=("no", "yes"))


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    return written(tmp_path / "pool.csv", [{"id": i, "text": t} for i, t in enumerate(TEXTS)])


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0].keys())
        table.writeheader()
        table.writerows(rows)
    return path


def texts_of(found: NextRows) -> list[str]:
    return [row.values["text"] for row in found.rows]


def test_chosen_rows_are_distinct_rows_of_the_file(sorter: Path, pool: Path) -> None:
    found = onelayer.next_rows(sorter, pool, n=5)
    assert len(set(texts_of(found))) == 5
    assert set(texts_of(found)) <= set(TEXTS)
    doubts = [row.doubt for row in found.rows]
    assert doubts == sorted(doubts, reverse=True)
    assert all(0 <= doubt <= 1 for doubt in doubts)
    assert [row.line for row in found.rows] == [TEXTS.index(t) + 2 for t in texts_of(found)]
    assert "5 of 18 rows to label next" in repr(found)


def test_same_seed_chooses_the_same_rows(sorter: Path, pool: Path) -> None:
    one, same = (onelayer.next_rows(sorter, pool, n=4, seed=3) for _ in range(2))
    assert texts_of(one) == texts_of(same)
    others = {tuple(texts_of(onelayer.next_rows(sorter, pool, n=4, seed=s))) for s in range(6)}
    assert len(others) > 1


def test_nearly_equal_texts_are_one_row(sorter: Path, tmp_path: Path) -> None:
    texts = ["A good cat", "a good  cat.", "ａ ｇｏｏｄ ｃａｔ", "a bad cat", " ", ""]
    remarks: list[str] = []
    path = written(tmp_path / "p.csv", [{"id": i, "text": t} for i, t in enumerate(texts)])
    found = onelayer.next_rows(sorter, path, say=remarks.append)
    assert sorted(texts_of(found)) == ["A good cat", "a bad cat"]
    counts = "6 rows, 2 to choose from (2 repeat another row, 2 have no text)"
    assert any(counts in remark for remark in remarks)
    assert any("only 2 rows" in remark for remark in remarks)


def test_rows_with_a_label_are_left_out_with_their_copies(sorter: Path, tmp_path: Path) -> None:
    rows = [
        {"text": t, "label": label} for t, label in zip(TEXTS, ["yes", "", "no"] * 6, strict=True)
    ]
    rows.append({"text": TEXTS[0].upper(), "label": ""})
    found = onelayer.next_rows(sorter, written(tmp_path / "p.csv", rows), n=99)
    assert len(found.rows) == 6
    assert set(texts_of(found)) == set(TEXTS[1::3])


def test_labelled_file_is_left_out(sorter: Path, pool: Path, tmp_path: Path) -> None:
    known = written(tmp_path / "known.csv", [{"text": f"{t}!", "label": "x"} for t in TEXTS[:15]])
    found = onelayer.next_rows(sorter, pool, n=99, labelled=known)
    assert set(texts_of(found)) == set(TEXTS[15:])
    in_memory = onelayer.next_rows(sorter, pool, n=99, labelled=[{"text": t} for t in TEXTS[:15]])
    assert texts_of(in_memory) == texts_of(found)


def test_training_file_is_found_by_the_run(sorter: Path, pool: Path, tmp_path: Path) -> None:
    train = written(tmp_path / "train.csv", [{"text": t, "label": "x"} for t in TEXTS[:10]])
    run = tmp_path / "run"
    run.mkdir()
    for file in sorter.iterdir():
        (run / file.name).write_bytes(file.read_bytes())
    timing = {"seconds": [], "files": {"train": str(train), "dev": None}}
    (run / "timing.json").write_text(json.dumps(timing))
    remarks: list[str] = []
    found = onelayer.next_rows(run, pool, n=99, say=remarks.append)
    assert set(texts_of(found)) == set(TEXTS[10:])
    assert "rows of train.csv count as labelled" in remarks


def test_run_remembers_rows_whose_file_is_gone(sorter: Path, pool: Path) -> None:
    seen = Sketch()
    for text in TEXTS[:6]:
        seen.see((text,))
    predictor = onelayer.load(sorter)
    layout = Layout({"text": "text", "label": "label"})
    record = ModelRecord(task=predictor.task, layout=layout, seen=seen.to_text())
    run = replace(predictor, record=record, layout=layout, path=None)
    assert set(texts_of(onelayer.next_rows(run, pool, n=99))) == set(TEXTS[6:])


def test_file_without_a_free_row_is_refused(sorter: Path, tmp_path: Path) -> None:
    full = written(tmp_path / "full.csv", [{"text": t, "label": "yes"} for t in TEXTS])
    with pytest.raises(DataError, match=r"full\.csv: no row to choose from: 18 are labelled"):
        onelayer.next_rows(sorter, full)


@pytest.mark.parametrize("content", ["", "text\n"])
def test_file_without_rows_is_refused(sorter: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(DataError, match=r"p\.csv"):
        onelayer.next_rows(sorter, tmp_path / "p.csv")


def test_bad_row_is_named_or_left_out(sorter: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"text": "a"}\n{"text": ["b"]}\n{"text": "c"}\n')
    with pytest.raises(DataError, match=r"p\.jsonl:2:text: text is a list"):
        onelayer.next_rows(sorter, path)
    assert sorted(texts_of(onelayer.next_rows(sorter, path, skip_bad=True))) == ["a", "c"]


@pytest.mark.parametrize("options", [{"n": 0}, {"n": -3}, {"most_read": 0}, {"format": "xlsx"}])
def test_wrong_options_are_refused(sorter: Path, pool: Path, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        onelayer.next_rows(sorter, pool, **options)


@pytest.mark.parametrize("name", ["x.parquet", "x.xlsx"])
def test_other_output_is_refused_before_work(sorter: Path, pool: Path, name: str) -> None:
    with pytest.raises(UsageError, match="files are written"):
        onelayer.next_rows(sorter, pool, out=pool.parent / name)


def test_large_file_is_read_in_part(
    sorter: Path, pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onelayer.labelling.next_rows.READ_PER_CHOSEN", 1)
    remarks: list[str] = []
    found = onelayer.next_rows(sorter, pool, n=2, most_read=7, say=remarks.append)
    assert (found.free, found.read, len(found.rows)) == (18, 7, 2)
    assert any("the model reads 7 of them" in remark for remark in remarks)


class LogitsOnly:
    """An engine that gives no vectors, as those of exported models."""

    name = "logits-only"

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    def logits(self, encodings: Encodings) -> Logits:
        logits: Logits = self.engine.logits(encodings)
        return logits


def test_engine_without_vectors_chooses_by_beliefs(sorter: Path, pool: Path) -> None:
    predictor = onelayer.load(sorter)
    plain = replace(predictor, engine=LogitsOnly(predictor.engine))
    found = onelayer.next_rows(plain, pool, n=5)
    assert len(set(texts_of(found))) == 5


def test_vectors_are_the_means_of_what_the_layer_reads(make_bert: MakeBert) -> None:
    tagger = onelayer.load(make_bert("BertForTokenClassification", labels=("O", "B-X", "I-X")))
    rows = [tagger.task.row({"text": t}, Place("x", 1), False) for t in ("a b c", "the cat", "")]
    (_, encodings, logits), vectors = tagger.run_with_vectors(rows)
    assert vectors is not None
    assert vectors.shape == (3, 32)
    np.testing.assert_allclose(logits, tagger.run_rows(rows)[2], rtol=1e-4, atol=1e-5)
    head = tagger.engine.model.head  # type: ignore[attr-defined]
    weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
    bounds = encodings.row_reads
    for i in (0, 1):  # the layer is linear: the mean of its outputs is that of the mean vector
        mean = logits[bounds[i] : bounds[i + 1]].mean(axis=0)
        np.testing.assert_allclose(vectors[i] @ weight.T + bias, mean, rtol=1e-3, atol=1e-4)
    assert not vectors[2].any()


# The files ---------------------------------------------------------------------------------------

PASSAGE = "🙂 the good cat sat in the town"
MODELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "classify": ("BertForSequenceClassification", ("no", "yes", "may be")),
    "regress": ("BertForSequenceClassification", ("LABEL_0",)),
    "tag": ("BertForTokenClassification", ("O", "B-X", "I-X")),
    "answer": ("BertForQuestionAnswering", ()),
    "choose": ("BertForMultipleChoice", ()),
}
POOLS: dict[str, list[dict[str, Any]]] = {
    "classify": [{"text": t, "note": i} for i, t in enumerate(TEXTS)],
    "regress": [{"text": t, "note": i} for i, t in enumerate(TEXTS)],
    "tag": [{"text": t} for t in TEXTS],
    "answer": [{"question": f"{t}?", "context": f"{PASSAGE} {i}"} for i, t in enumerate(TEXTS)],
    "choose": [
        {"context": t, "question": "is?", "options": ["good", "bad 🙂", "x"]} for t in TEXTS
    ],
}


LABELS = {task: {"label": "answers" if task == "answer" else "label"} for task in MODELS}


def run_of(make_bert: MakeBert, task: str) -> onelayer.Predictor:
    """A model of this task that knows its columns."""
    architecture, labels = MODELS[task]
    predictor = onelayer.load(make_bert(architecture, labels=labels))
    assert predictor.task.name == task
    layout = Layout({role: role for role in POOLS[task][0] if role != "note"} | LABELS[task])
    record = ModelRecord(task=predictor.task, layout=layout)
    return replace(predictor, record=record, layout=layout)


@pytest.mark.parametrize("task", MODELS)
def test_csv_comes_back_as_training_rows(task: str, make_bert: MakeBert, tmp_path: Path) -> None:
    out = tmp_path / "next.csv"
    found = onelayer.next_rows(run_of(make_bert, task), POOLS[task], n=8, out=out)
    assert found.out == str(out)
    rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
    label = LABELS[task]["label"]
    assert [*rows[0]] == [*POOLS[task][0], label, "suggestion"]
    assert all(row[label] == "" for row in rows)
    for i, row in enumerate(rows):
        by_hand = {"regress": str(i / 7), "answer": "good cat"}  # a random model marks half words
        row[label] = by_hand.get(task, row["suggestion"])
    read_back(written(out, rows), task, len(rows))


def read_back(path: Path, task: str, n: int) -> list[Any]:
    kind, layout, rows = read_labelled(path, Recipe(), lambda _: None)
    assert kind is TASKS[task]
    assert layout.columns["label"] == LABELS[task]["label"]
    assert len(rows) == n
    return rows


def test_label_column_has_the_name_of_training(make_bert: MakeBert, tmp_path: Path) -> None:
    """Also one that is no usual name: the suggestions, which repeat as labels do, are not taken for
    it."""
    run = run_of(make_bert, "classify")
    layout = Layout({"text": "review", "label": "verdict"})
    assert run.record is not None
    run = replace(run, layout=layout, record=replace(run.record, layout=layout))
    out = tmp_path / "next.csv"
    onelayer.next_rows(run, [{"review": t} for t in TEXTS], n=8, out=out)
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    assert [*rows[0]] == ["review", "verdict", "suggestion"]
    for i, row in enumerate(rows):
        row |= {"verdict": "ab"[i % 2], "suggestion": "yes"}
    _, layout, read = read_labelled(written(out, rows), Recipe(), lambda _: None)
    assert layout.columns["label"] == "verdict"
    assert {row.label for row in read} == {"a", "b"}


def test_suggestions_replace_those_of_an_earlier_file(sorter: Path, tmp_path: Path) -> None:
    rows = [{"text": t, "suggestion": "old"} for t in TEXTS]
    out, remarks = tmp_path / "out.csv", list[str]()
    onelayer.next_rows(sorter, written(tmp_path / "p.csv", rows), n=3, out=out, say=remarks.append)
    assert "old" not in out.read_text()
    assert "the model's suggestions replace the column suggestion" in remarks


@pytest.mark.parametrize("task", ["classify", "regress", "tag"])
def test_label_studio_tasks_have_predictions(
    task: str, make_bert: MakeBert, tmp_path: Path
) -> None:
    """As https://labelstud.io/guide/predictions describes them. Its export, where the predictions
    became annotations, is read as training rows."""
    out, remarks = tmp_path / "tasks.json", list[str]()
    run = run_of(make_bert, task)
    onelayer.next_rows(run, POOLS[task], n=8, out=out, say=remarks.append)
    tasks = json.loads(out.read_text(encoding="utf-8"))
    assert len(tasks) == 8
    kind = {"classify": "choices", "regress": "number"}.get(task, "labels")
    ids = [part["id"] for one in tasks for part in one["predictions"][0]["result"]]
    assert len(set(ids)) == len(ids)
    for one in tasks:
        assert one["data"] in POOLS[task]
        (prediction,) = one["predictions"]
        assert 0 <= prediction["score"] <= 1
        for part in prediction["result"]:
            assert (part["from_name"], part["to_name"], part["type"]) == ("label", "text", kind)
            value = part["value"]
            if kind == "labels":
                assert one["data"]["text"][value["start"] : value["end"]] == value["text"]
    view = next(remark for remark in remarks if remark.startswith("labelling interface"))
    assert '<Text name="text" value="$text"/>' in view
    assert 'name="label" toName="text"' in view
    for number, one in enumerate(tasks):
        result = one["predictions"][0]["result"]
        if task == "regress":
            result[0]["value"]["number"] = number / 7
        one |= {"id": number, "annotations": [{"result": result, "was_cancelled": False}]}
    export = tmp_path / "export.json"
    export.write_text(json.dumps(tasks), encoding="utf-8")
    read_back(export, task, 8)


@pytest.mark.parametrize("task", ["answer", "choose"])
def test_other_tasks_have_no_label_studio_form(
    task: str, make_bert: MakeBert, tmp_path: Path
) -> None:
    run = run_of(make_bert, task)
    with pytest.raises(UsageError, match=f"no tasks of Label Studio for {task}"):
        onelayer.next_rows(run, POOLS[task], n=2, out=tmp_path / "x.json")


# The command -------------------------------------------------------------------------------------


def test_command_writes_csv_on_stdout(
    sorter: Path, pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["next", str(sorter), str(pool), "-n", "3"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0] == "id,text,label,suggestion"
    assert len(out.splitlines()) == 4


def test_command_prints_json_or_writes_a_file(
    sorter: Path, pool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["next", str(sorter), str(pool), "-n", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == onelayer.next_rows(str(sorter), str(pool), n=3).to_json()
    out = pool.parent / "next.csv"
    assert cli.main(["next", str(sorter), str(pool), "-n", "3", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "3 rows to label in" in captured.err
    assert cli.main(["next", str(sorter), str(pool), "-n", "x"]) == 2
    assert "-n: 'x' is not a whole number" in capsys.readouterr().err


def test_file_with_other_columns_names_the_flag(
    make_bert: MakeBert, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"a": t, "b": f"{t} {t} too"} for t in TEXTS]
    path = written(tmp_path / "p.csv", rows)
    model = make_bert("BertForSequenceClassification", labels=("no", "yes"))
    assert cli.main(["next", str(model), str(path)]) == 2
    assert "--text" in capsys.readouterr().err
    assert cli.main(["next", str(model), str(path), "--text", "a", "-n", "2"]) == 0
    assert capsys.readouterr().out.startswith("a,b,label,suggestion\n")
