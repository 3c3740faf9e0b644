"""What out-of-sample predictions say of the labels: a judge a task."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from onelayer.base.errors import UsageError
from onelayer.base.wording import clipped, in_words
from onelayer.metrics import Bools, Doubts, Floats, Ints, confident_errors, outliers
from onelayer.prediction.predictor import Predictor
from onelayer.tasks import AnswerTask, AnyTask, Choose, Classify, Regress, Tag
from onelayer.tasks.answer.answer import Answer, AnswerRow
from onelayer.tasks.choose.choose import Choice, ChooseRow
from onelayer.tasks.logits import softmax
from onelayer.tasks.tag.schemes import OUTSIDE, parse
from onelayer.tasks.tag.tag import TagRow
from onelayer.tasks.texts import TextRow

Span = tuple[int, int, str, str]
"""Start and end in the text, the given label and the likely one."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """A row whose label is probably wrong; the lower ``margin``, the surer."""

    number: int
    """Which of the file's rows that can be used, from 0."""
    margin: float
    likely: str
    probability: float | None = None
    """Of the likely label; None for a number."""
    given_probability: float | None = None
    spans: tuple[Span, ...] = ()
    """Of a tagged text, where it is wrong."""


class Judge(Protocol):
    """Sees each row with a model that did not learn from it; keeps a few numbers of each label."""

    unjudged: int
    """Rows with a label that the model could not know."""

    def see(self, predictor: Predictor, numbers: Ints, rows: Sequence[Any]) -> None: ...
    def suspects(self) -> list[Suspect]: ...


def judge_of(task: AnyTask) -> Judge:
    """The judge for labels of a task. Whose labels count is the given one, not the model's."""
    match task:
        case Classify(multi_label=True):
            return SeveralLabels(task.labels)
        case Classify():
            return OneLabel(task.labels)
        case Tag():
            return Words(task)
        case Regress():
            return Numbers()
        case AnswerTask() | Choose():
            return Disagreements()
    raise UsageError(f"there is no judge yet for labels of {task.name}")


