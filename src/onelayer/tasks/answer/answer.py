"""A question is answered by a span of a passage of any length, or by "no answer"."""

from __future__ import annotations

from array import array
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from onelayer import metrics
from onelayer.base.errors import DataError, Place
from onelayer.base.library_structs import Found, RowInput, text_bytes
from onelayer.base.text_offsets import OffsetUnit
from onelayer.base.wording import in_words
from onelayer.data.rows import chunks_of
from onelayer.data.values import in_role, text_of
from onelayer.recipe import Recipe
from onelayer.tasks.answer.answer_columns import AnswerColumns
from onelayer.tasks.answer.answer_mistakes import answer_agreement, answer_mistake
from onelayer.tasks.answer.answer_rows import (
    Answer,
    AnswerRow,
    Candidate,
    Question,
    answer_doubt,
)
from onelayer.tasks.answer.answer_scores import score_answers
from onelayer.tasks.answer.best_spans import EVERYWHERE, best_spans, parted, span_sums
from onelayer.tasks.answer.cloze import Cloze
from onelayer.tasks.answer.gold_answers import answers_of
from onelayer.tasks.answer.span_targets import SpanHead, span_targets
from onelayer.tasks.calibration import other_folds
from onelayer.tasks.label_judges import Disagreements, LabelJudge
from onelayer.tasks.logits import Logits, softmax
from onelayer.tasks.mistakes import Judged, Mistake
from onelayer.tasks.predictions import OutputTensor
from onelayer.tasks.protocol import Chunk, SavedLayer, Task, decoded
from onelayer.tasks.uncertainty import Uncertainty
from onelayer.tokens.encodings import Cut, Encodings, Ints, cumulate, ragged
from onelayer.tokens.pieces import Pieces, join_texts, windows
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.words import WordSpans

