"""The special tokens that a model expects around a text, and around the two texts of a pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Self

import tokenizers
from tokenizers import Encoding

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
    def read(cls, backend: tokenizers.Tokenizer) -> Self | None:
        """The template of a ``tokenizer.json``'s post-processor; None if that adds no tokens.

        Raises CheckpointError for one that no model here is pretrained with.
        """
        if backend.post_processor is None:
            return None
        single, pair = backend.encode("a"), backend.encode("a", "a")
        parts = _parts(pair)
        texts = [text for text, _ in parts]
        if texts == [0, 1]:
            return None
        if texts != [None, 0, None, 1, None]:
            raise _unusual(pair)
        before, a, between, b, after = (ids for _, ids in parts)
        template = cls(tuple(before), tuple(between), tuple(after), max(pair.type_ids))
        n_first = len(before) + len(a) + len(between)
        n_second = len(b) + len(after)
        if (
            not len(before) == len(after) == 1
            or between not in (after, 2 * after)
            or before == after
            or single.ids != template.single(a)
            or pair.type_ids != [0] * n_first + [template.second_segment] * n_second
            or template.second_segment > 1
        ):
            raise _unusual(pair)
        return template

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


def _parts(encoding: Encoding) -> list[tuple[int | None, list[int]]]:
    """Runs of ids: of the first text (0), the second one (1), or of special tokens (None)."""
    marked = zip(encoding.sequence_ids, encoding.ids, strict=True)
    return [
        (text, [number for _, number in run]) for text, run in groupby(marked, key=lambda at: at[0])
    ]


def _unusual(pair: Encoding) -> CheckpointError:
    tokens = (
        "AB"[text] if text is not None else token
        for text, token in zip(pair.sequence_ids, pair.tokens, strict=True)
    )
    return CheckpointError(
        f"the post_processor makes {' '.join(tokens):.80} of a pair",
        hint="onelayer reads [CLS] A [SEP] B [SEP], and <s> A </s></s> B </s>",
    )
