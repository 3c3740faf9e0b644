"""The special tokens that a model expects around a text, and around the two texts of a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from onelayer.base.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Template:
    """``[CLS] A [SEP]`` and ``[CLS] A [SEP] B [SEP]``, or ``<s> A </s></s> B </s>``."""

    before: tuple[int, ...]
    """The ids before the first text. The layer reads the first one's vector."""
    between: tuple[int, ...]
    """The ids between the texts of a pair."""
    after: tuple[int, ...]
    """The ids after a single text, and after the second text of a pair."""
    second_segment: int = 1
    """The segment id of a pair's second text and of what follows it; all else has 0."""

    @property
    def ids(self) -> tuple[int, ...]:
        """All of its ids."""
        return (*self.before, *self.between, *self.after)

    @property
    def n_single(self) -> int:
        """The number of special tokens around a text."""
        return len(self.before) + len(self.after)

    @property
    def n_pair(self) -> int:
        """The number of special tokens around the two texts of a pair."""
        return len(self.ids)

    def single(self, text: Sequence[int]) -> list[int]:
        """The sequence of one text."""
        return [*self.before, *text, *self.after]

    def first(self, text: Sequence[int]) -> list[int]:
        """A pair's sequence up to its second text."""
        return [*self.before, *text, *self.between]

    @classmethod
    def of(cls, cls_id: int, sep_id: int, separators: int) -> Self:
        """The template with one separator between the texts of a pair, and segments, or with two
        and without."""
        return cls((cls_id,), (sep_id,) * separators, (sep_id,), int(separators == 1))

    @classmethod
    def read(cls, processors: Sequence[Mapping[str, Any]]) -> Self | None:
        """The template of a ``tokenizer.json``'s post-processor, given as its components; None if
        they add no tokens.

        Raises CheckpointError for one that no model here is pretrained with.
        """
        adding = [one for one in processors if one["type"] != "ByteLevel"]  # which cuts offsets
        if not adding:
            return None
        if len(adding) > 1:
            raise CheckpointError("two post-processors that put special tokens around a text")
        (processor,) = adding
        try:
            if processor["type"] == "TemplateProcessing":
                return cls._of_template(processor)
            (_, cls_id), (_, sep_id) = processor["cls"], processor["sep"]
            separators = 1 if processor["type"] == "BertProcessing" else 2
            return cls.of(_id(cls_id), _id(sep_id), separators)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"a damaged {processor['type']}: {error}", hint="fetch the file again"
            ) from error

    @classmethod
    def _of_template(cls, processor: Mapping[str, Any]) -> Self:
        single, pair = (_parts(processor, name) for name in ("single", "pair"))
        if [text for text, _, _ in pair] != [None, "A", None, "B", None]:
            raise _unusual(processor)
        (_, before, _), _, (_, between, _), (_, _, second), (_, after, _) = pair
        segments = [segments for _, _, segments in pair]
        wanted = [[0]] * 3 + [second] * 2
        if (
            not len(before) == len(after) == 1
            or between not in (after, 2 * after)
            or before == after
            or [part[:2] for part in single] != [(None, before), ("A", []), (None, after)]
            or second not in ([0], [1])
            or segments != wanted
        ):
            raise _unusual(processor)
        return cls(tuple(before), tuple(between), tuple(after), second[0])

    def renumbered(self, new_ids: Mapping[int, int]) -> Self:
        """The same template for a vocabulary with other ids."""
        before, between, after = (
            tuple(new_ids[one] for one in ids) for ids in (self.before, self.between, self.after)
        )
        return replace(self, before=before, between=between, after=after)

    def to_json(self, names: Mapping[int, str]) -> dict[str, Any]:
        """The post-processor of a ``tokenizer.json``; ``names`` are the tokens by their ids."""

        def tokens(ids: Sequence[int], segment: int = 0) -> list[Any]:
            return [{"SpecialToken": {"id": names[one], "type_id": segment}} for one in ids]

        def text(letter: str, segment: int = 0) -> list[Any]:
            return [{"Sequence": {"id": letter, "type_id": segment}}]

        first = [*tokens(self.before), *text("A")]
        second = [*text("B", self.second_segment), *tokens(self.after, self.second_segment)]
        return {
            "type": "TemplateProcessing",
            "single": [*first, *tokens(self.after)],
            "pair": [*first, *tokens(self.between), *second],
            "special_tokens": {
                names[one]: {"id": names[one], "ids": [one], "tokens": [names[one]]}
                for one in sorted({*self.ids})
            },
        }


def _parts(
    processor: Mapping[str, Any], name: str
) -> list[tuple[str | None, list[int], list[int]]]:
    """The parts of a template: the letter of a text, or the ids of special tokens side by side;
    and the segments that occur."""
    parts: list[tuple[str | None, list[int], list[int]]] = []
    for piece in processor[name]:
        ((kind, about),) = piece.items()
        segment = _id(about["type_id"])
        text = about["id"] if kind == "Sequence" else None
        ids = [] if text else map(_id, processor["special_tokens"][about["id"]]["ids"])
        if text or not parts or parts[-1][0]:
            parts.append((text, [*ids], [segment]))
        else:
            parts[-1][1].extend(ids)
            if segment not in parts[-1][2]:
                parts[-1][2].append(segment)
    return parts


def _id(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"{number!r:.80} is no id")
    return number


def _unusual(processor: Mapping[str, Any]) -> CheckpointError:
    pieces = (about["id"] for piece in processor["pair"] for about in piece.values())
    return CheckpointError(
        f"the post_processor makes {' '.join(map(str, pieces)):.80} of a pair",
        hint="onelayer reads [CLS] A [SEP] B [SEP], and <s> A </s></s> B </s>",
    )
