"""SNLI, MultiNLI and XNLI are read as they are published."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import onelayer
from onelayer.base.errors import DataError
from onelayer.cli import main as cli
from onelayer.data.in_memory import source_of
from onelayer.data.readers import read_table
from onelayer.data.rows import Rows, read_rows, refuse_bad
from onelayer.data.table import Table
from onelayer.tasks.infer_columns import infer_columns

SNLI = (
    *("gold_label", "sentence1_binary_parse", "sentence2_binary_parse", "sentence1_parse"),
    *("sentence2_parse", "sentence1", "sentence2", "captionID", "pairID"),
    *(f"label{i}" for i in range(1, 6)),
)
MULTINLI = (*SNLI[:7], "promptID", "pairID", "genre", *SNLI[-5:])
XNLI = ("language", *MULTINLI, "sentence1_tokenized", "sentence2_tokenized", "match")
GOLD = ("neutral", "entailment", "-", "contradiction")

Write = Callable[..., Path]


def pairs(golds: Sequence[str]) -> list[dict[str, Any]]:
    """Pairs with each of the gold labels; some texts begin or end with a quote."""
    found = []
    for number, gold in enumerate(golds):
        first = f'"Two cats {number}' if number % 3 == 0 else f'A cat, the "good" one {number}"'
        second = f"The cat sleeps {number}."
        votes = ["neutral", "entailment"] if gold == "-" else [gold]
        found.append(
            {
                "annotator_labels": votes,
                "captionID": f"{number}.jpg#0",
                "promptID": f"{number}",
                "genre": "fiction",
                "language": "en",
                "match": "True",
                "gold_label": gold,
                "pairID": f"{number}.jpg#0r1n",
                "sentence1": first,
                "sentence1_binary_parse": f"( {first} )",
                "sentence1_parse": f"(ROOT (NP {first}))",
                "sentence1_tokenized": first,
                "sentence2": second,
                "sentence2_binary_parse": f"( {second} )",
                "sentence2_parse": f"(ROOT (S {second}))",
                "sentence2_tokenized": second,
                **{f"label{i}": vote for i, vote in enumerate(votes, 1)},
            }
        )
    return found


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes pairs as jsonl, or with tabs and without quoting, as the sets are published."""

    def write(name: str, columns: Sequence[str], golds: Sequence[str]) -> Path:
        path, rows = tmp_path / name, pairs(golds)
        if name.endswith(".jsonl"):
            names = [name for name in ("annotator_labels", *columns) if name[:-1] != "label"]
            lines = [json.dumps({name: row[name] for name in names}) for row in rows]
        else:
            filled = ([row.get(name, "") for name in columns] for row in rows)
            lines = ["\t".join(row) for row in (columns, *filled)]
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def read(table: Table) -> Rows:
    found = infer_columns(table, task=None, asked={})
    assert found.kind.name == "classify"
    columns = found.layout.columns
    assert columns == {"text": "sentence1", "pair": "sentence2", "label": "gold_label"}
    return read_rows(found.kind, table, found.layout)


@pytest.mark.parametrize("columns", [SNLI, MULTINLI, XNLI], ids=["snli", "multinli", "xnli"])
@pytest.mark.parametrize("ending", ["jsonl", "txt"])
def test_published_files_need_no_flags(write: Write, columns: Sequence[str], ending: str) -> None:
    rows = read(read_table(write(f"train.{ending}", columns, GOLD * 9)))
    refuse_bad(rows)
    texts = [(row.text, row.pair, row.label) for row in rows]
    expected = [
        (pair["sentence1"], pair["sentence2"], pair["gold_label"])
        for pair in pairs(GOLD * 9)
        if pair["gold_label"] != "-"
    ]
    assert texts == expected
    line = 3 if ending == "jsonl" else 4
    why = "left out, no label, as its annotators didn't agree (gold_label is -)"
    assert rows.remarks == [f"9 rows: {why}, the first at line {line}"]


def test_dash_is_no_label_where_it_is_one_of_two(write: Write) -> None:
    """A slice of a test file may lack two of the three classes."""
    rows = read(read_table(write("test.txt", SNLI, ("neutral", "-", "-"))))
    assert [row.label for row in rows] == ["neutral"]


def test_row_may_end_before_the_labels_of_annotators(write: Write) -> None:
    path = write("dev.txt", MULTINLI, GOLD)
    lines = path.read_text().splitlines()
    lines[2] = lines[2].rstrip("\t")
    path.write_text("\n".join(lines))
    assert [row.label for row in read(read_table(path))] == [g for g in GOLD if g != "-"]
    lines[2] = "\t".join(lines[2].split("\t")[:9])
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"dev.txt:3: 15 fields expected, .* but 9 found"):
        read(read_table(path))


def test_translated_training_set_has_the_labels_of_the_other_files(tmp_path: Path) -> None:
    path = tmp_path / "multinli.train.zh.tsv"
    labels = ("neutral", "contradictory", "entailment") * 8
    lines = [f'产品"和"地理 {i}\t与地理无关 {i}\t{label}' for i, label in enumerate(labels)]
    path.write_text("\n".join(["premise\thypo\tlabel", *lines]), encoding="utf-8")
    table = read_table(path)
    found = infer_columns(table, task=None, asked={})
    assert found.layout.columns == {"text": "premise", "pair": "hypo", "label": "label"}
    rows = read_rows(found.kind, table, found.layout)
    assert [row.label for row in rows] == ["neutral", "contradiction", "entailment"] * 8
    assert any("8 rows: label 'contradictory' is read as" in remark for remark in rows.remarks)


def test_contest_without_labels_is_told_so(write: Write) -> None:
    table = read_table(write("open.jsonl", MULTINLI, ("hidden",) * 4))
    with pytest.raises(DataError, match=r"no rows to learn from: .* \(gold_label is hidden\)"):
        infer_columns(table, task=None, asked={})


def test_table_in_memory_is_read_as_the_file() -> None:
    table = read_table(source_of(pairs(GOLD)))
    rows = read(table)
    assert [row.label for row in rows] == ["neutral", "entailment", "contradiction"]
    assert table.kept_columns is not None
    assert not [name for name in table.kept_columns if "parse" in name]


@pytest.mark.slow
def test_every_command_takes_a_published_file(
    write: Write, make_bert: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    train = write("snli_1.0_train.txt", SNLI, GOLD * 15)
    test = write("snli_1.0_test.jsonl", SNLI, GOLD * 3)
    run = train.parent / "run"
    command = ["train", train, "--out", run, "--model", make_bert(), "--epochs", "1"]
    assert cli.main([*map(str, command), "--folds", "0"]) == 0
    assert "15 rows: left out, no label" in capsys.readouterr().err

    scores = onelayer.evaluate(run, test)
    assert scores.to_json()["rows"] == 9
    assert cli.main(["predict", str(run), str(test)]) == 0
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["pairID"] for row in printed] == [row["pairID"] for row in pairs(GOLD * 3)]
    assert {row["prediction"]["label"] for row in printed} <= set(GOLD) - {"-"}
    assert onelayer.inspect(train).to_json()["rows"] == 45
