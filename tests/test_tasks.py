"""The conformance test of every task: train on a file, save, open again, predict the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import example, given, settings
from hypothesis import strategies as st

import onelayer
from onelayer import Predictor, Recipe
from onelayer.base.errors import CheckpointError
from onelayer.checkpoint.families.bert import BERT
from onelayer.checkpoint.source import resolve
from onelayer.nn.heads import HEADS
from onelayer.tasks import task_from_json, task_to_json
from onelayer.tasks.answer.answer_rows import Answer
from onelayer.tasks.choose.choose import Choice
from onelayer.tasks.classify.classify import Label, Labels
from onelayer.tasks.labelled import read_labelled
from onelayer.tasks.regress.regress import Value
from onelayer.tasks.tag.tag_rows import Tagged
from support.predictions import assert_same_predictions, numbers
from support.task_cases import CASES, LONG, SEQUENCE, TOKENS, Case
from support.their_answers import assert_transformers_agrees
from support.tiny_bert import MakeBert

pytestmark = pytest.mark.slow


@dataclass
class Run:
    case: Case
    file: Path
    predictor: Predictor

    @property
    def folder(self) -> Path:
        assert self.predictor.path is not None
        return self.predictor.path


def finetuned(case: Case, folder: Path, bert: Path) -> Run:
    file = case.write(folder)
    choices = {"epochs": 2, "lr": 0.01, "batch_size": 8, "folds": 0}
    choices |= LONG.get(case.task, {}) | case.choices
    return Run(case, file, onelayer.finetune(file, model=str(bert), out=folder / "run", **choices))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, make_bert: MakeBert) -> Callable[[str], Run]:
    made: dict[str, Run] = {}
    bert = make_bert(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)

    def run_of(name: str) -> Run:
        if name not in made:
            case = next(case for case in CASES if case.name == name)
            made[name] = finetuned(case, tmp_path_factory.mktemp("run"), bert)
        return made[name]

    return run_of


@pytest.fixture(params=[case.name for case in CASES])
def run(request: pytest.FixtureRequest, runs: Callable[[str], Run]) -> Run:
    return runs(request.param)


# Every task --------------------------------------------------------------------------------------


def test_task_is_inferred_and_predictions_have_its_type(run: Run) -> None:
    case, predictions = run.case, run.predictor.predict(run.case.inputs)
    assert run.predictor.task.name == case.task
    assert [type(p) for p in predictions] == [case.prediction] * len(case.inputs)
    for number in numbers(predictions):
        assert np.isfinite(number)


def test_saved_run_equals_the_run_in_memory(run: Run) -> None:
    """The opened run has the same task and layout, and predicts the same."""
    again = onelayer.load(run.folder)
    assert again.task == run.predictor.task
    assert again.layout == run.predictor.layout
    assert again.predict(run.case.inputs) == run.predictor.predict(run.case.inputs)


def test_saved_run_has_the_dev_scores_of_training(run: Run, tmp_path: Path, bert: Path) -> None:
    """With a dev file, the recorded best scores equal those of the opened run."""
    info = onelayer.finetune(
        run.file,
        dev=run.file,
        out=tmp_path / "run",
        recipe=Recipe(**(recipe_of(run) | {"epochs": 1, "folds": None})),
    ).record
    assert info is not None
    assert info.data is not None
    assert info.dev is not None
    opened = onelayer.load(tmp_path / "run")
    rows = read_labelled(run.file, Recipe(**recipe_of(run)), lambda _: None)[2]
    scorer = opened.evaluate(rows)
    assert len(scorer) == len(rows) == info.data.dev_rows > 8
    for name, score in scorer().items():
        assert score == pytest.approx(info.dev.scores[name], rel=1e-9, nan_ok=True)


def recipe_of(run: Run) -> dict[str, Any]:
    assert run.predictor.record is not None
    return dict(run.predictor.record.recipe or {})


def test_regression_records_the_range_of_dev_numbers(
    runs: Callable[[str], Run], tmp_path: Path
) -> None:
    train, dev = runs("regress"), tmp_path / "dev.jsonl"
    dev.write_text('{"text": "a", "label": 7.5}\n{"text": "b", "label": -3}\n', encoding="utf-8")
    model = str(train.folder)
    again = onelayer.finetune(train.file, dev=dev, model=model, out=tmp_path / "run", epochs=0.1)
    assert again.record is not None
    assert again.record.to_json()["dev"]["range"] == [-3, 7.5]
    other = runs("classify").predictor.record
    assert other is not None
    assert "range" not in other.to_json()["dev"]


def test_task_survives_json(run: Run) -> None:
    task = run.predictor.task
    assert task_from_json(json.loads(json.dumps(task_to_json(task)))) == task


def test_predictions_do_not_depend_on_the_batch(run: Run) -> None:
    """There is no padding through which other rows could change a prediction."""
    predict, inputs = run.predictor.predict, run.case.inputs
    together = predict(inputs)
    assert_same_predictions(together, [predict([one])[0] for one in inputs])
    assert_same_predictions(together, predict(inputs[::-1])[::-1])


def test_transformers_opens_the_run_and_gives_the_same_logits(run: Run) -> None:
    """transformers reads tokenizer, model and labels from our directory."""
    architecture = run.case.architecture
    assert BERT.class_for(HEADS[run.predictor.task.head].form) == architecture
    assert_transformers_agrees(run.predictor, run.case)


# Spans are in the original text ------------------------------------------------------------------

ANY_TEXT = st.text(max_size=40) | st.text(
    st.sampled_from(
        "a bcat 我们👨‍👩‍👧🙂🏽é\u0301\u0308\u200b\u200d\ufe0f\u202eשלום عربي\n\t\x00İßﬁ½Å한"
    ),
    max_size=40,
)


@pytest.mark.parametrize("name", [case.name for case in CASES if case.task == "tag"])
@settings(max_examples=40)
@given(text=ANY_TEXT)
@example(text="\u200b")
@example(text="e\u0301\u0301 👨‍👩‍👧 שלום")
def test_entities_are_spans_of_the_text(name: str, runs: Callable[[str], Run], text: str) -> None:
    (tagged,) = runs(name).predictor.predict([text])
    assert tagged.text == text
    assert len(tagged.tags) == len(tagged.words)
    visible = [i for i, c in enumerate(text) if c.isalnum()]
    covered = {i for start, end in tagged.words for i in range(start, end)}
    assert covered >= set(visible)
    for one in tagged.entities:
        assert one.text == text[one.start : one.end] != ""
        assert 0.0 <= one.score <= 1.0


@pytest.mark.parametrize("name", [case.name for case in CASES if case.task == "answer"])
@settings(max_examples=40)
@given(question=ANY_TEXT.filter(str.strip), passage=ANY_TEXT.filter(str.strip))
@example(question="?", passage="\u200b")
@example(question="x " * 60, passage="e\u0301\u0301 👨‍👩‍👧 שלום")
def test_answers_are_spans_of_the_passage(
    name: str, runs: Callable[[str], Run], question: str, passage: str
) -> None:
    (answer,) = runs(name).predictor.predict([(question, passage)])
    spans = [(c.text, c.start, c.end) for c in answer.candidates]
    if answer.start is not None:
        spans.append((answer.text, answer.start, answer.end))
    for text, start, end in spans:
        assert text == passage[start:end] != ""
    assert (answer.text == "") == (answer.start is None) == (answer.end is None)
    total = answer.no_answer_score + sum(c.score for c in answer.candidates)
    assert total == pytest.approx(1.0)


# Models saved by transformers --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "config", "prediction"),
    [
        (SEQUENCE, {"labels": ("x", "y")}, Label),
        (SEQUENCE, {"num_labels": 3}, Label),  # the names are LABEL_0, LABEL_1, LABEL_2
        (SEQUENCE, {"labels": ("x", "y"), "problem_type": "multi_label_classification"}, Labels),
        (SEQUENCE, {"num_labels": 1}, Value),
        (SEQUENCE, {"num_labels": 1, "problem_type": "regression"}, Value),
        (TOKENS, {"labels": ("O", "B-X", "I-X")}, Tagged),
        (TOKENS, {"num_labels": 3}, Tagged),
        ("BertForQuestionAnswering", {}, Answer),
        ("BertForMultipleChoice", {}, Choice),
    ],
)
def test_model_saved_by_transformers_predicts(
    architecture: str, config: dict[str, Any], prediction: type, make_bert: MakeBert
) -> None:
    folder = make_bert(architecture, **config)
    predictor = onelayer.load(folder)
    asked: dict[str, Any] = {"answer": ("who?", "the cat"), "choose": ("a", "b", ["x", "y"])}
    (found,) = predictor.predict([asked.get(predictor.task.name, "the cat")])
    assert type(found) is prediction
    if architecture != SEQUENCE:
        return
    model = transformers.BertForSequenceClassification.from_pretrained(folder).eval()
    inputs = predictor.tokenizer.encode(["the cat"])[0].ids
    ids = torch.tensor([[predictor.tokenizer.cls_id, *inputs, predictor.tokenizer.sep_id]])
    with torch.inference_mode():
        logits = model(ids).logits[0]
    if prediction is Value:
        assert found.value == pytest.approx(logits.item(), abs=1e-5)
    else:
        p = logits.sigmoid() if prediction is Labels else logits.softmax(-1)
        names = model.config.id2label
        assert found.probabilities == pytest.approx(
            {names[i]: q for i, q in enumerate(p.tolist())}, abs=1e-5
        )


@pytest.mark.parametrize(
    ("architecture", "config"),
    [("BertModel", {}), (SEQUENCE, {"num_labels": 3, "problem_type": "regression"})],
)
def test_model_without_a_usable_head_is_refused(
    architecture: str, config: dict[str, Any], make_bert: MakeBert
) -> None:
    with pytest.raises(CheckpointError, match="output layer"):
        onelayer.load(resolve(make_bert(architecture, **config)))
