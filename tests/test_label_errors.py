"""Label errors: the rule equals cleanlab's, and no model judges rows that it was trained on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from hypothesis import given, settings
from hypothesis import strategies as st

import onelayer
from onelayer import UsageError, load
from onelayer.base.errors import Place
from onelayer.data.rows import Rows
from onelayer.data.sketch import SIZE, Sketch
from onelayer.inspection import cross_validation, label_errors
from onelayer.inspection.cross_validation import assign_folds
from onelayer.inspection.label_errors import wrong_labels
from onelayer.metrics import confident_errors, outliers
from onelayer.recipe import Columns, Recipe
from onelayer.tasks import TASKS
from onelayer.tasks.labelled import open_labelled, usable_rows
from onelayer.training.progress import Silent
from support.task_cases import CASES, LONG, Case
from support.tiny_bert import MakeBert

pytestmark = pytest.mark.slow


def rows_of(file: Path, **choices: Any) -> Rows:
    recipe = Recipe(**choices)
    kind, layout, table = open_labelled(file, recipe, lambda _: None)
    return usable_rows(kind, table, layout, recipe, lambda _: None)


# The rule ----------------------------------------------------------------------------------------


def noisy(n: int, n_labels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels with a tenth of them wrong, and probabilities of a fair model that underrates some
    labels."""
    rng = np.random.default_rng(seed)
    true = rng.integers(n_labels, size=n)
    logits = rng.normal(size=(n, n_labels)) + 2 * np.eye(n_labels)[true]
    logits += np.linspace(-1.5, 1.5, n_labels)
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return p, np.where(rng.random(n) < 0.1, rng.integers(n_labels, size=n), true)


@settings(max_examples=25)
@given(n_labels=st.integers(2, 5), seed=st.integers(0, 1000))
def test_confident_errors_equal_cleanlab(n_labels: int, seed: int) -> None:
    p, labels = noisy(150, n_labels, seed)
    doubts = confident_errors(p, labels)
    theirs = find_label_issues(labels, p, filter_by="confident_learning", n_jobs=1)
    # If the most likely label is below its own threshold and several others are above theirs,
    # cleanlab still takes it, but the paper takes the most likely of the others.
    thresholds = np.array([p[labels == k, k].mean() for k in range(n_labels)])
    above = p >= thresholds - 1e-6
    alike = (above.sum(axis=1) < 2) | above[np.arange(len(p)), p.argmax(axis=1)]
    np.testing.assert_array_equal(doubts.wrong[alike], theirs[alike])
    assert alike.mean() > 0.9
    quality = get_label_quality_scores(
        labels, p, method="normalized_margin", adjust_pred_probs=True
    )
    # cleanlab shifts probabilities above 0, normalizes them and then maps the margin to 0..1.
    scale = 1 - thresholds.sum() + n_labels * thresholds.max()
    np.testing.assert_allclose(doubts.margin, (2 * quality - 1) * scale, atol=1e-9)


def test_label_with_low_probabilities_everywhere_is_not_suspect() -> None:
    """Label 1 never gets more than 0.4, and its rows with the usual probability are no errors."""
    p = np.array([[0.95, 0.05]] * 8 + [[0.6, 0.4]] * 4 + [[0.97, 0.03]])
    labels = np.array([0] * 8 + [1] * 5)
    doubts = confident_errors(p, labels)
    assert np.flatnonzero(doubts.wrong).tolist() == [12]
    assert doubts.likely[12] == 0
    thresholds = 0.95, (4 * 0.4 + 0.03) / 5
    assert doubts.margin[12] == pytest.approx((0.03 - thresholds[1]) - (0.97 - thresholds[0]))


def test_label_without_rows_is_never_the_likely_one() -> None:
    p = np.array([[0.1, 0.2, 0.7], [0.3, 0.2, 0.5]])
    assert confident_errors(p, np.array([0, 1])).likely.tolist() == [1, 0]


