"""Long texts: windows are pooled to one prediction, with the pooling chosen on dev; unread tokens
are reported."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import onelayer
from onelayer import metrics
from onelayer.base.errors import Place, UsageError
from onelayer.cli import main as cli
from onelayer.recipe import Recipe
from onelayer.tasks import Classify, Regress, task_from_json
from onelayer.tasks.pooling import POOLINGS, Pooling, best_pooling, pool, pooled_by
from onelayer.tasks.texts import TextRow
from onelayer.tokens.encodings import Encodings, cumulate
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training.progress import Silent

pytestmark = pytest.mark.slow

HERE = Place("rows.jsonl", 1)
LONG = Classify(labels=("bad", "good"), max_length=12, stride=2, pooling="mean")
VALUE = Regress(max_length=12, stride=2, pooling="mean", mean=5.0, deviation=2.0)


def windows(counts: Sequence[int]) -> Encodings:
    """Rows with these numbers of windows, each of one token."""
    each = np.arange(sum(counts) + 1)
    nothing = np.zeros(sum(counts), np.int32)
    return Encodings(nothing, nothing, each, nothing, each, each, cumulate(counts), nothing + 1)


counts = st.lists(st.integers(1, 5), min_size=1, max_size=6)
BY_HAND: dict[Pooling, Callable[[np.ndarray], np.ndarray]] = {
    "mean": lambda x: x.sum(axis=0) / len(x),
    "max": lambda x: x.max(axis=0),
    "ends": lambda x: (x[0] + x[-1]) / 2,
    "head": lambda x: x[0],
}


@given(counts=counts, seed=st.integers(0, 99), how=st.sampled_from(POOLINGS))
def test_pooling_equals_the_row_by_row_reference(
    counts: list[int], seed: int, how: Pooling
) -> None:
    logits = np.random.default_rng(seed).normal(size=(sum(counts), 3)).astype(np.float32)
    expected = [BY_HAND[how](logits[a:b]) for a, b in pairwise(cumulate(counts).tolist())]
    np.testing.assert_allclose(pool(windows(counts), logits, how), expected, rtol=1e-5, atol=1e-6)


def test_row_of_one_window_keeps_its_logits_bit_for_bit() -> None:
    logits = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    for how in POOLINGS:
        assert pool(windows([1]), logits[:1], how).tolist() == logits[:1].tolist()
        assert pool(windows([1, 3]), logits, how)[0].tolist() == logits[0].tolist()


# The choice --------------------------------------------------------------------------------------


def documents(*labels: Any) -> list[TextRow]:
    """A short text, followed by long texts of four windows each."""
    texts = ["a", *["b " * 34] * (len(labels) - 1)]
    return [TextRow(text, None, label, HERE) for text, label in zip(texts, labels, strict=True)]


def tuned(
    task: Any, rows: list[TextRow], by_window: list[list[float]], tokenizer: Tokenizer
) -> Any:
    encodings = task.encode(rows, tokenizer, labelled=True)
    assert np.diff(encodings.cu_rows).tolist() == [1] + [4] * (len(rows) - 1)
    logits = np.asarray(by_window, np.float32)
    return (*task.tune(rows, [(rows, encodings, logits)]), encodings, logits)


ONE = [-1.0, 0.0]
SHOWS: dict[Pooling, list[list[float]]] = {
    # The logits of "good" in each of the four windows; those of "bad" are 0.
    "mean": [[0, -1.0], [0, -1.0], [0, 9.0], [0, -1.0]],
    "ends": [[0, 1.0], [0, -9.0], [0, -9.0], [0, 1.0]],
    "head": [[0, 1.0], [0, -9.0], [0, -9.0], [0, -9.0]],
    "max": [[0, -1.0], [0, 1.0], [0, -9.0], [0, -1.0]],
}
MISLEADS: dict[Pooling, list[list[float]]] = {
    # The same for a bad text on which the other poolings are wrong.
    "mean": [[0, -9.0], [0, 1.0], [0, -9.0], [0, -9.0]],
    "ends": [[0, 1.0], [0, 1.0], [0, 1.0], [0, -9.0]],
    "head": [[0, -1.0], [0, 1.0], [0, -9.0], [0, -1.0]],
}


@pytest.mark.parametrize("how", POOLINGS)
def test_best_pooling_on_dev_is_chosen(how: Pooling, tokenizer: Tokenizer) -> None:
    rows = documents("good", *["good", "bad"] * 8)
    by_window = [ONE, *[*SHOWS[how], *MISLEADS.get(how, [[9.0, 0]] * 4)] * 8]
    task, scorer, encodings, logits = tuned(LONG, rows, by_window, tokenizer)
    assert task.pooling == how
    assert set(task.pooling_scores) == set(POOLINGS)
    assert [way for way, score in task.pooling_scores.items() if score == 1.0] == [how]
    assert scorer()["accuracy"] == 1.0
    assert [p.label for p in task.decode(rows, encodings, logits)] == ["good", *["good", "bad"] * 8]


def test_head_pooling_is_not_chosen_on_a_few_rows(tokenizer: Tokenizer) -> None:
    """The first windows are right one time more than the others, which may be chance."""
    rows = documents("good", "good", "bad")
    by_window = [ONE, *SHOWS["head"], *MISLEADS["head"]]
    task, *_ = tuned(LONG, rows, by_window, tokenizer)
    assert task.pooling_scores["head"] > task.pooling_scores["mean"]
    assert task.pooling == "mean"


@pytest.mark.parametrize(("how", "read"), [("head", [0]), ("ends", [0, 3]), ("max", [0, 1, 2, 3])])
def test_encoding_has_only_the_windows_that_the_pooling_reads(
    how: Pooling, read: list[int], tokenizer: Tokenizer
) -> None:
    rows = documents("good", "good", "bad")
    every = LONG.encode(rows, tokenizer, labelled=False)
    logits = np.random.default_rng(0).normal(size=(9, 2))
    task = replace(LONG, pooling=how)
    again = task.encode(rows, tokenizer, labelled=False)
    assert np.diff(again.cu_rows).tolist() == [1, len(read), len(read)]
    assert (again.cut.tokens > 0) == (len(read) < 4)
    windows_read = [0, *(1 + at for at in read), *(5 + at for at in read)]
    assert task.decode(rows, again, logits[windows_read]) == task.decode(rows, every, logits)


def test_equally_good_poolings_prefer_the_one_that_reads_most(tokenizer: Tokenizer) -> None:
    rows = documents("good", "good", "bad")
    task, *_ = tuned(LONG, rows, [ONE, *[[0, 5.0]] * 4, *[[5.0, 0]] * 4], tokenizer)
    assert task.pooling == "mean"
    assert set(task.pooling_scores.values()) == {1.0}


def test_pooling_is_not_tuned_without_long_texts(tokenizer: Tokenizer) -> None:
    rows = [TextRow("a", None, label, HERE) for label in ("good", "bad")]
    encodings = LONG.encode(rows, tokenizer, labelled=True)
    logits = np.asarray([[0, 1], [1, 0]], np.float32)
    task, scorer = LONG.tune(rows, [(rows, encodings, logits)])
    assert (task.pooling, task.pooling_scores) == ("mean", {})
    assert scorer()["accuracy"] == 1.0


def test_regression_is_pooled(tokenizer: Tokenizer) -> None:
    rows = documents(1.0, 5.0, 9.0)
    by_window = [[-2.0], [0.0], [9.0], [-9.0], [0.0], [1.0], [5.0], [0.0], [2.0]]
    task, scorer, encodings, logits = tuned(VALUE, rows, by_window, tokenizer)
    assert task.pooling == "mean"
    assert scorer()["pearson"] == pytest.approx(1.0)
    assert [p.value for p in task.decode(rows, encodings, logits)] == [1.0, 5.0, 9.0]
    targets = encodings.targets
    assert targets is not None
    assert targets.tolist() == [-2.0] + [0.0] * 4 + [2.0] * 4


def test_pooling_with_an_undefined_score_is_not_chosen() -> None:
    logits: dict[Pooling, np.ndarray] = {"mean": np.zeros((3, 1)), "max": np.arange(3.0)[:, None]}

    def score(values: np.ndarray) -> metrics.Scorer:
        return metrics.Regression(np.arange(3.0), values[:, 0])

    assert best_pooling(logits, score, "spearman")[0] == "max"


def test_one_way_is_scored_once() -> None:
    """Where there is no choice, nothing is resampled to find out whether it is a clear one."""
    calls = []

    class Counting(metrics.Regression):
        def __call__(self, rows: metrics.ChosenRows | None = None) -> dict[str, float]:
            calls.append(rows)
            return super().__call__(rows)

    def score(values: np.ndarray) -> metrics.Scorer:
        return Counting(np.arange(3.0), values[:, 0])

    assert best_pooling({"mean": np.arange(3.0)[:, None]}, score, "spearman")[0] == "mean"
    assert len(calls) == 1


def test_pooling_by_chunks_equals_pooling_the_whole() -> None:
    logits = np.arange(12.0).reshape(6, 2)
    chunks = [([0], windows([1]), logits[:1]), ([1, 2], windows([2, 3]), logits[1:])]
    whole = {how: pool(windows([1, 2, 3]), logits, how).tolist() for how in POOLINGS}
    found = pooled_by(chunks, POOLINGS)
    assert {how: pooled.tolist() for how, pooled in found.items()} == whole


def test_multi_label_targets_are_repeated_for_every_window(tokenizer: Tokenizer) -> None:
    task = replace(LONG, multi_label=True)
    encodings = task.encode(documents(("good",), ("bad", "good"), ()), tokenizer, labelled=True)
    assert encodings.targets is not None
    assert encodings.targets.tolist() == [[False, True], *[[True, True]] * 4, *[[False, False]] * 4]


def test_record_without_pooling_reads_the_head() -> None:
    values = {"name": "classify", "labels": ["a", "b"], "max_length": 64, "multi_label": False}
    assert task_from_json({**values, "threshold": 0.5}) == Classify(
        labels=("a", "b"), max_length=64, pooling="head"
    )
    number = {"name": "regress", "max_length": 64, "mean": 0.0, "deviation": 1.0}
    assert task_from_json(number) == Regress(max_length=64, pooling="head")


# Unread tokens are reported ----------------------------------------------------------------------


def write(path: Path, texts: Sequence[str]) -> Path:
    rows = [{"text": text, "label": "bad" if i % 2 else "good"} for i, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A training and a dev file: every fourth text is long, 30 tokens."""
    texts = [f"{'the ' * (29 if i % 4 == 3 else 3)}{i % 10}" for i in range(24)]
    return write(tmp_path / "train.jsonl", texts), write(tmp_path / "dev.jsonl", texts[:8])