N_BEST = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerTask(Task[AnswerRow, Answer]):
    """The passage is read in windows beside the question. Each of its tokens gets a score as start
    and as end of the answer, ``[CLS]`` one as "not in this window". A span in two windows is scored
    where most of its surroundings are seen."""

    name = "answer"
    columns = AnswerColumns()
    aim = "finds the answer to a question in a passage"
    example = '[{"question": "...?", "context": "a passage"}]'
    pipeline_tag = "question-answering"
    hub_form = "question-answering"
    reads_all_tokens = True
    has_offsets = True
    point = 1.0

    max_length: int
    stride: int
    max_answer_tokens: int
    span_head: SpanHead = "span"
    no_answer_threshold: float | None = None
    """None where every training question had an answer: then there always is one."""

    @property
    def head(self) -> str:
        return self.span_head

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("start", "end") if self.span_head == "span" else ("neither", "start", "end")

    @property
    def metric(self) -> str:
        return "f1"

    @property
    def tuned_on_dev(self) -> tuple[str, ...]:
        return () if self.no_answer_threshold is None else ("the threshold of no answer",)

    @property
    def summary(self) -> str:
        none = (
            "some have none" if self.no_answer_threshold is not None else "every question has one"
        )
        return (
            f"answers of up to {self.max_answer_tokens} tokens, {none}; windows of "
            f"{self.max_length} tokens that share {self.stride}; {self.span_head} head"
        )

    @classmethod
    def row(cls, values: Mapping[str, Any], place: Place, labelled: bool) -> AnswerRow:
        identity = str(place.line or "" if values.get("id") in (None, "") else values["id"])
        if place.line is None:  # in a nested file a question is found by its id
            place = replace(place, column=identity)
        question = text_of(values, "question", place)
        passage = text_of(values, "context", place)
        title = str(values.get("title") or "")
        if not labelled:
            return AnswerRow(identity, question, passage, None, place, title)
        gold = answers_of(values, passage, in_role(place, "label"))
        return AnswerRow(identity, question, passage, gold.answers, place, title, gold.repairs)

    @classmethod
    def repairs(cls, row: AnswerRow) -> tuple[str, ...]:
        return row.repairs

    @classmethod
    def fit(
        cls, rows: Iterable[AnswerRow], tokenizer: Tokenizer, recipe: Recipe, limit: int
    ) -> Self:
        lengths = array("q")
        unanswered = False
        path: str | Path = ""
        for chunk in chunks_of(1024, rows):
            golds = [answer.text for row in chunk for answer in row.answers or ()]
            lengths.extend(tokenizer.pieces(golds).lengths.tolist())
            unanswered = unanswered or any(not row.answers for row in chunk)
            path = chunk[0].place.path
        if not lengths:
            raise DataError("no question has an answer", place=Place(path))
        # Whoever extends the positions wants them used.
        max_length = recipe.max_length or (limit if recipe.positions else min(384, limit))
        return cls(
            max_length=max_length,
            stride=min(recipe.stride, max_length // 3),
            # SQuAD's customary bound of 30, or more where the data's answers are longer.
            max_answer_tokens=max(30, int(np.quantile(np.frombuffer(lengths, np.int64), 0.995))),
            span_head=recipe.span_head,
            no_answer_threshold=0.0 if unanswered else None,
        )

    def encode(self, rows: Sequence[AnswerRow], tokenizer: Tokenizer, labelled: bool) -> Encodings:
        template = tokenizer.template
        questions = tokenizer.pieces([row.question for row in rows])
        passages = tokenizer.pieces([row.passage for row in rows], with_spans=True)
        asked = np.minimum(questions.lengths, self.max_length // 2 - len(template.between) + 1)
        room = self.max_length - template.n_pair - asked
        sizes = np.minimum(passages.lengths, room)
        row, starts = windows(passages.lengths, sizes, np.minimum(self.stride, room // 2))
        seen = passages[row].part(starts, sizes[row])
        both = np.ones(len(row), np.bool_)
        encodings = join_texts(questions[row].part(0, asked[row]), seen, both, template)
        # With the span head the layer reads [CLS], which stands for no answer, before the passage.
        null = int(self.span_head == "span")
        cu_reads = cumulate(sizes[row] + null)
        of_passage = ragged(cu_reads[:-1] + null, sizes[row])
        reads = np.zeros(cu_reads[-1], np.int32)
        reads[of_passage] = ragged(encodings.second_at, sizes[row])
        offsets = np.full((len(reads), 2), -1, np.int32)
        assert passages.spans is not None
        offsets[of_passage] = passages.spans[seen.places]
        return replace(
            encodings,
            reads=reads,
            cu_reads=cu_reads,
            cu_rows=cumulate(np.bincount(row, minlength=len(rows))),
            offsets=offsets,
            targets=self._targets(rows, passages, row, starts, sizes) if labelled else None,
            cut=Cut.of(questions.lengths - asked, questions.lengths + passages.lengths),
        )

    def _targets(
        self,
        rows: Sequence[AnswerRow],
        passages: Pieces,
        row: Ints,
        starts: Ints,
        sizes: Ints,
    ) -> NDArray[np.float32]:
        """(R, C) of windows, each of a ``row``, from ``starts`` on, as long as that row's
        ``sizes``."""
        assert passages.spans is not None
        ends = (passages.starts + passages.lengths).tolist()
        parts = map(slice, passages.starts.tolist(), ends)
        golds = [
            [
                _token_span(answer.start, answer.start + len(answer.text), passages.spans[part])
                for answer in one.answers or ()
                if answer.start is not None
            ]
            for one, part in zip(rows, parts, strict=True)
        ]
        targets = []
        for i, start, size in zip(row.tolist(), starts.tolist(), sizes[row].tolist(), strict=True):
            inside = [
                (a - start, b - start) for a, b in golds[i] if start <= a and b < start + size
            ]
            targets.append(span_targets(inside, size, self.span_head))
        return np.concatenate(targets)

    def practice(self, encodings: Encodings, tokenizer: Tokenizer) -> Cloze | None:
        return Cloze.of(encodings, tokenizer, self.span_head, self.max_length)

    def decode(
        self, rows: Sequence[AnswerRow], encodings: Encodings, logits: Logits
    ) -> list[Answer]:
        assert encodings.offsets is not None
        bounds, cu_rows = encodings.cu_reads.tolist(), encodings.cu_rows.tolist()
        null = int(self.span_head == "span")
        found = []
        for i, row in enumerate(rows):
            reads = [slice(*bounds[s : s + 2]) for s in range(cu_rows[i], cu_rows[i + 1])]
            windows = [logits[window] for window in reads]
            offsets = [encodings.offsets[window][null:] for window in reads]
            nulls: list[float] = []
            spans: dict[tuple[int, int], float] = {}
            for window, places, own in zip(windows, offsets, parted(offsets), strict=True):
                none, best = self._window(row.passage, window, places, own)
                nulls.append(none)
                for span, score in best.items():
                    spans[span] = max(score, spans.get(span, -np.inf))
            found.append(self._answer(row, min(nulls, default=0.0), spans))
        return found

    def _window(
        self, passage: str, logits: Logits, offsets: Ints, own: tuple[float, float]
    ) -> tuple[float, dict[tuple[int, int], float]]:
        """One window's score of "no answer", and the best of its own spans in characters."""
        if self.span_head == "span":
            null, scores = float(logits[0].sum()), logits[1:]
        else:
            # The log-odds of a span against all tokens being neither: other tokens cancel out.
            null, scores = 0.0, logits[:, 1:] - logits[:, :1]
        if not len(scores):
            return null, {}
        sums = span_sums(scores[:, 0], scores[:, 1], self.max_answer_tokens)
        if own != EVERYWHERE:
            centres = span_sums(offsets[:, 0], offsets[:, 1], self.max_answer_tokens)
            sums[(centres < own[0]) | (centres >= own[1])] = -np.inf
        found: dict[tuple[int, int], float] = {}
        for a, b, score in best_spans(sums, N_BEST):
            # A span may begin or end with a token of white space.
            start, end = int(offsets[a, 0]), int(offsets[b, 1])
            text = passage[start:end]
            start, end = end - len(text.lstrip()), start + len(text.rstrip())
            if start < end:
                found[start, end] = max(score, found.get((start, end), -np.inf))
        return null, found

    def _answer(
        self, row: AnswerRow, null: float, spans: Mapping[tuple[int, int], float]
    ) -> Answer:
        ranked = sorted(spans.items(), key=lambda item: -item[1])[:N_BEST]
        p = softmax(np.asarray([null] + [score for _, score in ranked])).tolist()
        if self.no_answer_threshold is None and ranked:
            p = [0.0, *softmax(np.asarray([score for _, score in ranked])).tolist()]
        candidates = tuple(
            Candidate(row.passage[start:end], start, end, score)
            for ((start, end), _), score in zip(ranked, p[1:], strict=True)
        )
        margin = null - ranked[0][1] if ranked else np.inf
        unanswered = self.no_answer_threshold is not None and margin > self.no_answer_threshold
        if unanswered or not candidates:
            return Answer(row.id, "", None, None, p[0], p[0], float(margin), candidates)
        best = candidates[0]
        return Answer(
            row.id, best.text, best.start, best.end, best.score, p[0], float(margin), candidates
        )

    def library_input(self, row: AnswerRow) -> RowInput:
        texts = {"text": row.passage, "question": row.question, "id": row.id}
        return RowInput(**{name: text_bytes(text) for name, text in texts.items()})

    def from_library(self, row: AnswerRow, found: Found) -> Answer:
        candidates = []
        for one in found.candidates[: found.n_candidates]:
            start, end = one.span.points
            candidates.append(Candidate(row.passage[start:end], start, end, one.score))
        none, margin, them = found.no_answer, found.margin, tuple(candidates)
        if not found.answered:
            return Answer(row.id, "", None, None, none, none, margin, them)
        best = them[0]
        return Answer(row.id, best.text, best.start, best.end, best.score, none, margin, them)

    def in_offset_unit(self, row: AnswerRow, prediction: Answer, unit: OffsetUnit) -> Answer:
        return prediction.in_unit(unit, row.passage)

    def score(self, rows: Iterable[AnswerRow], predictions: Iterable[Answer]) -> metrics.Answers:
        return score_answers(rows, (answer.text for answer in predictions))

    def tune(
        self, rows: Iterable[AnswerRow], chunks: Iterable[Chunk[AnswerRow]]
    ) -> tuple[Self, metrics.Answers]:
        """The threshold of "no answer" that gives the best F1 on these rows."""
        if self.no_answer_threshold is None:
            return self, self.score(rows, decoded(self, chunks))
        margins = array("d")

        def best_spans_of() -> Iterator[str]:
            for answer in decoded(self, chunks):
                margins.append(answer.margin)
                yield answer.candidates[0].text if answer.candidates else ""

        answered = score_answers(rows, best_spans_of())
        silent = score_answers(rows, ("" for _ in rows))
        margin = np.asarray(margins)
        nothing = (~answered.has_answer).astype(np.float64)
        threshold, _ = metrics.no_answer_threshold(margin, answered.f1, nothing)
        tuned = replace(self, no_answer_threshold=threshold)
        scores = answered.but(silent, where=margin > threshold)
        by_others = [
            np.where(
                margin[own]
                > metrics.no_answer_threshold(margin[others], answered.f1[others], nothing[others])[
                    0
                ],
                silent.f1[own],
                answered.f1[own],
            )
            for others, own in other_folds(len(margin))
        ]
        if by_others:
            scores = replace(scores, cross_fitted=100 * float(np.concatenate(by_others).mean()))
        return tuned, scores

    @classmethod
    def texts(cls, row: AnswerRow) -> tuple[str, ...]:
        return (row.question, row.passage)

    def with_texts(
        self, row: AnswerRow, texts: Sequence[str], words: Sequence[WordSpans]
    ) -> AnswerRow:
        question, passage = texts
        return replace(row, question=question, passage=passage, answers=None, repairs=())

    group_noun = "passages"

    @classmethod
    def group(cls, row: AnswerRow) -> str:
        return row.passage

    @classmethod
    def gold_text(cls, row: AnswerRow) -> str:
        return in_words(dict.fromkeys(answer.text for answer in row.answers or ()))

    @classmethod
    def gold_key(cls, row: AnswerRow) -> Hashable:
        return frozenset(answer.text for answer in row.answers or ())

    @classmethod
    def labels_in(cls, row: AnswerRow) -> tuple[str, ...]:
        return ("answer" if row.answers else "no answer",)

    def judge(self, row: AnswerRow, prediction: Answer) -> Judged:
        f1 = self.score([row], [prediction])()["f1"] / 100
        belief = (prediction.score, bool(f1 == 1.0))
        return Judged((1 - f1) * prediction.score, (belief,))

    def mistake(self, row: AnswerRow, prediction: Answer) -> Mistake:
        return answer_mistake(row, prediction)

    def label_judge(self) -> LabelJudge[Self]:
        return Disagreements(answer_agreement)

    def uncertainty(self, chunk: Chunk[AnswerRow]) -> Uncertainty:
        found = np.array([answer_doubt(answer) for answer in self.decode(*chunk)])
        return Uncertainty(found, np.zeros((len(found), 0)))

    @classmethod
    def wire_input(cls) -> type[Question]:
        return Question

    def tensors(self) -> tuple[OutputTensor, ...]:
        return (
            OutputTensor("answer", "BYTES", lambda p: p.text),
            OutputTensor("score", "FP32", lambda p: p.score),
            OutputTensor("start", "INT64", lambda p: -1 if p.start is None else p.start),
            OutputTensor("end", "INT64", lambda p: -1 if p.end is None else p.end),
        )

    @classmethod
    def of_saved(cls, layer: SavedLayer) -> Self | None:
        if layer.form != "QuestionAnswering":
            return None
        limit = layer.positions
        return cls(max_length=min(384, limit), stride=min(128, limit // 4), max_answer_tokens=30)


def _token_span(start: int, end: int, spans: Ints) -> tuple[int, int]:
    """The first and last token that the characters ``start:end`` touch, of (n, 2) tokens; n where
    none does."""
    first = int(np.searchsorted(spans[:, 1], start, side="right"))
    last = int(np.searchsorted(spans[:, 0], end, side="left")) - 1
    return (first, last) if first <= last else (len(spans), len(spans))
