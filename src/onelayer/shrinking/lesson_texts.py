"""The texts on which a run answers for smaller models: its rows, others, and texts made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Self

import numpy as np

from onelayer.checkpoint.record import TaughtRecord
from onelayer.data.rows import Rows
from onelayer.engines.engine import Engine
from onelayer.prediction.predictor import Predictor
from onelayer.shrinking.made_texts import MadeTexts
from onelayer.tokens.encodings import joined
from onelayer.training.lessons import Lessons, answers_to
from onelayer.training.progress import Reporter

LESSON_TOKENS = 1_300_000
"""Tokens of all texts, about. With more, smaller models lose less, and learn longer."""
SAMPLE_ROWS = 256
"""Rows that tell how many tokens all rows have."""
MAX_COPIES = 50
"""Copies of a row with exchanged words, at most."""
SHARE_OF_ROWS = 0.3
"""The share of the lessons that are the rows themselves, repeated: their answers are surest."""


@dataclass(frozen=True, slots=True)
class LessonTexts:
    """What there is to answer. All can be read again and again."""

    rows: Iterable[Any]
    """The training rows."""
    unlabelled: Iterable[Any]
    """Rows that the user gave without labels."""
    made: MadeTexts

    @classmethod
    def of(cls, run: Predictor, rows: Rows, unlabelled: Iterable[Any], made: MadeTexts) -> Self:
        """All rows, or of many as many as have ``LESSON_TOKENS`` tokens, spread over the file."""
        sample = list(islice(rows, 0, None, max(1, len(rows) // SAMPLE_ROWS)))
        n_tokens = len(run.task.encode(sample, run.tokenizer, labelled=False).ids)
        most = LESSON_TOKENS * len(sample) // max(1, n_tokens)
        if len(rows) > most:
            (numbers,) = np.nonzero(rows.legal)
            legal = np.zeros_like(rows.legal)
            legal[numbers[np.linspace(0, len(numbers) - 1, most).round().astype(np.int64)]] = True
            rows = replace(rows, legal=legal)
        return cls(rows, unlabelled, made)

    def lessons(self, run: Predictor, engine: Engine, reporter: Reporter) -> Lessons:
        """The run's answers to all of them.

        Parameters
        ----------
        run
            The trained model.
        engine
            What computes its logits: its own, or a faster one that gives about the same.
        reporter
            Is told how many texts have answers.
        """
        counted = _Counted(reporter)
        own = answers_to(run, counted.through(self.rows), engine, max_tokens=LESSON_TOKENS)
        parts, rest = [own], LESSON_TOKENS - len(own.ids)
        n_unlabelled = n_made = 0
        if rest > 0:
            given = answers_to(run, counted.through(self.unlabelled), engine, max_tokens=rest)
            if n_unlabelled := len(given):
                parts.append(given)
                rest -= len(given.ids)
        if rest > 0 and len(own):
            made_rows = counted.through(self.made.rows(MAX_COPIES))
            made = answers_to(run, made_rows, engine, max_tokens=rest)
            if n_made := len(made):
                parts.append(made)
        others = n_unlabelled + n_made
        # Rows are repeated until their share of all is as wanted.
        wanted = SHARE_OF_ROWS / (1 - SHARE_OF_ROWS) * others / max(1, len(own))
        parts += [own] * (max(1, round(wanted)) - 1)
        reporter.finish()
        said = [f"{len(own):,} rows", f"{n_unlabelled:,} texts without labels"]
        said.append(f"{n_made:,} texts made of the rows by exchanging words")
        record = run.record
        made_of = TaughtRecord(
            by=run.path.name if run.path else "a model",
            sha256=record.sha256 if record else None,
            what="",
            lessons=", ".join(each for each in said if not each.startswith("0 ")),
        )
        return Lessons(joined(parts), made_of)


class _Counted:
    """Reports how many texts have answers."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.n = 0

    def through(self, rows: Iterable[Any]) -> Iterator[Any]:
        for row in rows:
            self.n += 1
            if self.n % 1024 == 0:
                self.reporter.prepare("answering", self.n, None)
            yield row
