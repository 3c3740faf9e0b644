"""Measuring smaller models beside their run."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch

from onelayer.evaluation.compare import Twice
from onelayer.metrics import intervals, paired_differences
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.shrinking import measuring
from onelayer.shrinking.measuring import (
    PARALLEL_TOKENIZER,
    BesideRun,
    NamedRows,
    bytes_to_predict,
    speeds_by_threads,
)
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings
from support.from_tokens import FromTokens, MakePredictor
from support.task_cases import CASES, Case
from support.tiny_bert import MakeBert


@dataclass
class Counted(FromTokens):
    """Counts how often it computes."""

    name: str = "counted"
    calls: int = 0
    shift: float = 0.0

    def logits(self, encodings: Encodings) -> Logits:
        self.calls += 1
        found = super().logits(encodings)
        found[:, 0] += self.shift
        return found


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        measuring,
        "paired_differences",
        partial(paired_differences, n_resamples=20, n_permutations=20),
    )
    monkeypatch.setattr(measuring, "intervals", partial(intervals, n_resamples=20))


def two(make_predictor: MakePredictor, case: Case) -> tuple[Predictor, Predictor, Any]:
    """A run, a model that answers otherwise, and the rows."""
    run, rows = make_predictor(case)
    n = len(run.task.outputs)
    return replace(run, engine=Counted(n)), replace(run, engine=Counted(n, shift=2.0)), rows


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_scores_are_those_of_eval_and_compare(
    case: Case, make_predictor: MakePredictor, few_draws: None
) -> None:
    run, model, rows = two(make_predictor, case)
    found = BesideRun(run, NamedRows(rows, "dev.csv")).scores(model)
    task, score = run.task, found.dev
    own = model.evaluate(rows)
    both = zip(run.predict_each(rows), model.predict_each(rows), strict=True)
    scorer = task.score(Twice(rows), (one for pair in both for one in pair))
    lost = measuring.paired_differences(scorer)[task.metric]
    assert found.test is None
    assert (score.file, score.rows, score.metric) == ("dev.csv", len(own), task.metric)
    assert score.score == pytest.approx(own()[task.metric], nan_ok=True)
    assert score.interval == pytest.approx(measuring.intervals(own)[task.metric], nan_ok=True)
    assert score.lost == pytest.approx((lost.a - lost.b) / task.point, nan_ok=True)
    low, high = (-x / task.point for x in reversed(lost.interval))
    assert score.lost_interval == pytest.approx((low, high), nan_ok=True)
    assert score.p == pytest.approx(lost.p, nan_ok=True)


def test_run_computes_its_answers_once(make_predictor: MakePredictor, few_draws: None) -> None:
    run, model, rows = two(make_predictor, CASES[0])
    beside = BesideRun(run, NamedRows(rows, "dev"), NamedRows(rows, "test"))
    of_run = beside.scores()
    assert of_run.dev.lost == 0
    assert of_run.dev.p == 1
    for _ in range(3):
        beside.scores(model)
    assert isinstance(run.engine, Counted)
    assert run.engine.calls == 2  # on dev, and on test
    assert of_run.dev.score == run.evaluate(rows)()["accuracy"]


@dataclass
class Timed:
    """A model that moves the clock: ``seconds`` for a call and ten times less for each row. It
    notes whether tokenizers may use several threads."""

    predictor: Predictor
    seconds: float
    clock: list[float]
    parallel: list[str | None] = field(default_factory=list)

    @property
    def task(self) -> Any:
        return self.predictor.task

    def predict_each(self, rows: Any) -> Any:
        return self.predictor.predict_each(rows)

    def predict_rows(self, rows: Sequence[Any]) -> list[Any]:
        self.parallel.append(os.environ.get(PARALLEL_TOKENIZER))
        self.clock[0] += self.seconds * (1 + len(rows) / 10)
        return list(rows)


def test_speeds_are_of_the_same_rows_by_the_clock(
    make_predictor: MakePredictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PARALLEL_TOKENIZER, raising=False)
    run, rows = make_predictor(CASES[0])
    clock = [0.0]
    models = {"slow": Timed(run, 2.0, clock), "fast": Timed(run, 1.0, clock)}
    found = speeds_by_threads(models, run, rows, (1, 3), clock=lambda: clock[0])
    n = len(list(rows))
    for name, seconds in (("slow", 2.0), ("fast", 1.0)):
        assert list(found[name]) == [1, 3]
        half = len(models[name].parallel) // 2
        assert models[name].parallel == ["false"] * half + [None] * half
        assert half == 3 + 2 * n  # three rounds, and each row twice
        for speed in found[name].values():
            assert speed.latency_ms == pytest.approx(1100 * seconds)
            assert speed.texts_per_second == pytest.approx(n / (seconds * (1 + n / 10)))
    tokens = run.task.encode(list(rows), run.tokenizer, labelled=False).ids
    assert found["fast"][1].tokens_per_second == pytest.approx(len(tokens) / (1 + n / 10))


def test_fast_model_has_more_rounds_than_a_slow_one(make_predictor: MakePredictor) -> None:
    run, rows = make_predictor(CASES[0])
    n, clock = len(list(rows)), [0.0]
    whole = 1 + n / 10  # seconds of a round, as multiples of a model's own
    models = {"slow": Timed(run, 1.0, clock), "fast": Timed(run, 0.1 / whole, clock)}
    speeds_by_threads(models, run, rows, (1,), clock=lambda: clock[0])
    assert len(models["slow"].parallel) == 3 + 2 * n
    assert 10 <= len(models["fast"].parallel) - 2 * n <= 11  # a second, of a tenth each


def test_models_are_opened_on_the_threads_that_are_measured(
    bundle: Path, make_bert: MakeBert, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PARALLEL_TOKENIZER, raising=False)
    run = load(make_bert("BertForSequenceClassification", labels=("no", "yes")))
    exported = load(bundle, "onnxruntime")
    seen: list[tuple[str, int]] = []
    opened = measuring.load

    def noted(path: Path, engine: str, threads: int) -> Predictor:
        seen.append((engine, threads))
        return opened(path, engine, threads)

    monkeypatch.setattr(measuring, "load", noted)
    monkeypatch.setattr(measuring, "cores", lambda: 2)
    rows: Any = [run.row_of(f"a good cat {i}", i) for i in range(4)]
    before = torch.get_num_threads()
    ticks = count()
    speeds_by_threads({"run": run, "int8": exported}, run, rows, clock=lambda: next(ticks))
    assert seen == [("torch", 1), ("onnxruntime", 1)]
    assert torch.get_num_threads() == before
    assert PARALLEL_TOKENIZER not in os.environ


def test_torch_computes_on_its_threads_and_leaves_the_process_alone(
    make_bert: MakeBert,
) -> None:
    run = load(make_bert("BertForSequenceClassification", labels=("no", "yes")), threads=3)
    before, seen = torch.get_num_threads(), []
    model = run.engine.model  # type: ignore[attr-defined]
    model.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    run.predict(["a good cat"])
    assert seen == [3]
    assert torch.get_num_threads() == before


def test_bytes_are_those_that_predicting_reads(bundle: Path, tmp_path: Path) -> None:
    names = ["config.json", "onelayer.json", "tokenizer.json", "tokenizer_config.json"]
    names += ["onnx/model.onnx", "onnx/model.safetensors"]
    assert bytes_to_predict(bundle) == sum((bundle / name).stat().st_size for name in names)
    (tmp_path / "model.safetensors").write_bytes(b"12345")
    (tmp_path / "report.html").write_bytes(b"123")
    assert bytes_to_predict(tmp_path) == 5
