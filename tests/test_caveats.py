"""What scores can't tell is said with them: in eval, compare, record, card and report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

import onelayer
from onelayer.base.errors import Place
from onelayer.evaluation.caveats import caveats_of_dev, caveats_of_labels
from onelayer.metrics import Classification, Entities, MultiLabel
from onelayer.tasks import Choose, Classify, Regress, Tag
from onelayer.tasks.calibration import best_thresholds, cross_fitted_sets
from onelayer.tasks.logits import sigmoid
from onelayer.tasks.tag.schemes import Scheme
from onelayer.tasks.texts import TextRow
from onelayer.tokens.encodings import EncodingsBuilder

HERE = Place("rows.jsonl")
THREE = Classify(labels=("a", "b", "c"), max_length=8)


def of_labels(gold: str) -> list[str]:
    ids = np.array(["abc".index(name) for name in gold])
    return list(caveats_of_labels(THREE, Classification(ids, ids, 3)))


def test_labels_without_or_with_few_rows_are_named() -> None:
    assert of_labels("abc" * 5) == []
    assert of_labels("a" * 9 + "b" * 5) == [
        "no row has the label 'c': the scores say nothing of it"
    ]
    none, few = of_labels("a" * 60 + "c")
    assert "'b'" in none
    assert few == "fewer than 5 of a label: 'c' (1): the scores say little of it"


def test_entity_type_without_a_row_is_named() -> None:
    task = Tag(labels=("B-X", "B-Y", "I-X", "O"), scheme=Scheme.IOB2, max_length=8, stride=2)
    found = [{(i, i + 1, "X")} for i in range(6)]
    assert list(caveats_of_labels(task, Entities(found, found))) == [
        "no row has the type 'Y': the scores say nothing of it"
    ]


def test_what_dev_chose_is_named() -> None:
    (said,) = caveats_of_dev(Choose(max_length=8), 20, None)
    assert said.startswith("these rows also chose the best of 20 checkpoints and the temperature")
    assert list(caveats_of_dev(Regress(max_length=8), 1, None)) == []


def write(file: Path, texts: Sequence[str], labels: str) -> Path:
    rows = ({"text": text, "label": labels[i % len(labels)]} for i, text in enumerate(texts))
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


@pytest.mark.slow
def test_scores_of_rows_that_the_run_has_seen_are_remarked_on(bert: Path, tmp_path: Path) -> None:
    train = write(tmp_path / "train.jsonl", [f"good {i}" for i in range(100)], "abb")
    new = write(tmp_path / "new.jsonl", [f"other {i}" for i in range(20)], "abb")
    mixed = write(
        tmp_path / "mixed.jsonl", [f"{'good' if i % 2 else 'new'} {i}" for i in range(40)], "ab"
    )
    run = tmp_path / "run"
    model = onelayer.finetune(train, model=str(bert), out=run, epochs=2, batch_size=16, folds=0)
    assert onelayer.evaluate(run, new).caveats == ()
    (half,) = onelayer.evaluate(run, mixed).caveats
    assert half.startswith("about 50% of the rows are training or dev rows of the run")
    copies = write(tmp_path / "copies.jsonl", [f"copy {i % 4}." for i in range(40)], "ab")
    (repeated,) = onelayer.evaluate(run, copies).caveats
    assert repeated.startswith("40 rows have 4 distinct texts: the intervals are too narrow")
    whole = onelayer.evaluate(run, train)
    assert whole.caveats[0].startswith("all of the rows are training or dev rows")
    assert whole.caveats[0] in repr(whole)
    assert "training or dev rows of A" in onelayer.compare(run, run, train).caveats[0]
    assert model.record is not None
    assert model.record.dev is not None
    assert any("fewer than 5" in one for one in model.record.dev.caveats)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "These rows also chose the best of 2 checkpoints and the temperature" in page
    assert "fewer than 5 of a label" in repr(model)
    card = (run / "README.md").read_text(encoding="utf-8")
    assert "The dev rows also chose the checkpoint" in card
    assert "Fewer than 5 of a label" in card


def test_cross_fitted_score_of_thresholds_doesnt_flatter() -> None:
    """With 100 dev rows the thresholds' own score is some six points too high."""
    rng = np.random.default_rng(0)

    def drawn(n: int) -> tuple[np.ndarray, np.ndarray]:
        p = sigmoid(rng.normal(-2.0, 1.5, (n, 10)))
        return p, rng.random((n, 10)) < p

    new_p, new_gold = drawn(20_000)
    flattery, bias = [], []
    for _ in range(25):
        p, gold = drawn(100)
        thresholds = np.asarray(best_thresholds(p, gold))
        true = MultiLabel(new_gold, new_p >= thresholds)()["micro_f1"]
        flattery.append(MultiLabel(gold, p >= thresholds)()["micro_f1"] - true)
        chosen = cross_fitted_sets(p, gold)
        assert chosen is not None
        bias.append(MultiLabel(gold, chosen)()["micro_f1"] - true)
    assert np.mean(flattery) > 0.04
    assert abs(np.mean(bias)) < 0.025


def test_multi_label_dev_score_comes_with_its_cross_fitted_one() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(-1.0, 1.5, (60, 3))
    gold = rng.random((60, 3)) < sigmoid(logits)
    rows = [TextRow("a", None, tuple(np.array(["a", "b", "c"])[own]), HERE) for own in gold]
    builder = EncodingsBuilder()
    for _ in rows:
        builder.start_row(2)
        builder.add([1, 2], 2)
    encodings = builder.build(examples_are_rows=False)
    task = Classify(labels=("a", "b", "c"), max_length=8, multi_label=True)
    tuned, scorer = task.tune(rows, [(rows, encodings, logits)])
    assert isinstance(scorer, MultiLabel)
    assert scorer.cross_fitted is not None
    assert scorer.cross_fitted < scorer()["micro_f1"]
    (said,) = caveats_of_dev(tuned, 3, scorer.cross_fitted)
    assert "the temperature and the labels' thresholds: tuned on other rows, micro_f1" in said
