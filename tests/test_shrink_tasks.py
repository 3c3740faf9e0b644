"""What ``onelayer.shrink`` promises for every task, and for pretrained students."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onelayer
from benchmarks.quality import two_models
from onelayer.base import digest
from onelayer.base.errors import Place, UsageError
from onelayer.checkpoint.bundle import Bundle, read_bundle
from onelayer.engines.registry import engines_for
from onelayer.prediction import from_bundle
from onelayer.shrinking import ladder
from onelayer.shrinking.shrunk import Shrunk
from onelayer.tasks.texts import TextRow
from support.quick_ladders import quick_ladders
from support.task_cases import CASES, Case
from support.tiny_bert import VOCABULARY, MakeBert, write_bert

pytestmark = pytest.mark.slow

SAME, OTHER = "the same vocabulary", "another vocabulary"
STUDENTS = {
    "classify": None,
    "classify pairs": OTHER,
    "classify multi-label": None,
    "regress": None,
    "tag IOB2": OTHER,
    "answer or none": SAME,
    "choose": OTHER,
}
"""The pretrained model that learns with the parts of the run, by the case."""


def short(case: Case) -> Case:
    """Twelve of its rows, with short passages."""
    if isinstance(case.rows, str):
        return case
    rows = [
        {**row, "context": f"{row['context'][:40]} {i}"} if "answers" in row else row
        for i, row in enumerate(case.rows[:12])
    ]
    return replace(case, rows=rows)


SHORT_CASES = {case.name: short(case) for case in CASES if case.name in STUDENTS}
MakeRun = Callable[[str], Path]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with quick_ladders():
        yield


@pytest.fixture(scope="module")
def run_of(make_bert: MakeBert, tmp_path_factory: pytest.TempPathFactory) -> MakeRun:
    """Trains a model of two layers on a case, once."""

    @cache
    def train(name: str) -> Path:
        folder, case = tmp_path_factory.mktemp("run"), SHORT_CASES[name]
        model, run = str(make_bert()), folder / "run"
        onelayer.finetune(
            case.write(folder), model=model, out=run, epochs=1, folds=0, max_length=32
        )
        return run

    return train


@pytest.fixture(scope="module")
def students(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model of one layer with the run's pieces, and one that knows no whole word."""
    whole, folder = (tmp_path_factory.mktemp("students") / name for name in ("whole", "letters"))
    write_bert(whole, "BertModel", (), num_hidden_layers=1)
    single = [one for one in VOCABULARY if len(one.removeprefix("##")) == 1]
    letters = [*VOCABULARY[:5], *reversed(single)]
    write_bert(folder, "BertModel", (), vocab_size=len(letters), num_hidden_layers=1)
    (folder / "vocab.txt").write_text("\n".join(letters) + "\n", encoding="utf-8")
    return {SAME: whole, OTHER: folder}


@pytest.mark.parametrize("name", STUDENTS)
def test_run_of_every_task_has_a_ladder_whose_models_predict(
    name: str, run_of: MakeRun, students: Mapping[str | None, Path]
) -> None:
    run, case, student = run_of(name), SHORT_CASES[name], students.get(STUDENTS[name])
    found = onelayer.shrink(run, student=None if student is None else str(student))
    rungs = {"run", "int8", "int8-trimmed", "1-layer-int8"}
    rungs |= {f"student-{student.name}-int8"} if student else set()
    assert {rung.name for rung in found.rungs if not rung.reference} == rungs
    assert found.rung("1-layer-int8").bytes < found.rung("int8").bytes
    for one in (found.model, *(Path(found.folder, one) for one in rungs if "student" in one)):
        assert one is not None
        predictions = onelayer.load(one).predict(case.inputs)
        assert all(isinstance(one, case.prediction) for one in predictions)
    assert Path(found.folder, "report.html").is_file()


