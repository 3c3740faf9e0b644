"""Which words' tags are probably wrong, by confident learning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from onelayer.metrics import Doubts, Floats, Ints, confident_errors
from onelayer.tasks.label_judges import Correction, LabelTable, Suspect
from onelayer.tasks.logits import softmax
from onelayer.tasks.tag.schemes import OUTSIDE, Scheme, parse
from onelayer.tasks.tag.tag_rows import TagRow

if TYPE_CHECKING:
    from onelayer.tasks.protocol import Chunk
    from onelayer.tasks.tag.tag import Tag


class WordJudge(LabelTable):
    """Every word is judged by its type, whichever letter the scheme puts before it: what is wrong
    then is a type, or that a word is part of something at all."""

    def __init__(self, labels: Sequence[str], scheme: Scheme) -> None:
        super().__init__(sorted({_type(label, scheme) for label in labels}))
        self._spans: list[Ints] = []

    def see(self, model: Tag, numbers: Ints, chunk: Chunk[TagRow]) -> None:
        rows, _, logits = chunk
        gold = [[_type(tag, model.scheme) for tag in model.gold_tags(row)] for row in rows]
        types = [_type(label, model.scheme) for label in model.labels]
        p_tags = softmax(logits)
        p = np.zeros((len(p_tags), len(self.labels)))
        for column, type_ in enumerate(types):
            if type_ in self.index:
                p[:, self.index[type_]] += p_tags[:, column]
        counts = np.array([len(tags) for tags in gold])
        given = np.array([self.index.get(tag, -1) for tags in gold for tag in tags], np.int64)
        judged = np.isin(given, [self.index[t] for t in set(types) & self.index.keys()])
        self.unjudged += len(np.unique(np.repeat(numbers, counts)[~judged]))
        words = np.array([span for row in rows for span in model.words(row)], np.int64)
        self._spans.append(words.reshape(-1, 2)[judged])
        self.add(np.repeat(numbers, counts)[judged], p[judged], given[judged])

    def suspects(self) -> list[Suspect]:
        numbers, p, given = self.whole()
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
        merged: list[Correction] = []
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


def _type(tag: str, scheme: Scheme) -> str:
    return parse(tag, scheme).type or OUTSIDE
