"""Of the options that a question offers in a context, which is right?"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

import numpy as np

from onelayer import metrics
from onelayer.base.errors import Place
from onelayer.base.library_structs import Found, RowInput, TextBytes, text_bytes
from onelayer.base.wording import NONE
from onelayer.data.values import in_role, text_of
from onelayer.recipe import Recipe
from onelayer.tasks.calibration import fit_temperature
from onelayer.tasks.choose.choose_columns import ChooseColumns
from onelayer.tasks.choose.offered_options import offered_in, right_option
from onelayer.tasks.choose.other_options import OtherOptions
from onelayer.tasks.label_judges import Agreement, Disagreements, LabelJudge
from onelayer.tasks.logits import Logits, log_loss, per_row, softmax
from onelayer.tasks.mistakes import Judged, Mistake, Passage
from onelayer.tasks.predictions import BasePrediction, OutputTensor
from onelayer.tasks.protocol import Chunk, SavedLayer, Task, decoded
from onelayer.tasks.uncertainty import Uncertainty, margins
from onelayer.tokens.encodings import Cut, Encodings, cumulate
from onelayer.tokens.pieces import join_texts, truncate_longest
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.words import WordSpans


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options to choose among in a context, and what is asked about it."""

    context: str
    question: str | None = None
    options: list[str] = field(metadata={"min_length": 2})


@dataclass(frozen=True, slots=True)
class ChooseRow:
    """``answer`` is the position of the right option; None where it isn't known."""

    context: str
    question: str
    options: tuple[str, ...]
    answer: int | None
    place: Place
    repairs: tuple[str, ...] = ()
    """What was put right in the answer, in words."""


@dataclass(frozen=True, slots=True)
class Choice(BasePrediction):
    """The position and text of the likeliest option, and the probability of each."""

    index: int
    option: str
    probabilities: tuple[float, ...]

    @property
    def headline(self) -> str:
        return self.option


