"""Each task's judge finds planted label errors, given a model with the right answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onelayer.data.layout import Layout
from onelayer.inspection import label_errors
from onelayer.inspection.label_errors import wrong_labels
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns
from onelayer.tasks import AnswerTask, Choose, Classify, Regress, Tag, Task
from onelayer.tasks.logits import Logits
from onelayer.tasks.tag.schemes import Scheme
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training.progress import Silent

SURE = 4.0


@dataclass
class RuleEngine:
    """An engine whose logits depend on the read token, or on the sequence's tokens."""

    of_read: Callable[[int, set[int]], Sequence[float]]

    def logits(self, encodings: Encodings) -> Logits:
        found = []
        cu, reads = encodings.cu_seqlens.tolist(), encodings.cu_reads.tolist()
        for i in range(len(cu) - 1):
            tokens = encodings.ids[cu[i] : cu[i + 1]].tolist()
            for at in encodings.reads[reads[i] : reads[i + 1]].tolist():
                found.append(self.of_read(tokens[at], set(tokens)))
        return np.array(found)


@pytest.fixture
def judged(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[dict[str, Any]]]:
    def by(
        task: Task, knows: RuleEngine, columns: dict[str, str], rows: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        file = tmp_path / "rows.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
        predictor = Predictor(task, tokenizer, knows, Layout(columns))
        monkeypatch.setattr(label_errors, "load", lambda _: predictor)
        found = wrong_labels(file, "run", Columns(), folds=2, reporter=Silent()).to_json()
        assert found["judged"].startswith("by the run itself")
        assert found["rows"] == len(rows)
        return [*found["suspects"]]

    return by


def token(tokenizer: Tokenizer, word: str) -> int:
    (one,) = tokenizer.encode([word])[0].ids
    return one


TEXT = {"text": "text", "label": "label"}


def test_wrong_class_is_found(judged: Any, tokenizer: Tokenizer) -> None:
    good = token(tokenizer, "good")
    knows = RuleEngine(lambda _, tokens: [0, SURE] if good in tokens else [SURE, 0])
    rows = [{"text": f"{'good' if i % 2 else 'bad'} {i}", "label": "ny"[i % 2]} for i in range(20)]
    rows[6]["label"] = "y"
    (found,) = judged(Classify(labels=("n", "y"), max_length=16), knows, TEXT, rows)
    p = 1 / (1 + np.exp(-SURE))
    assert (found["line"], found["text"], found["given"], found["likely"]) == (7, "bad 6", "y", "n")
    assert found["probability"] == pytest.approx(p)
    # The threshold of n is p, that of each of its rows; the wrong row lowers that of y.
    assert found["margin"] == pytest.approx((1 - p) - (10 * p + 1 - p) / 11)


def test_wrong_label_among_several_is_found(judged: Any, tokenizer: Tokenizer) -> None:
    words = [token(tokenizer, word) for word in ("good", "bad", "cat")]
    knows = RuleEngine(lambda _, tokens: [SURE if word in tokens else -SURE for word in words])
    rows = [
        {
            "text": f"{'good' * (i % 2)} {'cat' * (i % 3 > 0)} {'bad' * (i % 5 > 2)} {i}",
            "label": ["g"] * (i % 2) + ["b"] * (i % 5 > 2) + ["c"] * (i % 3 > 0),
        }
        for i in range(30)
    ]
    rows[4]["label"] = ["b"]  # instead of b and c
    rows[9]["label"] = ["c", "g", "b"]  # but the text has no cat
    task = Classify(labels=("g", "b", "c"), max_length=16, multi_label=True)
    found = {row["line"]: row for row in judged(task, knows, TEXT, rows)}
    assert found.keys() == {5, 10}
    assert (found[5]["given"], found[5]["likely"]) == ("b", "b; c")
    assert (found[10]["given"], found[10]["likely"]) == ("c; g; b", "g; b")


def test_wrong_tags_are_found_by_entity_type_and_grouped(judged: Any, tokenizer: Tokenizer) -> None:
    cat, bad = token(tokenizer, "cat"), token(tokenizer, "bad")
    labels = ("B-X", "I-X", "B-Y", "I-Y", "O")

    def knows(read: int, _: set[int]) -> list[float]:
        kind = {cat: "X", bad: "Y"}.get(read)
        # The model knows the type, but not which of its two tags.
        return [SURE if (label[2:] or None) == kind else 0.0 for label in labels]

    words = ["the", "cat", "cat", "x", "bad", "y"]
    tags = ["O", "B-X", "I-X", "O", "B-Y", "O"]
    rows = [{"tokens": words, "tags": list(tags)} for _ in range(12)]
    rows[3]["tags"][1:3] = ["B-Y", "I-Y"]
    rows[8]["tags"][4] = "O"
    rows[8]["tags"][0] = "B-X"
    task = Tag(labels=labels, scheme=Scheme.IOB2, max_length=32, stride=8)
    columns = {"text": "tokens", "label": "tags"}
    found = {row["line"]: row for row in judged(task, RuleEngine(knows), columns, rows)}
    assert found.keys() == {4, 9}
    assert (found[4]["given"], found[4]["likely"]) == ("cat cat [Y]", "cat cat [X]")
    assert found[9]["given"] == "the [X]; bad [O]"
    assert found[9]["likely"] == "the [O]; bad [Y]"
    p = softmax_of(task.labels, "X")
    assert found[4]["probability"] == pytest.approx(p)


def softmax_of(labels: Sequence[str], kind: str) -> float:
    e = [np.exp(SURE) if label[2:] == kind else 1.0 for label in labels]
    return 2 * float(np.exp(SURE)) / sum(e)


def test_number_far_from_its_prediction_is_found(judged: Any, tokenizer: Tokenizer) -> None:
    good = token(tokenizer, "good")
    knows = RuleEngine(lambda _, tokens: [4.0 if good in tokens else 1.0])
    rows = [
        {"text": f"{'good' if i % 2 else 'bad'} {i}", "label": (4.0 if i % 2 else 1.0) + i % 7 / 10}
        for i in range(30)
    ]
    rows[11]["label"] = 1.25
    (found,) = judged(Regress(max_length=16), knows, TEXT, rows)
    assert (found["line"], found["given"], found["likely"]) == (12, "1.25", "4")
    assert found["probability"] is None
    assert found["margin"] < -3.5


def test_wrong_option_is_found(judged: Any, tokenizer: Tokenizer) -> None:
    good = token(tokenizer, "good")
    knows = RuleEngine(lambda _, tokens: [SURE if good in tokens else 0.0])
    rows = [{"context": f"the {i}", "options": ["x", "good", "y"], "answer": 1} for i in range(20)]
    rows[5]["answer"] = 2
    columns = {"context": "context", "options": "options", "label": "answer"}
    (found,) = judged(Choose(max_length=32), knows, columns, rows)
    assert (found["line"], found["given"], found["likely"]) == (6, "y", "good")


def test_answer_without_overlap_with_a_confident_one_is_found(
    judged: Any, tokenizer: Tokenizer
) -> None:
    cat = token(tokenizer, "cat")
    knows = RuleEngine(lambda read, _: [3 * SURE, 3 * SURE] if read == cat else [0.0, 0.0])
    rows = [
        {"id": str(i), "question": "who?", "context": f"the good cat is {i}", "answers": "cat"}
        for i in range(20)
    ]
    rows[3]["answers"] = "good cat"  # contains the model's answer
    rows[7]["answers"] = "is"
    task = AnswerTask(max_length=48, stride=8, max_answer_tokens=5)
    columns = {"id": "id", "question": "question", "context": "context", "label": "answers"}
    (found,) = judged(task, knows, columns, rows)
    assert (found["line"], found["given"], found["likely"]) == (8, "is", "cat")
