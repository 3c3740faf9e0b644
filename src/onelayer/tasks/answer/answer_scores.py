"""Answers scored against the gold ones, by the rules of SQuAD or of CMRC."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Literal

import numpy as np

from onelayer import metrics
from onelayer.tasks.answer.answer_rows import AnswerRow

StringScore = Callable[[str, Sequence[str]], float]


def score_answers(rows: Iterable[AnswerRow], texts: Iterable[str]) -> metrics.Answers:
    """Each row's text scored against its gold answers. The rows are read twice."""
    exact, f1 = _scorers(rows)
    facts = np.fromiter(
        (
            (
                exact(text, golds),
                f1(text, golds),
                bool(row.answers),
                hash(row.passage),
                hash(row.title),
            )
            for row, text in zip(rows, texts, strict=True)
            for golds in [_golds(row)]
        ),
        dtype=[
            ("exact", "f8"),
            ("f1", "f8"),
            ("has_answer", "?"),
            ("passage", "i8"),
            ("title", "i8"),
        ],
    )
    return metrics.Answers(
        facts["exact"].copy(),
        facts["f1"].copy(),
        facts["has_answer"].copy(),
        groups=metrics.documents(facts["passage"], facts["title"]),
    )


def _golds(row: AnswerRow) -> list[str]:
    return [answer.text for answer in row.answers or ()] or [""]


def _scorers(rows: Iterable[AnswerRow]) -> tuple[StringScore, StringScore]:
    """Exact match and F1: by CMRC's rules for Chinese answers, else by SQuAD's, whose version 2.0
    is the one that knows questions without an answer."""
    version: Literal["1.1", "2.0"] = "1.1"

    def golds() -> Iterator[str]:
        nonlocal version
        for row in rows:
            version = version if row.answers else "2.0"
            yield from _golds(row)

    if metrics.is_chinese(golds()):
        return metrics.cmrc_exact, metrics.cmrc_f1
    return (
        partial(metrics.squad_exact, version=version),
        partial(metrics.squad_f1, version=version),
    )
