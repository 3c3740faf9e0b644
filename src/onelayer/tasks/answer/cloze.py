"""Cloze questions: practice in reading that needs no labels.

A span is drawn from a passage, and the words around it, some of them left out, are its question
(Lewis et al., 2019). A model that has to find the span learns to match a question with a passage,
which 50 questions don't teach; the real ones then say what is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from onelayer.tasks.answer.span_targets import SpanHead, answer_length, span_targets
from onelayer.tokens.encodings import Encodings, EncodingsBuilder, Ints
from onelayer.tokens.template import Template
from onelayer.tokens.tokenizer import Tokenizer

SAMPLE = 2_000
"""Windows that the frequencies of tokens and the lengths of answers are taken from, at most."""
COMMON = 0.1
"""A token of more than this share of the windows neither begins nor ends a span: answers rarely
begin with "of"."""
NEAREST, FARTHEST = 4, 15
"""Tokens on each side of the span that its question is made of."""
KEPT = 0.8
"""The share of those tokens that are kept. If all were, their order would lead to the span."""
TRIES = 20
"""Windows drawn for one question, at most: some have no span that could be an answer."""
SHORTEST = 8
"""Tokens of a passage that is long enough for a question."""


@dataclass(frozen=True, slots=True)
class Cloze:
    """Makes cloze questions of the windows of labelled questions: its ``Practice``."""

    encodings: Encodings
    template: Template
    span_head: SpanHead
    max_length: int
    lengths: Ints
    """Tokens of the labelled answers, from which those of the spans are drawn."""
    unanswered: float
    """The share of windows without an answer; as many cloze questions get another passage."""
    can_begin: NDArray[np.bool_]
    """(V,) whether a token begins a word that is not common."""
    can_end: NDArray[np.bool_]
    """(V,) whether a token can be the last one of a span."""
    continues: NDArray[np.bool_]
    """(V,) whether a token continues a word."""

    @classmethod
    def of(
        cls, encodings: Encodings, tokenizer: Tokenizer, span_head: SpanHead, max_length: int
    ) -> Self | None:
        """None if no window has an answer."""
        n = len(encodings.lengths)
        windows = np.unique(np.linspace(0, n - 1, min(n, SAMPLE)).astype(np.int64))
        counts = np.zeros(tokenizer.vocab_size, np.int64)
        found = []
        for window in windows.tolist():
            reads = slice(*encodings.cu_reads[window : window + 2].tolist())
            assert encodings.targets is not None, "training rows are labelled"
            found.append(answer_length(encodings.targets[reads], span_head))
            counts[np.unique(_passage(encodings, window, span_head))] += 1
        lengths = np.asarray(found)
        if not lengths.any():
            return None
        common = counts > max(2.0, COMMON * len(windows))
        continues = tokenizer.continues_word
        return cls(
            encodings,
            tokenizer.template,
            span_head,
            max_length,
            lengths[lengths > 0],
            float((lengths == 0).mean()),
            ~common & ~continues,
            ~common,
            continues,
        )

    def batch(self, n: int, rng: np.random.Generator) -> Encodings | None:
        builder, targets = EncodingsBuilder(self.template.second_segment), []
        n_windows = len(self.encodings.lengths)
        for _ in range(n):
            for _ in range(TRIES):
                window = int(rng.integers(n_windows))
                passage = _passage(self.encodings, window, self.span_head)
                span = self._span(passage, rng)
                if span is None:
                    continue
                question = self._question(passage, span, rng)
                golds = [(span[0], span[1] - 1)]
                if rng.random() < self.unanswered:
                    other = int(rng.integers(n_windows))
                    passage, golds = _passage(self.encodings, other, self.span_head), []
                    if not len(passage) or _has(passage, question):
                        continue
                targets.append(self._add(builder, question, passage, golds))
                break
        if not targets:
            return None
        made = builder.build(examples_are_rows=False)
        return replace(made, targets=np.concatenate(targets))

    def _span(self, passage: Ints, rng: np.random.Generator) -> tuple[int, int] | None:
        """The first token of a span that could be an answer, and the one after its last."""
        if len(passage) < SHORTEST:
            return None
        length = min(int(rng.choice(self.lengths)), len(passage) // 3)
        last = len(passage) - length + 1
        ends_word = np.append(~self.continues[passage[length:]], True)
        fits = self.can_begin[passage[:last]] & self.can_end[passage[length - 1 :]] & ends_word
        starts = np.flatnonzero(fits)
        if not len(starts):
            return None
        start = int(rng.choice(starts))
        return start, start + length

    def _question(self, passage: Ints, span: tuple[int, int], rng: np.random.Generator) -> Ints:
        """The words around a span, after one or two words that begin a labelled question."""
        start, end = span
        reach = int(rng.integers(NEAREST, FARTHEST + 1))
        around = np.concatenate(
            [passage[max(0, start - reach) : start], passage[end : end + reach]]
        )
        around = around[rng.random(len(around)) < KEPT]
        asked = self._asked(int(rng.integers(len(self.encodings.lengths))))
        room = max(0, self.max_length // 2 - self.template.n_pair)
        opening = asked[: int(rng.integers(1, 3))]
        return np.concatenate([opening, around[:room], asked[-1:]])

    def _asked(self, window: int) -> Ints:
        """The tokens of a window's labelled question."""
        start = int(self.encodings.cu_seqlens[window])
        passage = start + int(self.encodings.second_at[window])
        first, last = start + len(self.template.before), passage - len(self.template.between)
        return self.encodings.ids[first:last]

    def _add(
        self,
        builder: EncodingsBuilder,
        question: Ints,
        passage: Ints,
        golds: list[tuple[int, int]],
    ) -> NDArray[np.float32]:
        """Adds a window to the batch and returns its targets."""
        before = self.template.first(question.tolist())
        room = self.max_length - len(before) - len(self.template.after)
        # A passage that is too long for the question loses tokens far from the span.
        middle = (sum(golds[0]) + 1) // 2 if golds else 0
        first = max(0, min(middle - room // 2, len(passage) - room))
        read = passage[first : first + room]
        inside = [(a - first, b - first) for a, b in golds if b - first < len(read)]
        places = range(len(before), len(before) + len(read))
        reads = [0, *places] if self.span_head == "span" else [*places]
        builder.start_row()
        builder.add([*before, *read.tolist(), *self.template.after], len(before), reads)
        return span_targets(inside, len(read), self.span_head)


def _passage(encodings: Encodings, window: int, span_head: SpanHead) -> Ints:
    """The passage tokens of a window: those that are read, but for ``[CLS]``."""
    start = int(encodings.cu_seqlens[window])
    first, last = encodings.cu_reads[window : window + 2].tolist()
    return encodings.ids[start + encodings.reads[first + int(span_head == "span") : last]]


def _has(passage: Ints, question: Ints) -> bool:
    """Whether most of a question's words are in a passage: then it is probably its own."""
    return float(np.isin(question, passage).mean()) > 0.5
