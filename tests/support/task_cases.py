"""The labelled files of the conformance test: one or more for every task, with example inputs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onelayer.tasks.answer.answer_rows import Answer
from onelayer.tasks.choose.choose import Choice
from onelayer.tasks.classify.classify import Label, Labels
from onelayer.tasks.regress.regress import Value
from onelayer.tasks.tag.tag_rows import Tagged


@dataclass(frozen=True)
class Case:
    """The rows of a labelled file, inputs for its model, and the type of its predictions."""

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
    """24 rows with the labels in turn."""
    return [
        {"text": f"{TEXTS[i % 4]} {i}", **more, "label": labels[i % len(labels)]} for i in range(24)
    ]


def long_texts(labels: Sequence[Any], **more: Any) -> list[dict[str, Any]]:
    """24 rows; every other text is longer than the limit of ``SHORT``."""
    rows = texts(labels, **more)
    return [row | {"text": f"{row['text']} " * (1 + i % 2 * 9)} for i, row in enumerate(rows)]


def conll(*tagged: str) -> str:
    sentences = ["\n".join(pair.replace("/", " ") for pair in one.split()) for one in tagged]
    return "\n\n".join(sentences * 8)


def questions(*, unanswered: bool) -> list[dict[str, Any]]:
    """24 questions about 24 passages; half of them have no answer if ``unanswered``."""
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