def commands(
    files: tuple[Path, Path], bert: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> dict[str, list[str]]:
    """The lines of train, eval and predict about unread tokens."""
    run = str(files[0].with_name("run"))
    how = ["--dev", str(files[1]), "--model", str(bert), "--epochs", "1", "--max-length", "16"]
    reported = {}
    for name, arguments in {
        "train": [str(files[0]), "--out", run, *how, "--stride", "2", *more],
        "eval": [run, str(files[1])],
        "predict": [run, str(files[1])],
    }.items():
        assert cli.main([name, *arguments]) == 0
        error = capsys.readouterr().err
        remarks = [
            json.loads(line).get("text", "") if line.startswith("{") else line.removeprefix("· ")
            for line in error.splitlines()
        ]
        reported[name] = [remark for remark in remarks if "unread" in remark]
    return reported


def test_default_reads_every_token(
    files: tuple[Path, Path],
    bert: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without head pooling, which an untrained model's dev rows might prefer by chance."""
    monkeypatch.setattr("onelayer.tasks.classify.classify.POOLINGS", ("mean", "max"))
    assert commands(files, bert, capsys) == {"train": [], "eval": [], "predict": []}


def test_truncation_is_reported_with_unread_tokens(
    files: tuple[Path, Path], bert: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reported = commands(files, bert, capsys, "--long", "truncate")
    whole = "the length limit leaves 96 tokens (38.1%) of 6 of 24 rows unread"
    part = "the length limit leaves 32 tokens (38.1%) of 2 of 8 rows unread"
    assert reported["train"] == [f"warning: {whole}"]
    assert reported["eval"] == reported["predict"] == [part]
    record = json.loads((files[0].with_name("run") / "onelayer.json").read_text("utf-8"))
    assert record["task"]["pooling"] == "head"
    assert record["task"]["pooling_scores"] == {}


ASKED = {"question": "the " * 40, "context": "the cat", "answer": "cat"}
OFFERED = {"context": "the " * 20, "question": "a", "options": ["b", "c"], "answer": 0}


@pytest.mark.parametrize(
    ("task", "row", "unread"),
    [("answer", ASKED, "768 tokens (76.2%)"), ("choose", OFFERED, "432 tokens (40.9%)")],
)
def test_answer_and_choose_report_unread_tokens(
    task: str,
    row: dict[str, Any],
    unread: str,
    tmp_path: Path,
    bert: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Answer: a question longer than half a window. Choose: a context beyond the limit."""
    path = tmp_path / "rows.jsonl"
    path.write_text((json.dumps(row) + "\n") * 24, encoding="utf-8")
    line = f"the length limit leaves {unread} of 24 of 24 rows unread"
    expected = {"train": [f"warning: {line}"], "eval": [line], "predict": [line]}
    assert commands((path, path), bert, capsys, "--task", task) == expected


def test_train_reports_tokens_left_unread_by_the_chosen_pooling(
    files: tuple[Path, Path],
    bert: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def head(logits: Any, score: Any, metric: str) -> Any:
        return "head", {"mean": 0.5, "head": 0.75}, score(logits["head"])

    monkeypatch.setattr("onelayer.tasks.classify.classify.best_pooling", head)
    reported = commands(files, bert, capsys)
    part = "the length limit leaves 32 tokens (38.1%) of 2 of 8 rows unread"
    assert reported == {
        "train": [f"warning: on dev {part}"],
        "eval": [part],
        "predict": [part],
    }


class RecordingReporter(Silent):
    def __init__(self) -> None:
        self.reported: list[str] = []

    def say(self, remark: str) -> None:
        self.reported.append(remark)


def test_chosen_pooling_is_reported_and_recorded(files: tuple[Path, Path], bert: Path) -> None:
    listening = RecordingReporter()
    run = onelayer.finetune(
        files[0],
        dev=files[1],
        out=files[0].with_name("run"),
        recipe=Recipe(model=str(bert), epochs=1, max_length=16, stride=2),
        reporter=listening,
    )
    assert run.record is not None
    info = run.record.to_json()
    task, scores = info["task"], info["dev"]["scores"]
    assert task["pooling_scores"][task["pooling"]] == scores["accuracy"]
    assert set(task["pooling_scores"]) == set(POOLINGS)
    assert "24 rows are read in 36 windows" in listening.reported
    (line,) = [line for line in listening.reported if line.startswith("long texts by")]
    for how, score in task["pooling_scores"].items():
        assert f"{how} {score:.4g}" in line


@pytest.mark.parametrize(
    ("task", "row"),
    [
        ("tag", {"tokens": ["a", "b"], "tags": ["O", "B-X"]}),
        ("choose", {"context": "a", "question": "b", "options": ["c", "d"], "answer": 0}),
        ("answer", {"question": "a", "context": "b c", "answer": "b"}),
    ],
)
def test_long_option_is_refused_for_tasks_without_pooling(
    task: str, row: dict[str, Any], bert: Path, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text((json.dumps(row) + "\n") * 24, encoding="utf-8")
    with pytest.raises(UsageError, match=f"--long truncate: {task} has one way"):
        onelayer.finetune(path, task=task, model=str(bert), out=tmp_path / "run", long="truncate")