def test_outliers_are_found_by_robust_z_score() -> None:
    rng = np.random.default_rng(0)
    residuals = rng.normal(loc=5, scale=2, size=1000)
    residuals[7] = 25
    far, z = outliers(residuals)
    assert np.flatnonzero(far).tolist() == [7] or far.sum() <= 3
    assert far[7]
    assert z.std() == pytest.approx(1, abs=0.3)
    assert not outliers(np.ones(5))[0].any()


# Folds -------------------------------------------------------------------------------------------


def write(folder: Path, rows: Sequence[dict[str, Any]], name: str = "rows.jsonl") -> Path:
    file = folder / name
    file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return file


def test_folds_are_equal_in_size_and_stratified(tmp_path: Path) -> None:
    texts = [{"text": f"text {i}", "label": "ab"[i % 10 == 0]} for i in range(100)]
    rows = rows_of(write(tmp_path, texts))
    folds = assign_folds(rows, 5, seed=1)
    assert np.bincount(folds).tolist() == [20] * 5
    assert np.bincount(folds[::10]).tolist() == [2] * 5
    assert (assign_folds(rows, 5, seed=1) == folds).all()
    assert (assign_folds(rows, 5, seed=2) != folds).any()


def test_texts_that_differ_in_case_space_or_width_share_a_fold(tmp_path: Path) -> None:
    texts = [
        {"text": text.format(i), "label": "ab"[i % 2]}
        for i in range(20)
        for text in ("Good {}", "good  {}", "ｇｏｏｄ {}")
    ]
    folds = assign_folds(rows_of(write(tmp_path, texts)), 5, seed=1).reshape(20, 3)
    assert (folds == folds[:, :1]).all()
    assert len(np.unique(folds)) == 5


def test_questions_about_one_passage_share_a_fold(tmp_path: Path) -> None:
    asked = [
        {"question": f"q {i}?", "context": f"the good cat {i % 8}", "answers": "cat", "id": str(i)}
        for i in range(40)
    ]
    folds = assign_folds(rows_of(write(tmp_path, asked), task="answer"), 4, seed=1).reshape(5, 8)
    assert (folds == folds[0]).all()


FILES: list[tuple[str, str, dict[str, Any]]] = [
    (
        "choices.csv",
        'story,A,B,C,right\nthe cat,"is, good",bad,,A\na dog,x,y,z,C\nit,1,2,,B\n',
        {"task": "choose", "context": "story", "options": "A,B,C", "label": "right"},
    ),
    (
        "counted.jsonl",
        "".join(
            f'{{"context": "c {i}", "options": ["a", "b"], "answer": {1 + i % 2}}}\n'
            for i in range(4)
        ),
        {"task": "choose"},
    ),
    ("labels.csv", "text,labels\na,x;y\nb,x\nc,y\nd,\n", {"multi_label": True}),
    ("commas.csv", 'text,label\na,"x, then y"\nb,x\nc,"x, then y"\n', {"multi_label": False}),
    ("numbers.tsv", "a\tb\tscore\nx\ty\t1.50\nz\tw\t-2\n", {"text": "a", "pair": "b"}),
    (
        "places.csv",
        "id,title,question,context,answer,answer_start\n"
        "q1,T,who?,a cat and a cat,cat,12\nq2,T,what?,the day,day,4\n",
        {"task": "answer"},
    ),
    ("words.conll", "a O\ncat B-X\n\n我 O\n们 B-Y\n\n", {}),
    (
        "spans.jsonl",
        '{"text": "北京 ok", "label": {"City": {"北京": [[0, 1]]}}}\n{"text": "x", "label": {}}\n',
        {"task": "tag"},
    ),
]


