"""The texts on which a run answers for smaller models: its rows, others, and texts made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple, Self

import numpy as np

from onelayer.base.wording import listed
from onelayer.checkpoint.record import TaughtRecord
from onelayer.data.rows import Rows, chunks_of
from onelayer.engines.engine import Engine
from onelayer.engines.torch_engine import TorchEngine
from onelayer.exporting.dev_rows import seed_of_split
from onelayer.prediction.predictor import CHUNK, Predictor
from onelayer.shrinking.made_texts import MadeTexts
from onelayer.tasks import AnyTask
from onelayer.tokens.encodings import Encodings, Ints, joined
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.trimming import TrimmedVocabulary
from onelayer.training.lessons import Lessons, answers_to
from onelayer.training.progress import Reporter

LESSON_TOKENS = 1_300_000
"""Tokens of all texts, about. With more, smaller models lose less, and learn longer."""
SAMPLE_ROWS = 256
"""Rows that tell how many tokens all rows have, and whether other tokens have the same answers."""
MAX_COPIES = 50
"""Copies of a row with exchanged words, at most."""
SHARE_OF_ROWS = 0.3
"""The share of the lessons that are the rows themselves, repeated: their answers are surest."""


def name_of_run(run: Predictor) -> str:
    """The name of the directory from which a run was opened."""
    assert run.path is not None, "a run is opened from a directory"
    return run.path.resolve().name


@dataclass(frozen=True, slots=True)
class LessonTexts:
    """What there is to answer. All can be read again and again."""

    rows: Iterable[Any]
    """The training rows."""
    unlabelled: Iterable[Any]
    """Rows that the user gave without labels."""
    made: MadeTexts

    @classmethod
    def of(cls, run: Predictor, rows: Rows, unlabelled: Iterable[Any]) -> Self:
        """All rows, or of many as many as have ``LESSON_TOKENS`` tokens, spread over the file. The
        neighbours of their words are looked for, which takes a few seconds."""
        assert isinstance(run.engine, TorchEngine), "a run is opened in torch"
        words = run.engine.model.encoder.embeddings.word.weight.detach().cpu().float().numpy()
        seed = seed_of_split(run.record) if run.record else 1
        made = MadeTexts.of(run.task, rows, run.tokenizer, words, seed=seed)
        sample = list(islice(rows, 0, None, max(1, len(rows) // SAMPLE_ROWS)))
        n_tokens = len(run.task.encode(sample, run.tokenizer, labelled=False).ids)
        most = LESSON_TOKENS * len(sample) // max(1, n_tokens)
        if len(rows) > most:
            (numbers,) = np.nonzero(rows.legal)
            legal = np.zeros_like(rows.legal)
            legal[numbers[np.linspace(0, len(numbers) - 1, most).round().astype(np.int64)]] = True
            rows = replace(rows, legal=legal)
        return cls(rows, unlabelled, made)

    def answers(self, run: Predictor, engine: Engine, reporter: Reporter) -> RunAnswers:
        """The run's answers to all of them, or to as many as have ``LESSON_TOKENS`` tokens.

        Parameters
        ----------
        run
            The trained model.
        engine
            What computes its logits: its own, or a faster one that gives about the same.
        reporter
            Is told how many texts have answers.
        """
        counted, found, rest = _Counted(reporter), [], LESSON_TOKENS
        for rows in self.parts():
            some = rows if rest > 0 else ()
            found.append(answers_to(run, counted.through(some), engine, max_tokens=rest))
            rest -= len(found[-1].ids)
        reporter.finish()
        return RunAnswers(*found)

    def parts(self) -> tuple[Iterable[Any], Iterable[Any], Iterable[Any]]:
        """The rows, those without labels, and those that are made."""
        return self.rows, self.unlabelled, self.made.rows(MAX_COPIES)

    def cut_by(self, task: AnyTask, tokenizer: Tokenizer, answers: RunAnswers) -> RunAnswers:
        """The same answers for the tokens of another tokenizer. A text is left out if the output
        layer then reads more of its vectors, or fewer: windows of a long text, or tokens of a
        passage."""
        parts = zip(self.parts(), answers, strict=True)
        return RunAnswers(*(_cut_by(task, tokenizer, rows, part) for rows, part in parts))

    def cut_finer(
        self, task: AnyTask, vocabulary: TrimmedVocabulary, answers: RunAnswers
    ) -> RunAnswers:
        """The same answers for texts in which no piece is that a smaller vocabulary lacks. It is
        cut into finer ones, all by their ids in the whole vocabulary."""
        parts = self.cut_by(task, vocabulary.tokenizer, answers)
        return RunAnswers(*map(vocabulary.in_whole, parts))


class RunAnswers(NamedTuple):
    """What a run says of texts: their encodings, with its logits as targets."""

    rows: Encodings
    unlabelled: Encodings
    made: Encodings

    def counts(self) -> Ints:
        """(V,) how often each piece is in the texts that nobody made of others."""
        return np.bincount(np.concatenate([self.rows.ids, self.unlabelled.ids]))

    def lessons(self, run: Predictor, what: str) -> Lessons:
        """Lessons for the smaller model that is ``what`` of the run. Rows are repeated until their
        share is as wanted."""
        others = len(self.unlabelled) + len(self.made)
        wanted = SHARE_OF_ROWS / (1 - SHARE_OF_ROWS) * others / max(1, len(self.rows))
        parts = [self.rows] * max(1, round(wanted)) + [self.unlabelled, self.made]
        counts = {
            "rows": len(self.rows),
            "texts without labels": len(self.unlabelled),
            "texts made of the rows by exchanging words": len(self.made),
        }
        record = run.record
        made_of = TaughtRecord(
            by=name_of_run(run),
            sha256=record.sha256 if record else None,
            what=what,
            lessons=listed([f"{n:,} {name}" for name, n in counts.items() if n]),
        )
        return Lessons(joined([part for part in parts if len(part)]), made_of)


def read_alike(
    rows: Iterable[Any], one: tuple[AnyTask, Tokenizer], other: tuple[AnyTask, Tokenizer]
) -> float:
    """The share of the first rows whose tokens give the output layer as many vectors to read in
    one way as in the other, so that the same answers are of use to both."""
    some = list(islice(rows, SAMPLE_ROWS))
    reads, others = (
        np.diff(task.encode(some, tokenizer, labelled=False).row_reads)
        for task, tokenizer in (one, other)
    )
    return float(np.mean(reads == others))


def _cut_by(
    task: AnyTask, tokenizer: Tokenizer, rows: Iterable[Any], answers: Encodings
) -> Encodings:
    """Some answers for other tokens; they are those to the first rows."""
    found, n = [task.encode([], tokenizer, labelled=False)], 0
    for chunk in chunks_of(CHUNK, islice(rows, len(answers))):
        before = answers.part(n, n + len(chunk))
        n += len(chunk)
        own = task.encode(chunk, tokenizer, labelled=False)
        kept = np.flatnonzero(np.diff(own.row_reads) == np.diff(before.row_reads))
        targets = before.of_rows(kept).targets
        found.append(replace(own.of_rows(kept), targets=targets, offsets=None))
    return joined([part for part in found if len(part)] or found)


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
