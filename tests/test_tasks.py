"""What every task must pass: train on a file, save, open again, and give the same answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

import onelayer
from onelayer import Predictor, Recipe
from onelayer.base.errors import CheckpointError
from onelayer.checkpoint.source import resolve
from onelayer.nn.heads import HEADS
from onelayer.tasks import task_from_json, task_to_json
from onelayer.tasks.answer.answer import Answer
from onelayer.tasks.choose.choose import Choice
from onelayer.tasks.classify.classify import Label, Labels
from onelayer.tasks.labelled import read_labelled
from onelayer.tasks.regress.regress import Value
from onelayer.tasks.tag.tag import Tagged
from onelayer.tokens.words import split_words

MakeBert = Callable[..., Path]


@dataclass(frozen=True)
class Case:
    """A labelled file of some rows, what is asked of the model made from it, and what answers."""

    name: str
    rows: list[dict[str, Any]] | str
    inputs: list[Any]
    prediction: type
    architecture: str
    choices: dict[str, Any] = field(default_factory=dict)

    @property
    def task(self) -> str:
        return self.name.split()[0]

    def write(self, folder: Path) -> Path:
        is_conll = isinstance(self.rows, str)
        path = folder / ("rows.conll" if is_conll else "rows.jsonl")
        lines = self.rows if is_conll else "\n".join(json.dumps(row) for row in self.rows)
        path.write_text(f"{lines}\n", encoding="utf-8")
        return path


TEXTS = ["a good cat", "a bad cat", "the cats", "我们 good", "bad 🙂 bad!", "x", "it isn't, is it?"]
PASSAGE = "we saw the good cat in 北京, and 🙂 the bad cats at the zoo of the town. " * 4


def texts(labels: Sequence[Any], **more: Any) -> list[dict[str, Any]]:
    """24 rows, the labels in turn."""
    return [
        {"text": f"{TEXTS[i % 4]} {i}", **more, "label": labels[i % len(labels)]} for i in range(24)
    ]


def long_texts(labels: Sequence[Any], **more: Any) -> list[dict[str, Any]]:
    """Every other text goes beyond the limit of ``SHORT``."""
    rows = texts(labels, **more)
    return [row | {"text": f"{row['text']} " * (1 + i % 2 * 9)} for i, row in enumerate(rows)]


def conll(*tagged: str) -> str:
    sentences = ["\n".join(pair.replace("/", " ") for pair in one.split()) for one in tagged]
    return "\n\n".join(sentences * 8)


def questions(*, unanswered: bool) -> list[dict[str, Any]]:
    """24 questions about as many passages; ``unanswered``: the answers to half are not there."""
    rows = []
    for i in range(24):
        passage, at = f"{PASSAGE}{i}", PASSAGE.index("北京")
        answers = [
            {"text": "北京", "answer_start": at},
            {"text": "in 北京", "answer_start": at - 3},
        ]
        has_none = unanswered and i % 2
        row = {"id": f"q{i}", "question": f"where {i}?", "context": passage}
        rows.append(row | {"answers": [] if has_none else answers[: 1 + i % 3]})
    return rows


ASKED = [("where?", PASSAGE), ("who is it?", "the good cat"), {"question": "x", "context": "🙂"}]
TO_CHOOSE = [
    {"context": f"the cat {i}", "question": "is", "options": ["good", "bad", "x 🙂"][: 2 + i % 2]}
    | {"answer": i % 2}
    for i in range(24)
]
SHORT = {"max_length": 32, "stride": 4}
SEQUENCE, TOKENS = "BertForSequenceClassification", "BertForTokenClassification"

CASES = [
    Case("classify", texts(["bad", "good", "7"]), TEXTS, Label, SEQUENCE),
    Case(
        "classify pairs",
        texts([False, True], pair="the cat 北"),
        [(text, "a cat") for text in TEXTS],
        Label,
        SEQUENCE,
    ),
    Case("classify multi-label", texts([["a", "b"], [], ["b"]]), TEXTS, Labels, SEQUENCE),
    Case("regress", texts([1500.5, 2500, 4000.25]), TEXTS, Value, SEQUENCE),
    Case("classify long", long_texts(["bad", "good"]), [*TEXTS, PASSAGE], Label, SEQUENCE, SHORT),
    Case(
        "regress long pairs",
        long_texts([1500.5, 2500, 4000.25], pair="the cat 北 " * 9),
        [*((text, "a cat") for text in TEXTS), ("x", PASSAGE), (PASSAGE, PASSAGE)],
        Value,
        SEQUENCE,
        SHORT,
    ),
    Case("tag IOB2", conll("a/O cat/B-X s/I-X", "b/B-Y c/B-X", "d/O"), TEXTS, Tagged, TOKENS),
    Case(
        "tag BIOES",
        conll("a/O cat/B-X s/E-X", "b/S-Y c/S-X", "a/B-Y b/I-Y c/E-Y", "a/B-X b/I-X c/E-X"),
        TEXTS,
        Tagged,
        TOKENS,
    ),
    Case("tag plain", conll("a/DET cat/NOUN", "go/VERB ,/PUNCT", "我/PRON"), TEXTS, Tagged, TOKENS),
    Case(
        "tag spans",
        [
            {"text": "我们在北京, ok", "entities": [{"start": 3, "end": 5, "label": "City"}]},
            {"text": "🙂 the cats", "entities": [[6, 10, "Pet"]]},
            {"text": "none", "entities": []},
        ]
        * 8,
        TEXTS,
        Tagged,
        TOKENS,
    ),
    Case("answer", questions(unanswered=False), ASKED, Answer, "BertForQuestionAnswering"),
    Case(
        "answer or none",
        questions(unanswered=True),
        ASKED,
        Answer,
        "BertForQuestionAnswering",
    ),
    Case(
        "answer three-way",
        questions(unanswered=False),
        ASKED,
        Answer,
        TOKENS,
        {"span_head": "three-way"},
    ),
    Case(
        "answer three-way or none",
        questions(unanswered=True),
        ASKED,
        Answer,
        TOKENS,
        {"span_head": "three-way"},
    ),
    Case(
        "choose",
        TO_CHOOSE,
        [("the cat", "is", ["good", "b"]), ("a", "x", ["1", "2", "3", "🙂"])],
        Choice,
        "BertForMultipleChoice",
    ),
]
LONG = {"answer": {"max_length": 40, "stride": 8}, "tag": {"max_length": 32, "stride": 8}}


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
    choices = {"epochs": 2, "lr": 0.01, "batch_size": 8} | LONG.get(case.task, {}) | case.choices
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


# Every task ------------------------------------------------------------------------------------


def test_the_task_is_seen_in_the_file_and_answers_have_its_type(run: Run) -> None:
    case, predictions = run.case, run.predictor.predict(run.case.inputs)
    assert run.predictor.task.name == case.task
    assert [type(p) for p in predictions] == [case.prediction] * len(case.inputs)
    for number in numbers(predictions):
        assert np.isfinite(number)


def test_a_saved_run_is_the_run_in_memory(run: Run) -> None:
    """Opened again, it predicts the same, and scores on dev what it scored while in training."""
    again = onelayer.load(run.folder)
    assert again.task == run.predictor.task
    assert again.layout == run.predictor.layout
    assert again.predict(run.case.inputs) == run.predictor.predict(run.case.inputs)


def test_a_saved_run_scores_what_it_scored_in_training(
    run: Run, tmp_path: Path, bert: Path
) -> None:
    """Trained again beside a dev file: its best scores in memory are those of the opened run."""
    info = onelayer.finetune(
        run.file,
        dev=run.file,
        out=tmp_path / "run",
        recipe=Recipe(**(recipe_of(run) | {"epochs": 1})),
    ).info
    assert info is not None
    opened = onelayer.load(tmp_path / "run")
    rows = read_labelled(run.file, Recipe(**recipe_of(run)), lambda _: None)[2]
    scorer = opened.evaluate(rows)
    assert len(scorer) == len(rows) == info["data"]["dev_rows"] > 8
    for name, score in scorer().items():
        in_training = info["dev"]["scores"][name]
        expected = np.nan if in_training is None else in_training
        assert score == pytest.approx(expected, rel=1e-9, nan_ok=True)


def recipe_of(run: Run) -> dict[str, Any]:
    assert run.predictor.info is not None
    return dict(run.predictor.info["recipe"])


def test_a_regression_says_between_what_the_numbers_of_dev_lie(
    runs: Callable[[str], Run], tmp_path: Path
) -> None:
    train, dev = runs("regress"), tmp_path / "dev.jsonl"
    dev.write_text('{"text": "a", "label": 7.5}\n{"text": "b", "label": -3}\n', encoding="utf-8")
    model = str(train.folder)
    again = onelayer.finetune(train.file, dev=dev, model=model, out=tmp_path / "run", epochs=0.1)
    assert again.info is not None
    assert again.info["dev"]["range"] == [-3, 7.5]
    other = runs("classify").predictor.info
    assert other is not None
    assert "range" not in other["dev"]


def test_a_task_survives_json(run: Run) -> None:
    task = run.predictor.task
    assert task_from_json(json.loads(json.dumps(task_to_json(task)))) == task


def test_company_in_a_batch_changes_no_answer(run: Run) -> None:
    """Without padding there is nothing that others in the batch could change."""
    predict, inputs = run.predictor.predict, run.case.inputs
    together = predict(inputs)
    assert_same(together, [predict([one])[0] for one in inputs])
    assert_same(together, predict(inputs[::-1])[::-1])


def assert_same(predictions: Sequence[Any], others: Sequence[Any]) -> None:
    """Equal, and numbers to the rounding of fp32."""
    assert [words(p) for p in predictions] == [words(p) for p in others]
    assert list(numbers(predictions)) == pytest.approx(list(numbers(others)), rel=1e-4, abs=1e-5)


def words(value: Any) -> Any:
    """All that is no number in a prediction."""
    if isinstance(value, Answer):  # candidates of all but equal scores may change places
        return value.text, value.start, value.end
    if isinstance(value, float):
        return None
    if isinstance(value, dict):
        return {key: words(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [words(item) for item in value]
    return words(asdict(value)) if is_dataclass(value) else value


def numbers(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, Answer):
        yield from (value.score, value.no_answer_score, value.margin)
    elif isinstance(value, dict):
        yield from numbers(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from numbers(item)
    elif is_dataclass(value):
        yield from numbers(asdict(value))


def test_transformers_opens_the_run_and_gives_the_same_logits(run: Run) -> None:
    """Their tokenizer, their model, their labels, from our directory."""
    architecture = run.case.architecture
    assert HEADS[run.predictor.task.head].architecture == architecture
    config = json.loads((run.folder / "config.json").read_text(encoding="utf-8"))
    assert config["architectures"] == [architecture]
    model = getattr(transformers, architecture).from_pretrained(run.folder).eval()
    tokenize = AutoTokenizer.from_pretrained(run.folder)
    task, predictor = run.predictor.task, run.predictor
    if architecture in (SEQUENCE, TOKENS) and task.name != "regress":
        assert model.config.id2label == dict(enumerate(task.outputs))

    is_words = task.name == "tag"

    for item in short(run.case):
        rows = [predictor._row(item, 1)]
        encodings = task.encode(rows, predictor.tokenizer, labelled=False)
        assert len(encodings.lengths) == (len(item[2]) if task.name == "choose" else 1)
        inputs = tokenize(*their_arguments(task.name, rows[0]), is_split_into_words=is_words)
        inputs = {name: torch.tensor(x)[None] for name, x in inputs.items()}
        assert inputs["input_ids"].flatten().tolist() == encodings.ids.tolist()
        with torch.inference_mode():
            out = model(**inputs)
        theirs = their_logits(task.name, out)
        if theirs.shape[0] != len(encodings.reads):
            theirs = theirs[encodings.reads.astype(np.int64)]
        ours = torch.from_numpy(predictor.engine.logits(encodings))
        scale = 1.0 if task.name != "regress" else float(theirs.abs().max())
        torch.testing.assert_close(ours / scale, theirs / scale, atol=1e-5, rtol=0.0)


def short(case: Case) -> list[Any]:
    """Inputs that fit one window, with options of one length: what transformers can batch."""
    if case.task == "answer":
        return [("who?", "the good cat in 北京"), ("where", "x")]
    if case.task == "choose":
        return [("the cat", "is", ["a", "b", "c"])]
    return [one for one in case.inputs if PASSAGE not in one]


def their_arguments(task: str, row: Any) -> tuple[Any, ...]:
    if task == "tag":
        return ([row.text[start:end] for start, end in split_words(row.text)],)
    if task == "answer":
        return (row.question, row.passage)
    if task == "choose":
        pairs = [f"{row.question} {option}" for option in row.options]
        return ([row.context] * len(pairs), pairs)
    return (row.text,) if row.pair is None else (row.text, row.pair)


def their_logits(task: str, out: Any) -> torch.Tensor:
    """(tokens or sequences, outputs)"""
    if hasattr(out, "start_logits"):
        return torch.stack([out.start_logits[0], out.end_logits[0]], dim=-1)
    return out.logits.T if task == "choose" else out.logits.view(-1, out.logits.shape[-1])


# Spans are those of the text as it came --------------------------------------------------------

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


# Opening what transformers made ----------------------------------------------------------------


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
def test_a_model_that_transformers_saved_predicts(
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
def test_a_model_without_a_layer_we_can_use_is_refused(
    architecture: str, config: dict[str, Any], make_bert: MakeBert
) -> None:
    with pytest.raises(CheckpointError, match="output layer"):
        onelayer.load(resolve(make_bert(architecture, **config)))