@dataclass(frozen=True, slots=True, kw_only=True)
class Choose(Task[ChooseRow, Choice]):
    """Each option makes a sequence of its own, ``[CLS] context [SEP] question option [SEP]``; one
    number is read at each ``[CLS]`` and the largest of a row wins. Rows may differ in their number
    of options."""

    name = "choose"
    columns = ChooseColumns()
    aim = "chooses among options"
    example = '[{"context": "...", "question": "...?", "options": ["one", "another"]}]'
    pipeline_tag = "multiple-choice"
    reads_windows = False

    max_length: int
    temperature: float = 1.0
    """Logits are divided by it before they become probabilities; fitted on dev."""

    @property
    def head(self) -> str:
        return "option"

    @property
    def outputs(self) -> tuple[str, ...]:
        return ("option",)

    @property
    def metric(self) -> str:
        return "accuracy"

    @property
    def tuned_on_dev(self) -> tuple[str, ...]:
        return ("the temperature",)

    @property
    def summary(self) -> str:
        return f"one sequence an option; {self.max_length} tokens"

    @classmethod
    def row(cls, values: Mapping[str, Any], place: Place, labelled: bool) -> ChooseRow:
        context = text_of(values, "context", place)
        question = text_of(values, "question", place) if "question" in values else ""
        options = offered_in(values.get("options"), place)
        names = tuple(option.text for option in options)
        if not labelled:
            return ChooseRow(context, question, names, None, place)
        given, there = values.get("label"), in_role(place, "label")
        answer, repairs = right_option(given, values.get("position"), options, there)
        if len(set(names)) < len(names):
            repairs += ("an option is there twice: the first one counts",)
        return ChooseRow(context, question, names, answer, place, repairs)

    @classmethod
    def repairs(cls, row: ChooseRow) -> tuple[str, ...]:
        return row.repairs

    @classmethod
    def fit(
        cls, rows: Iterable[ChooseRow], tokenizer: Tokenizer, recipe: Recipe, limit: int
    ) -> Self:
        return cls(max_length=recipe.max_length or limit)

    def encode(self, rows: Sequence[ChooseRow], tokenizer: Tokenizer, labelled: bool) -> Encodings:
        counts = np.asarray([len(row.options) for row in rows], dtype=np.int64)
        contexts = tokenizer.pieces([row.context for row in rows])
        contexts = contexts[np.repeat(np.arange(len(rows)), counts)]
        options = tokenizer.pieces([f"{row.question} {o}" for row in rows for o in row.options])
        whole = contexts.lengths + options.lengths
        room = self.max_length - tokenizer.template.n_pair
        a, b = truncate_longest(contexts.lengths, options.lengths, room)
        paired = np.ones(len(whole), np.bool_)
        kept = contexts.part(0, a), options.part(0, b)
        encodings = join_texts(*kept, paired, tokenizer.template)
        cu_rows = cumulate(counts)
        lost, whole = (np.diff(cumulate(tokens)[cu_rows]) for tokens in (whole - a - b, whole))
        encodings = replace(
            encodings, cu_examples=cu_rows, cu_rows=cu_rows, cut=Cut.of(lost, whole)
        )
        if not labelled:
            return encodings
        right = [i == row.answer for row in rows for i in range(len(row.options))]
        return replace(encodings, targets=np.asarray(right, dtype=np.float32))

    def practice(self, encodings: Encodings, tokenizer: Tokenizer) -> OtherOptions | None:
        return OtherOptions.of(encodings, tokenizer.template, self.max_length)

    def decode(
        self, rows: Sequence[ChooseRow], encodings: Encodings, logits: Logits
    ) -> list[Choice]:
        def choice(i: int, row_logits: Logits) -> Choice:
            p = softmax(row_logits[:, 0] / self.temperature)
            option = rows[i].options[int(p.argmax())]
            return Choice(rows[i].options.index(option), option, tuple(p.tolist()))

        return per_row(encodings, logits, choice)

    def library_input(self, row: ChooseRow) -> RowInput:
        options = (TextBytes * len(row.options))(*map(text_bytes, row.options))
        found = RowInput(text=text_bytes(row.context), options=options, n_options=len(row.options))
        if row.question:
            found.question = text_bytes(row.question)
        return found

    def from_library(self, row: ChooseRow, found: Found) -> Choice:
        p = tuple(found.probabilities[: found.n_probabilities])
        return Choice(found.label, row.options[found.label], p)

    def score(self, rows: Iterable[ChooseRow], predictions: Iterable[Choice]) -> metrics.Scorer:
        def facts() -> Iterator[tuple[int, int, float, float, int]]:
            for row, found in zip(rows, predictions, strict=True):
                assert row.answer is not None, "only labelled rows are scored"
                p, loss = found.probabilities, log_loss(found.probabilities[row.answer])
                yield row.answer, found.index, p[found.index], loss, hash(row.context)

        kinds = [("gold", "i8"), ("index", "i8"), ("p", "f8"), ("loss", "f8"), ("context", "i8")]
        table = np.fromiter(facts(), dtype=kinds)
        gold, index, p, loss, hashes = (table[name].copy() for name, _ in kinds)
        # A context's number is its place among them in order of appearance, whatever its hash.
        _, first, context = np.unique(hashes, return_index=True, return_inverse=True)
        confidence = metrics.Confidence(loss=loss, probability=p, right=gold == index)
        return metrics.Choices(gold, index, groups=first[context], confidence=confidence)

    def tune(
        self, rows: Iterable[ChooseRow], chunks: Iterable[Chunk[ChooseRow]]
    ) -> tuple[Self, metrics.Scorer]:
        """With the temperature that fits these rows."""
        kept = list(chunks)
        each = [part for _, encodings, logits in kept for part in per_row(encodings, logits, _own)]
        padded = np.full((len(each), max(map(len, each), default=1)), -np.inf)
        for row, own in zip(padded, each, strict=True):
            row[: len(own)] = own
        gold = np.fromiter((row.answer for row in rows), dtype=np.int64)
        tuned = replace(self, temperature=fit_temperature(padded, gold))
        return tuned, tuned.score(rows, decoded(tuned, kept))

    @classmethod
    def texts(cls, row: ChooseRow) -> tuple[str, ...]:
        return (row.context, row.question, *row.options)

    def with_texts(
        self, row: ChooseRow, texts: Sequence[str], words: Sequence[WordSpans]
    ) -> ChooseRow:
        context, question, *options = texts
        return ChooseRow(context, question, tuple(options), None, row.place)

    group_noun = "contexts"

    @classmethod
    def group(cls, row: ChooseRow) -> str:
        return row.context

    @classmethod
    def gold_text(cls, row: ChooseRow) -> str:
        return row.options[row.answer] if row.answer is not None else NONE

    @classmethod
    def gold_key(cls, row: ChooseRow) -> Hashable:
        return row.options[row.answer] if row.answer is not None else None

    @classmethod
    def labels_in(cls, row: ChooseRow) -> tuple[str, ...]:
        return (f"option {row.answer}",)

    @classmethod
    def classes(cls, row: ChooseRow) -> tuple[str, ...]:
        return ()  # where an option stands says nothing about it

    def judge(self, row: ChooseRow, prediction: Choice) -> Judged:
        right = prediction.index == row.answer
        p = prediction.probabilities[prediction.index]
        return Judged(0.0 if right else p, ((p, right),))

    def mistake(self, row: ChooseRow, prediction: Choice) -> Mistake:
        def kind(i: int) -> Literal["gold", "predicted", ""]:
            return "gold" if i == row.answer else "predicted" if i == prediction.index else ""

        options = tuple(
            (option, p, kind(i))
            for i, (option, p) in enumerate(zip(row.options, prediction.probabilities, strict=True))
        )
        passages = [Passage("context", row.context)]
        if row.question:
            passages.append(Passage("question", row.question))
        sure = prediction.probabilities[prediction.index]
        return Mistake("", "", f"{sure:.1%} sure", tuple(passages), options)

    def label_judge(self) -> LabelJudge[Self]:
        return Disagreements(_agreement)

    def uncertainty(self, chunk: Chunk[ChooseRow]) -> Uncertainty:
        def doubt(_: int, row_logits: Logits) -> float:
            p = softmax(row_logits[:, 0] / self.temperature)
            return 1.0 - float(margins(p[None])[0])

        found = np.array(per_row(*chunk[1:], doubt), dtype=np.float64)
        return Uncertainty(found, np.zeros((len(found), 0)))  # where an option stands says nothing

    @classmethod
    def wire_input(cls) -> type[Options]:
        return Options

    @classmethod
    def wire_values(cls, row: ChooseRow) -> dict[str, Any]:
        asked = {"question": row.question} if row.question else {}
        return {"context": row.context, **asked, "options": list(row.options)}

    def tensors(self) -> tuple[OutputTensor, ...]:
        return (
            OutputTensor("index", "INT64", lambda p: p.index),
            OutputTensor("option", "BYTES", lambda p: p.option),
            OutputTensor("probabilities", "FP32", lambda p: p.probabilities, (-1,)),
        )

    @classmethod
    def of_saved(cls, layer: SavedLayer) -> Self | None:
        if layer.form != "MultipleChoice":
            return None
        return cls(max_length=layer.positions)


def _agreement(row: ChooseRow, prediction: Choice) -> Agreement:
    assert row.answer is not None, "only labelled rows are judged"
    p, index = prediction.probabilities, prediction.index
    return Agreement(p[row.answer], p[index], index == row.answer, prediction.option)


def _own(_: int, row_logits: Logits) -> Logits:
    """A row's logits, one for each of its options."""
    return row_logits[:, 0]