@pytest.mark.parametrize(("name", "content", "choices"), FILES, ids=[name for name, *_ in FILES])
def test_fold_file_gives_the_rows_of_the_original_file(
    name: str, content: str, choices: dict[str, Any], tmp_path: Path
) -> None:
    """For every format, set of columns and form of a label."""
    (tmp_path / name).write_text(content, encoding="utf-8")
    rows = rows_of(tmp_path / name, **choices)
    fold = tmp_path / "fold.jsonl"
    cross_validation.write_rows(rows, rows.legal, fold)
    recipe = cross_validation.recipe_by_role(Recipe(**choices), rows, choices.get("multi_label"))
    _, layout, table = open_labelled(fold, recipe, lambda _: None)
    again = usable_rows(rows.kind, table, layout, recipe, lambda _: None)
    nowhere = Place("x")
    assert [replace(row, place=nowhere) for row in again] == [
        replace(row, place=nowhere) for row in rows
    ]
    assert len(again) > 1


# Has the run seen the rows? ----------------------------------------------------------------------


@settings(max_examples=20)
@given(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 10**6))
def test_sketch_estimates_the_share_of_seen_rows(n: int, n_new: int, seed: int) -> None:
    sketch = Sketch()
    for i in range(n):
        sketch.see((f"{seed} {i}",))
    sketch = Sketch.from_text(sketch.to_text())
    assert len(sketch.smallest) == min(n, SIZE)
    share = sketch.share_of((f"{seed} {i}",) for i in range(n // 2, n + n_new))
    asked = n - n // 2 + n_new
    if n <= SIZE:
        assert share == ((n - n // 2) / asked if asked else None)
    elif share is not None:
        # the estimate uses 256 of the 512 hashes, and an equal share of the new rows
        assert share == pytest.approx((n - n // 2) / asked, abs=0.2)


def test_sketch_weighs_early_and_late_rows_alike(tmp_path: Path) -> None:
    sketch = Sketch()
    for i in range(5000):
        sketch.see((str(i),))
    for start in (0, 4000):
        assert sketch.share_of((str(i),) for i in range(start, start + 1000)) == 1.0


# From a file to its list of suspects -------------------------------------------------------------


@dataclass
class RecordingReporter(Silent):
    remarks: list[str] = field(default_factory=list)

    def say(self, remark: str) -> None:
        self.remarks.append(remark)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, make_bert: MakeBert) -> Callable[[str], Any]:
    """Returns a run trained on a case's file, and the file."""
    made: dict[str, tuple[Path, Path]] = {}

    def run_of(name: str) -> tuple[Path, Path]:
        if name not in made:
            case: Case = next(case for case in CASES if case.name == name)
            folder = tmp_path_factory.mktemp("run")
            file = case.write(folder)
            choices = {"epochs": 1, "lr": 0.01, "batch_size": 8} | LONG.get(case.task, {})
            model, run = str(make_bert()), folder / "run"
            onelayer.finetune(file, model=model, out=run, **choices | case.choices)
            made[name] = run, file
        return made[name]

    return run_of


@pytest.mark.parametrize("name", [case.name for case in CASES if "three-way" not in case.name])
def test_rows_are_judged_by_models_that_were_not_trained_on_them(
    name: str, runs: Callable[[str], tuple[Path, Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, file = runs(name)
    learned: list[Rows] = []
    finetune = cross_validation.finetune

    def watched(train: Path, **more: Any) -> Any:
        assert more["recipe"].epochs == 1
        kind = TASKS[more["recipe"].task]
        _, layout, table = open_labelled(train, more["recipe"], lambda _: None)
        learned.append(
            [
                kind.texts(row)
                for row in usable_rows(kind, table, layout, more["recipe"], lambda _: None)
            ]
        )
        return finetune(train, **more)

    monkeypatch.setattr(cross_validation, "finetune", watched)
    judged: list[tuple[int, list[int], list[Any]]] = []
    chunks = cross_validation._chunks

    def noted(predictor: Any, rows: Rows, chosen: Any) -> Any:
        for _, numbers, chunk in chunks(predictor, rows, chosen):
            judged.append((len(learned) - 1, numbers.tolist(), chunk))
            yield predictor, numbers, chunk

    monkeypatch.setattr(cross_validation, "_chunks", noted)
    reporter = RecordingReporter()
    found = wrong_labels(file, run, Columns(), folds=2, reporter=reporter).to_json()
    assert "2-fold cross-validation" in found["judged"]
    assert "it has seen all of the rows" in found["judged"]
    assert sum(remark.startswith("fold ") for remark in reporter.remarks) == 2
    assert sorted(n for _, numbers, _ in judged for n in numbers) == list(range(found["rows"]))
    for fold, _, rows in judged:
        assert {TASKS[name.split()[0]].texts(row) for row in rows}.isdisjoint(learned[fold])
    assert found["probably_wrong"] == len(found["suspects"])
    margins = [row["margin"] for row in found["suspects"]]
    assert margins == sorted(margins)
    for row in found["suspects"]:
        assert row["given"] != row["likely"]


def test_run_judges_rows_it_has_not_seen_itself(
    runs: Callable[[str], tuple[Path, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = runs("classify")
    new = write(
        tmp_path, [{"text": f"new {i}", "label": ["bad", "good", "7"][i % 3]} for i in range(30)]
    )

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(cross_validation, "finetune", never)
    found = wrong_labels(new, run, Columns(), folds=5, reporter=RecordingReporter()).to_json()
    assert found["judged"] == "by the run itself: it has seen none of the rows"
    assert found["rows"] == 30


def test_planted_label_errors_are_found(tmp_path: Path, make_bert: MakeBert) -> None:
    """One word decides the label; five of sixty rows have the wrong label."""
    rng = random.Random(3)
    rows = []
    for i in range(60):
        word = "good" if i % 2 else "bad"
        filler = " ".join(rng.choices("abcdefgh", k=3))
        rows.append({"text": f"{word} {filler} {word}", "label": word})
    planted = {4, 15, 22, 37, 50}
    for i in planted:
        rows[i]["label"] = "bad" if rows[i]["label"] == "good" else "good"
    file = write(tmp_path, rows)
    choices = {"epochs": 12, "lr": 0.005, "batch_size": 8, "model": str(make_bert())}
    onelayer.finetune(file, out=tmp_path / "run", **choices)
    found = wrong_labels(
        file, tmp_path / "run", Columns(), folds=3, reporter=RecordingReporter()
    ).to_json()
    assert {row["line"] - 1 for row in found["suspects"]} == planted
    for row in found["suspects"]:
        assert row["likely"] == rows[row["line"] - 1]["text"].split()[0]
        assert row["probability"] > row["given_probability"]


def test_label_in_one_fold_only_is_not_judged(tmp_path: Path, make_bert: MakeBert) -> None:
    rows = [{"text": f"{'good' if i % 2 else 'bad'} {i}", "label": "xy"[i % 2]} for i in range(24)]
    rows.append({"text": "the cat", "label": "once"})
    file = write(tmp_path, rows)
    choices = {"epochs": 1, "batch_size": 8, "model": str(make_bert())}
    onelayer.finetune(file, out=tmp_path / "run", **choices)
    found = wrong_labels(
        file, tmp_path / "run", Columns(), folds=2, reporter=RecordingReporter()
    ).to_json()
    assert found["not_judged"] == 1
    assert 25 not in [row["line"] for row in found["suspects"]]


def test_one_fold_is_refused(runs: Callable[[str], tuple[Path, Path]]) -> None:
    run, file = runs("classify")
    with pytest.raises(UsageError, match="2 or more"):
        wrong_labels(file, run, Columns(), folds=1, reporter=RecordingReporter())


@pytest.mark.parametrize(("recipe", "by"), [({}, 1.0), (None, 0.0)])
def test_run_without_a_sketch_counts_as_trained_on_the_rows_if_it_has_a_recipe(
    recipe: dict[str, Any] | None, by: float, runs: Callable[[str], tuple[Path, Path]]
) -> None:
    run, file = runs("classify")
    known = load(run).record
    assert known is not None
    assert (
        label_errors._share_seen(replace(known, recipe=recipe, seen=None), rows_of(file))[1] == by
    )
