"""Rows of tagged texts, and what a model says of one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, Self

from onelayer.base.errors import Place
from onelayer.base.library_structs import ByteRange, Found, RowInput, text_bytes
from onelayer.base.text_offsets import OffsetUnit, TextOffsets
from onelayer.tasks.mistakes import LabelledSpan
from onelayer.tasks.predictions import BasePrediction
from onelayer.tasks.suggestions import SuggestedSpan, Suggestion
from onelayer.tasks.tag.schemes import OUTSIDE
from onelayer.tasks.tag.spans import Gold
from onelayer.tokens.words import WordSpans


@dataclass(frozen=True, kw_only=True)
class Sentence:
    """A text whose words get tags."""

    text: str


@dataclass(frozen=True, slots=True)
class TagRow:
    """``words`` are character spans of ``text``; None where it is for the task to cut it. Gold
    labels are ``tags``, one a word, or ``spans`` of the text; files have one or the other."""

    text: str
    words: tuple[tuple[int, int], ...] | None
    tags: tuple[str, ...] | None
    spans: tuple[Gold, ...] | None
    place: Place
    repairs: tuple[str, ...] = ()
    """What was put right in it."""

    def library_input(self) -> RowInput:
        """The row as the C++ library reads it."""
        text = text_bytes(self.text)
        if self.words is None:
            return RowInput(text=text)
        at = (lambda place: place) if self.text.isascii() else TextOffsets(self.text, "utf8").of
        words = [ByteRange(at(start), at(end)) for start, end in self.words]
        return RowInput(text=text, words=(ByteRange * len(words))(*words), n_words=len(words))

    def with_text(self, text: str, words: WordSpans) -> TagRow:
        """The row without its labels, and with another text. Its words are for the task to cut if
        they were so before."""
        own = None if self.words is None else tuple(words)
        return replace(self, text=text, words=own, tags=None, spans=None, repairs=())


@dataclass(frozen=True, slots=True)
class Entity:
    """``text`` is the characters ``start:end`` of the input, counted in code points unless another
    unit was asked for; ``score`` is the mean probability of its words' labels."""

    start: int
    end: int
    text: str
    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Tagged(BasePrediction):
    """A label for every word, and the entities that the labels make. Labels without an outside
    (``O``), such as parts of speech, make none. ``offsets`` is the unit in which starts and ends
    are counted; without it they are code points."""

    text: str
    words: tuple[tuple[int, int], ...]
    tags: tuple[str, ...]
    entities: tuple[Entity, ...]
    offsets: OffsetUnit | None = None

    json_schema: ClassVar[Mapping[str, Any]] = {
        "words": {"type": "array", "items": {"type": "string"}}
    }

    @classmethod
    def of_library(cls, text: str, found: Found, labels: Sequence[str]) -> Self:
        """What the C++ library found for a text, with tags of these names."""
        words = found.words[: found.n_words]
        entities = []
        for one in found.entities[: found.n_entities]:
            start, end = one.span.points
            entities.append(Entity(start, end, text[start:end], str(one.type), one.score))
        tags = tuple(labels[word.label] for word in words)
        return cls(text, tuple(word.span.points for word in words), tags, tuple(entities))

    @property
    def spans(self) -> dict[LabelledSpan, float]:
        """The entities with their probabilities."""
        return {(one.start, one.end, one.label): one.score for one in self.entities}

    def to_json(self) -> dict[str, Any]:
        """With words as texts."""
        if self.offsets is None:
            words = [self.text[start:end] for start, end in self.words]
        else:
            at = TextOffsets(self.text, self.offsets).code_point
            words = [self.text[at(start) : at(end)] for start, end in self.words]
        return {**BasePrediction.to_json(self), "words": words}

    def in_unit(self, unit: OffsetUnit) -> Tagged:
        """The same prediction with its code points counted in another unit."""
        offsets = TextOffsets(self.text, unit)
        words = tuple(offsets.span(*word) for word in self.words)
        entities = tuple(
            replace(one, start=offsets.of(one.start), end=offsets.of(one.end))
            for one in self.entities
        )
        return replace(self, words=words, entities=entities, offsets=unit)

    @property
    def headline(self) -> str:
        if self.entities:
            return "; ".join(f"{entity.text} [{entity.label}]" for entity in self.entities)
        return " ".join(self.tags) if set(self.tags) != {OUTSIDE} else ""

    @property
    def decision(self) -> tuple[str, ...]:
        return self.tags


def suggested_tags(prediction: Tagged, spans: Iterable[LabelledSpan]) -> Suggestion:
    """The spans of a tagged text as they are marked in a tool, and as a cell holds them."""
    text = prediction.text
    marked = tuple(SuggestedSpan(a, b, text[a:b], label) for a, b, label in spans)
    cell = json.dumps([asdict(span) for span in marked], ensure_ascii=False)
    return Suggestion(cell, spans=marked)


def join(
    words: Sequence[str], space_after: Sequence[bool] | None = None
) -> tuple[str, tuple[tuple[int, int], ...]]:
    """Words -> a text and their character spans in it. Without word of the original spacing there
    is one space between words, none between two Chinese characters."""
    spans: list[tuple[int, int]] = []
    at = 0
    text = " ".join(words)
    if space_after is None and text.isascii():
        for word in words:
            spans.append((at, at + len(word)))
            at += len(word) + 1
        return text, tuple(spans)
    parts: list[str] = []
    for i, word in enumerate(words):
        spans.append((at, at + len(word)))
        parts.append(word)
        at += len(word)
        if i + 1 < len(words):
            spaced = (
                not (_is_ideograph(word[-1:]) and _is_ideograph(words[i + 1][:1]))
                if space_after is None
                else space_after[i]
            )
            parts.append(" " * spaced)
            at += spaced
    return "".join(parts), tuple(spans)


def tokens_of(row: TagRow) -> list[str]:
    return [row.text[start:end] for start, end in row.words or ()]


def _is_ideograph(character: str) -> bool:
    return "\u3000" <= character <= "\u9fff" or "\uff00" <= character <= "\uffef"