def assert_same_unit(both: Bundle, small: Bundle, whole: Path, texts: list[str]) -> None:
    """The smaller model's logits are in the unit of the larger one's."""
    large = read_bundle(whole)
    assert both.first is not None
    assert small.task.label_temperature
    assert large.task.label_temperature
    unit = large.task.label_temperature / small.task.label_temperature
    rows = [TextRow(text, None, None, Place("rows")) for text in texts]
    encodings = small.task.encode(rows, small.tokenizer, labelled=False)
    for name, make in engines_for(small).items():
        logits = unit * make(small).logits(encodings)
        scaled = engines_for(both.first)[name](both.first).logits(encodings)
        np.testing.assert_allclose(scaled, logits, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["classify", "tag IOB2", "regress"])
def test_two_layers_answer_first_where_answers_are_chosen(
    name: str, make_bert: MakeBert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ladder, "LEAST_LAYERS", 3)
    monkeypatch.setattr(two_models, "SECONDS", 0.0)
    case, run = SHORT_CASES[name], tmp_path / "run"
    model, rows = str(make_bert(num_hidden_layers=3)), case.write(tmp_path)
    onelayer.finetune(rows, model=model, out=run, epochs=1, folds=0, max_length=32)
    found = onelayer.shrink(run)
    joined = [rung for rung in found.rungs if rung.name.startswith("two-models")]
    wanted = {"two-models-25": "2-layers-int8", "two-models-10": "2-layers-narrow-int8"}
    assert [rung.name for rung in joined] == ([] if name == "regress" else [*wanted])
    for rung in joined:
        folder = Path(found.folder, str(rung.model))
        bundle = read_bundle(folder)
        record = bundle.export
        assert bundle.first is not None
        assert record.first is not None
        small = read_bundle(folder.parent / wanted[rung.name])
        assert bundle.first.config == small.config
        assert record.bytes.bundle < rung.bytes
        assert rung.bytes > found.rung("int8-trimmed").bytes
        assert set(record.engines) == set(engines_for(bundle))
        assert "all layers each time" in (folder / "README.md").read_text(encoding="utf-8")
        for engine in record.engines:
            predictions = onelayer.load(folder, engine).predict(case.inputs)
            assert all(isinstance(one, case.prediction) for one in predictions)
        if name == "classify":
            assert_same_unit(bundle, small, folder.parent / "int8", case.inputs)
        asked = Namespace(dev=rows, test=rows, shares=[0.5])
        assert len(two_models.measured(bundle, bundle.first, asked)) == 4
    before = weights(found)
    assert weights(onelayer.shrink(run)) == before


def weights(found: Shrunk) -> dict[str, str]:
    """The SHA-256 of each file of weights in a ladder's folder."""
    folder = Path(found.folder)
    files = folder.rglob("*.safetensors")
    return {path.relative_to(folder).as_posix(): digest.of_file(path) for path in files}


def test_repeated_ladder_has_the_same_weights_and_scores(
    run_of: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine another engine may be measured to be the fastest."""

    def shrunk_with(engine: int, name: str) -> Shrunk:
        def chosen(bundle: Any, makes: Mapping[str, Any]) -> Any:
            return list(makes.values())[engine](bundle)

        monkeypatch.setattr(from_bundle, "fastest_engine", chosen)
        return onelayer.shrink(run_of("classify"), out=tmp_path / f"{name}-small")

    first = shrunk_with(0, "first")
    again = shrunk_with(-1, "again")
    assert len(weights(first)) > 3
    assert weights(first) == weights(again)
    measured = shrunk_with(0, "again")
    assert [rung.dev for rung in first.rungs] == [rung.dev for rung in measured.rungs]


def test_student_whose_tokens_do_not_fit_is_refused_before_anything_is_made(
    run_of: MakeRun, students: Mapping[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="the same vocabulary"):
        onelayer.shrink(
            run_of("answer or none"), out=tmp_path / "few-small", student=str(students[OTHER])
        )
    assert not any(tmp_path.iterdir())
