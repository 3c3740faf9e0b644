"""How well a vocabulary covers a text."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.words import split_words

MANY_PIECES = 4
"""A word of more pieces counts as shattered, and one that falls into the bytes of its letters."""
POOR_UNKNOWN = 0.05
POOR_SHATTERED = 0.15
"""Shares of unknown and of shattered words above which the user gets a warning."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The shares of a sample's words that are unknown, and that fall into more than four pieces."""

    unknown: float
    shattered: float
    chinese: float
    """The share of letters that are Chinese characters."""

    @property
    def poor(self) -> bool:
        """Whether another model would be a better choice for such text."""
        return self.unknown > POOR_UNKNOWN or self.shattered > POOR_SHATTERED

    def advice(self) -> str:
        """A warning in one line: the figures, and models that cover such text."""
        better = (
            "bert-base-chinese, hfl/chinese-macbert-base or hfl/rbt3 (small)"
            if self.chinese > 0.3
            else "bert-base-multilingual-cased"
        )
        return (
            f"the model's vocabulary can't read this text well: {self.unknown:.0%} of the words "
            f"are unknown to it, {self.shattered:.0%} fall into more than {MANY_PIECES} pieces; "
            f"--model {better} can"
        )


def coverage(tokenizer: Tokenizer, texts: Sequence[str]) -> Coverage:
    """Measures a tokenizer's coverage of the words of some texts."""
    split = list(map(split_words, texts))
    words = unknown = shattered = 0
    for encoding, own in zip(tokenizer.encode_words(texts, split), split, strict=True):
        pieces = [0] * len(own)
        for token, word in zip(encoding.ids, encoding.word_ids, strict=True):
            if word is not None:
                pieces[word] += 1
                unknown += token == tokenizer.unk_id
        words += len(own)
        # A mark and each of a word's letters may be pieces; more pieces are bytes.
        shattered += sum(
            n > min(MANY_PIECES, end - start + 1)
            for n, (start, end) in zip(pieces, own, strict=True)
        )
    letters = [c for text in texts for c in text[:1000] if c.isalpha()]
    chinese = sum(unicodedata.name(c, "").startswith("CJK") for c in letters)
    return Coverage(
        unknown / max(words, 1), shattered / max(words, 1), chinese / max(len(letters), 1)
    )
