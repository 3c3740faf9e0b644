"""From a record's values to a row of tag: words with tags, or a text with spans."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from onelayer.base.errors import DataError, Place
from onelayer.data.span_offsets import CountedUnit, Offsets
from onelayer.data.values import in_role, listed_in, text_of
from onelayer.tasks.tag.notation import Notation
from onelayer.tasks.tag.spans import spans_of, words_under
from onelayer.tasks.tag.tag_rows import TagRow, join
from onelayer.tasks.tag.word_tags import (
    LEFT_OUT,
    checked_tags,
    checked_words,
    tag_list,
    without_ignored,
    word_list,
    words_for,
)

EMPTY_WORD = "an empty word, which is read as an unknown one"


@dataclass(frozen=True, slots=True)
class TagFacts:
    """What a file as a whole tells of its spans and tags."""

    offsets: Offsets = field(default_factory=Offsets)
    notation: Notation | None = None
    """How tags are written; None where they stand as they are."""

    def to_json(self) -> dict[str, Any]:
        """As rows are made with it, also when they come from a cache."""
        offsets = self.offsets
        return {
            "offsets": [offsets.unit, offsets.first, offsets.inclusive],
            "notation": [self.notation.form, self.notation.outside] if self.notation else None,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None) -> TagFacts:
        if not values:
            return cls()
        unit, first, inclusive = values["offsets"]
        notation = None
        if values["notation"]:
            form, outside = values["notation"]
            notation = Notation(form, tuple(outside))
        return cls(Offsets(CountedUnit(unit), first, inclusive), notation)


def tag_row(values: Mapping[str, Any], place: Place, labelled: bool) -> TagRow:
    """The row of a record's values by role; ``facts`` are those of its file, and ``written`` says
    whether its lists stand as text.

    Raises DataError for values that can't be used."""
    facts = TagFacts.from_json(values.get("facts"))
    gold = values.get("label") if labelled else None
    # A running text may look like a list, too: it is one only where the file's texts are lists.
    text = values.get("text")
    words = word_list(text) if values.get("written") or not isinstance(text, str) else None
    if words is not None:
        return _row_of_words(words, gold, labelled, values.get("space_after"), place, facts)
    text = text_of(values, "text", place, may_be_empty=not labelled)
    if not labelled:
        return TagRow(text, None, None, None, place)
    listed = listed_in(gold) if isinstance(gold, str) else gold
    if isinstance(listed, dict) or (isinstance(listed, (list, tuple)) and not _are_tags(listed)):
        spans, repairs = spans_of(listed, text, place, facts.offsets)
        return TagRow(text, None, None, spans, place, repairs)
    return _row_of_text(text, gold, place, facts)


def _are_tags(listed: Sequence[object]) -> bool:
    """Whether a list of a text's labels holds tags, and not spans."""
    return bool(listed) and not any(isinstance(item, (list, tuple, dict)) for item in listed)


def _row_of_words(
    tokens: Sequence[object],
    gold: object,
    labelled: bool,
    space_after: Sequence[bool] | None,
    place: Place,
    facts: TagFacts,
) -> TagRow:
    words = checked_words(tokens, place)
    if not labelled:
        return TagRow(*join(words, space_after), None, None, place)
    if not words:
        raise DataError("a sentence without words", place=in_role(place, "text"))
    tags = tag_list(gold)
    if tags is None:
        hint = "tags are a list with one for each word"
        raise DataError("no tags", place=in_role(place, "label"), hint=hint)
    if any(isinstance(tag, dict) for tag in tags):
        message = "entities of a list of words, where tags are expected"
        hint = "write a tag for each word, or a text with entities by their characters"
        raise DataError(message, place=in_role(place, "label"), hint=hint)
    repairs = [EMPTY_WORD] * ("" in words)
    if len(tags) == len(words) and space_after is None:
        n_words = len(words)
        words, tags = without_ignored(words, tags)
        repairs += [LEFT_OUT] * (len(words) < n_words)
    names = checked_tags(tags, len(words), place, facts.notation)
    return TagRow(*join(words, space_after), names, None, place, tuple(repairs))


def _row_of_text(text: str, gold: object, place: Place, facts: TagFacts) -> TagRow:
    """A text that has a tag for each of its words."""
    tags = tag_list(gold)
    if not tags:
        hint = "write an empty list where a text has no entities"
        raise DataError("no list of entities", place=in_role(place, "label"), hint=hint)
    words = words_for(text, len(tags))
    if words is None:
        raise DataError(
            f"{len(tags)} tags for {len(text.split())} words",
            place=in_role(place, "label"),
            hint="each word needs one tag, or in Chinese each character",
        )
    return TagRow(
        text, tuple(words), checked_tags(tags, len(words), place, facts.notation), None, place
    )


def two_in_one_word(row: TagRow, words: Sequence[tuple[int, int]]) -> DataError | None:
    """What is wrong where a word has parts of two entities: it can't get two tags."""
    found = [(covered, span) for span in row.spans or () if (covered := words_under(span, words))]
    for ((_, _, end), one), ((_, start, _), other) in pairwise(found):
        if start < end:
            a, b = (row.text[span.start : span.end] for span in (one, other))
            return DataError(
                f"two entities in one word: {a!r} {one.label} and {b!r} {other.label}",
                place=row.place,
                hint="a word gets one tag; leave such texts out with --skip-bad",
            )
    return None