class _Table:
    """Probabilities and gold labels of the rows seen, chunk by chunk."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = labels
        self.index = {label: i for i, label in enumerate(labels)}
        self.unjudged = 0
        self._numbers: list[Ints] = []
        self._p: list[Floats] = []
        self._given: list[Ints] = []

    def _add(self, numbers: Ints, p: Floats, given: Ints) -> None:
        self._numbers.append(numbers)
        self._p.append(p.astype(np.float32))
        self._given.append(given)

    def _whole(self) -> tuple[Ints, Floats, Ints]:
        if not self._numbers:
            none = np.empty(0, np.int64)
            return none, np.empty((0, len(self.labels)), np.float32), none
        return np.concatenate(self._numbers), np.concatenate(self._p), np.concatenate(self._given)

    def _probabilities(self, predictions: Sequence[Any]) -> Floats:
        """(n, L), 0 for labels that the model does not know."""
        return np.array(
            [[said.probabilities.get(label, 0.0) for label in self.labels] for said in predictions]
        ).reshape(len(predictions), len(self.labels))

    def _known(self, predictor: Predictor, named: Iterable[Sequence[str]]) -> Bools:
        """Of which rows the model knows all labels."""
        known = set(predictor.task.outputs)
        judged = np.array([known.issuperset(names) for names in named], np.bool_)
        self.unjudged += int(np.count_nonzero(~judged))
        return judged


class OneLabel(_Table):
    def see(self, predictor: Predictor, numbers: Ints, rows: Sequence[TextRow]) -> None:
        judged = self._known(predictor, ([str(row.label)] for row in rows))
        p = self._probabilities(predictor.predict_rows(rows))
        given = np.array([self.index.get(str(row.label), 0) for row in rows], np.int64)
        self._add(numbers[judged], p[judged], given[judged])

    def suspects(self) -> list[Suspect]:
        numbers, p, given = self._whole()
        doubts = confident_errors(p, given)
        return [
            Suspect(
                int(numbers[i]),
                float(doubts.margin[i]),
                self.labels[doubts.likely[i]],
                float(p[i, doubts.likely[i]]),
                float(p[i, given[i]]),
            )
            for i in np.flatnonzero(doubts.wrong)
        ]


class SeveralLabels(_Table):
    """Each label is a question of its own: does the row have it?"""

    def see(self, predictor: Predictor, numbers: Ints, rows: Sequence[TextRow]) -> None:
        named = [row.label if isinstance(row.label, tuple) else () for row in rows]
        judged = self._known(predictor, named)
        p = self._probabilities(predictor.predict_rows(rows))
        given = np.array([[label in names for label in self.labels] for names in named])
        self._add(numbers[judged], p[judged], given[judged])

    def suspects(self) -> list[Suspect]:
        numbers, p, given = self._whole()
        by_label = [self._doubts(p[:, i], given[:, i]) for i in range(len(self.labels))]
        wrong = np.stack([doubts.wrong for doubts in by_label], axis=1)
        margin = np.stack([doubts.margin for doubts in by_label], axis=1)
        found = []
        for i in np.flatnonzero(wrong.any(axis=1)):
            surest = int(np.where(wrong[i], margin[i], np.inf).argmin())
            p_given = float(p[i, surest] if given[i, surest] else 1 - p[i, surest])
            likely = [
                name for name, has in zip(self.labels, given[i] ^ wrong[i], strict=True) if has
            ]
            found.append(
                Suspect(
                    int(numbers[i]),
                    float(margin[i, surest]),
                    in_words(likely),
                    1 - p_given,
                    p_given,
                )
            )
        return found

    @staticmethod
    def _doubts(p: Floats, given: Ints) -> Doubts:
        return confident_errors(np.stack([1 - p, p], axis=1), given.astype(np.int64))


class Words(_Table):
    """Every word is judged by its type, whichever letter the scheme puts before it: what is wrong
    then is a type, or that a word is part of something at all."""

    def __init__(self, task: Tag) -> None:
        super().__init__(sorted({_type(label, task) for label in task.labels}))
        self._spans: list[Ints] = []

    def see(self, predictor: Predictor, numbers: Ints, rows: Sequence[TagRow]) -> None:
        task = predictor.task
        assert isinstance(task, Tag)
        gold = [[_type(tag, task) for tag in task.gold_tags(row)] for row in rows]
        types = [_type(label, task) for label in task.labels]
        encodings = task.encode(rows, predictor.tokenizer, labelled=False)
        p_tags = softmax(predictor.engine.logits(encodings))
        p = np.zeros((len(p_tags), len(self.labels)))
        for column, type_ in enumerate(types):
            if type_ in self.index:
                p[:, self.index[type_]] += p_tags[:, column]
        counts = np.array([len(tags) for tags in gold])
        given = np.array([self.index.get(tag, -1) for tags in gold for tag in tags], np.int64)
        judged = np.isin(given, [self.index[t] for t in set(types) & self.index.keys()])
        self.unjudged += len(np.unique(np.repeat(numbers, counts)[~judged]))
        words = np.array([span for row in rows for span in task.words(row)], np.int64)
        self._spans.append(words.reshape(-1, 2)[judged])
        self._add(np.repeat(numbers, counts)[judged], p[judged], given[judged])

    def suspects(self) -> list[Suspect]:
        numbers, p, given = self._whole()
        if not len(numbers):
            return []
        spans = np.concatenate(self._spans)
        doubts = confident_errors(p, given)
        found: dict[int, list[int]] = {}
        for word in np.flatnonzero(doubts.wrong):
            found.setdefault(int(numbers[word]), []).append(int(word))
        return [self._suspect(row, words, p, given, spans, doubts) for row, words in found.items()]

    def _suspect(
        self,
        row: int,
        words: list[int],
        p: Floats,
        given: Ints,
        spans: Ints,
        doubts: Doubts,
    ) -> Suspect:
        """Neighbouring words that are wrong in the same way are one span."""
        merged: list[Span] = []
        last = -2
        for word in words:
            start, end = spans[word].tolist()
            change = (self.labels[given[word]], self.labels[doubts.likely[word]])
            if word == last + 1 and merged[-1][2:] == change:
                start = merged.pop()[0]
            merged.append((start, end, *change))
            last = word
        surest = min(words, key=lambda word: float(doubts.margin[word]))
        return Suspect(
            row,
            float(doubts.margin[surest]),
            "",
            float(p[surest, doubts.likely[surest]]),
            float(p[surest, given[surest]]),
            tuple(merged),
        )


def _type(tag: str, task: Tag) -> str:
    return parse(tag, task.scheme).type or OUTSIDE


class Numbers:
    """A number is wrong where it lies much farther from the prediction than others do."""

    def __init__(self) -> None:
        self.unjudged = 0
        self._facts = array("d")

    def see(self, predictor: Predictor, numbers: Ints, rows: Sequence[TextRow]) -> None:
        for number, row, said in zip(numbers, rows, predictor.predict_rows(rows), strict=True):
            assert isinstance(row.label, float)
            self._facts.extend((float(number), row.label, said.value))

    def suspects(self) -> list[Suspect]:
        facts = np.array(self._facts).reshape(-1, 3)
        if not len(facts):
            return []
        far, z = outliers(facts[:, 1] - facts[:, 2])
        return [
            Suspect(int(facts[i, 0]), -abs(float(z[i])), f"{facts[i, 2]:.4g}")
            for i in np.flatnonzero(far)
        ]


class Disagreements:
    """Of options, and of spans of a passage: the model says something else, and is as sure of it as
    it is on average of what is given. Confident learning where labels have no names."""

    def __init__(self) -> None:
        self.unjudged = 0
        self._p_given = array("d")
        self._others: list[tuple[int, float, float, str]] = []

    def see(self, predictor: Predictor, numbers: Ints, rows: Sequence[Any]) -> None:
        for number, row, said in zip(numbers, rows, predictor.predict_rows(rows), strict=True):
            p_given, p_said, agreed, text = _facts(row, said)
            self._p_given.append(p_given)
            if not agreed:
                self._others.append((int(number), p_given, p_said, clipped(text)))

    def suspects(self) -> list[Suspect]:
        threshold = float(np.mean(self._p_given)) if self._p_given else 1.0
        return [
            Suspect(number, p_given - p_said, text, p_said, p_given)
            for number, p_given, p_said, text in self._others
            if p_said >= threshold and p_said > p_given
        ]


def _facts(row: Any, said: Any) -> tuple[float, float, bool, str]:
    """The probability of the given answer and of the model's, whether these agree, and the model's
    in words. Answers that share a character of the passage agree."""
    if isinstance(row, ChooseRow) and isinstance(said, Choice) and row.answer is not None:
        p = said.probabilities
        return p[row.answer], p[said.index], said.index == row.answer, said.option
    assert isinstance(row, AnswerRow)
    assert isinstance(said, Answer)
    golds = row.answers or ()
    texts = {gold.text for gold in golds}
    p_given = said.no_answer_score
    if golds:
        p_given = sum(c.score for c in said.candidates if c.text in texts)
    agreed = said.text in texts or (not golds and said.start is None)
    if said.start is not None and said.end is not None:
        agreed = agreed or any(
            gold.start is not None
            and gold.start < said.end
            and said.start < gold.start + len(gold.text)
            for gold in golds
        )
    return p_given, said.score, agreed, in_words([said.text])
