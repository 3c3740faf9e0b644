"""Lines for ``onelayer-run``, and what Python makes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence

from onelayer.prediction.formats import JsonlOutput
from onelayer.prediction.predictor import Predictor
from onelayer.prediction.streams import predict_lines
from support.task_cases import PASSAGE, TEXTS, Case

LONG = "the good cat and the bad cats of the town 我们在北京 🙂 " * 12
SORTED = [
    *(*TEXTS, LONG, "🙂" * 100, "  x  ", "x" * 300, "e\u0301 \u1e9e ﬁ ǆ \u200b", "a\u2028b\x85c"),
    '{"text": ""}',
    '{"text": 5, "z": [1.0, 1e-7, 1e22, -0, {"a": null, "a": 2}], "n": 98765432109876543210}',
    '{"text": true, "prediction": 3, "k": "\\u00e9\\ud83d\\ude42\\n\\u0001"}',
]
PAIRED = [("a", "b"), ("", ""), (LONG, "x"), ("x", LONG), (LONG, LONG), ("我们 🙂", "e\u0301")]
QUESTIONS = [
    *(("where?", PASSAGE), ("x", "🙂"), ("why", LONG), (LONG, "the cat"), ("北京?", PASSAGE * 3)),
]
LINES = {
    "pairs": [json.dumps({"text": a, "pair": b}, ensure_ascii=False) for a, b in PAIRED],
    "classify": SORTED,
    "regress": SORTED,
    "tag": [
        *(*TEXTS, LONG, "🙂" * 50, '{"text": ""}', '{"text": []}', '{"text": ["x", 5, 2.50]}'),
        '{"text": ["a", "cat", "北", "京", "🙂", "", " x "], "id": 3}',
    ],
    "answer": [
        *(json.dumps({"question": q, "context": c}, ensure_ascii=False) for q, c in QUESTIONS),
        *('{"question": "q", "context": "c", "id": "me"}', "", '{"question": "q", "context": "c"}'),
    ],
    "choose": [
        '{"context": "a", "options": ["x", "y"]}',
        '{"context": "a", "question": "b", "options": [" a ", 5, true, "🙂"]}',
        '{"context": "a", "options": {"A": "x", "B": "y", "C": ""}}',
        '{"context": "a", "options": "[\\"x\\", \\"y\\"]"}',
        json.dumps({"context": LONG, "question": "q", "options": ["a", LONG, "c"]}),
    ],
}
"""Lines of a pipe, by what the model reads."""


def lines_for(case: Case) -> list[str]:
    return LINES["pairs" if "pairs" in case.name else case.task]


def lines_of_python(predictor: Predictor, lines: Sequence[str]) -> bytes:
    chunks = predict_lines(predictor, [f"{line}\n" for line in lines])
    return b"".join(map(JsonlOutput().body, chunks))
