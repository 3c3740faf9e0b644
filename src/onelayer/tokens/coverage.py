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
FOREIGN = 0.4
"""The share of words that a vocabulary lacks, above which it is one for another language. The
starter's lacks 1 % to 13 % of the words of English sets, tweets included, 53 % to 70 % of those of
German, French or Spanish reviews, and about 70 % of those of Chinese ones."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """The shares of a sample's words that are unknown, and that fall into more than four pieces."""

    unknown: float
    shattered: float
    chinese: float
    """The share of letters that are Chinese characters."""
    cut: float
    """The share of words with letters that are unknown or cut into pieces."""

    @property
    def poor(self) -> bool:
        """Whether another model would be a better choice for such text."""
        return self.unknown > POOR_UNKNOWN or self.shattered > POOR_SHATTERED

    @property
    def foreign(self) -> bool:
        """Whether the vocabulary is one for texts in another language."""
        return self.cut > FOREIGN

    def advice(self) -> str:
        """A warning in one line: the figures, and models that cover such text."""
        better = "multilingual (small)" + (
            ", bert-base-chinese or hfl/chinese-macbert-base"
            if self.chinese > 0.3
            else " or bert-base-multilingual-cased"
        )
        return (
            f"the model's vocabulary can't read this text well: {self.unknown:.0%} of the words "
            f"are unknown to it, {self.shattered:.0%} fall into more than {MANY_PIECES} pieces; "
            f"--model {better} can"
        )


def coverage(tokenizer: Tokenizer, texts: Sequence[str]) -> Coverage:
    """Measures a tokenizer's coverage of the words of some texts."""
    split = list(map(split_words, texts))
    words = unknown = shattered = lettered = cut = 0
    encoded = tokenizer.encode_words(texts, split)
    for whole, encoding, own in zip(texts, encoded, split, strict=True):
        pieces, is_unknown = [0] * len(own), [False] * len(own)
        for token, word in zip(encoding.ids, encoding.word_ids, strict=True):
            if word is not None:
                pieces[word] += 1
                is_unknown[word] |= token == tokenizer.unk_id
                unknown += token == tokenizer.unk_id
        words += len(own)
        # A mark and each of a word's letters may be pieces; more pieces are bytes.
        shattered += sum(
            n > min(MANY_PIECES, end - start + 1)
            for n, (start, end) in zip(pieces, own, strict=True)
        )
        for (start, end), n, lacking in zip(own, pieces, is_unknown, strict=True):
            if any(map(str.isalpha, whole[start:end])):
                lettered += 1
                cut += n > 1 or lacking
    letters = [c for text in texts for c in text[:1000] if c.isalpha()]
    chinese = sum(unicodedata.name(c, "").startswith("CJK") for c in letters)
    return Coverage(
        unknown / max(words, 1),
        shattered / max(words, 1),
        chinese / max(len(letters), 1),
        cut / max(lettered, 1),
    )
