"""Splits raw text into words as BERT's basic tokenizer does, with character offsets."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onelayer.tokens.encodings import Ints
    from onelayer.tokens.splitters import WithWords

WordSpans = Sequence[tuple[int, int]]
"""Where the words of a text begin and end, in characters."""
ZERO_WIDTH_JOINER = "\u200d"

# Each character is replaced by the letter of its kind (see _kind), so a word is a regular
# expression over kinds. The text keeps its length, so a match's span is the word's span.
_WORD = re.compile(
    r"""
    [mj]* (?: e (?: m | j e? )*         # an emoji or symbol, with others that a joiner connects
            | a [mj]*                   # a punctuation mark or an ideograph, alone
            | l [lmj]* )                # letters, digits and their combining marks
    | [mj]+                             # marks and controls that follow nothing
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Joints:
    """Punctuation marks at which a file's own words aren't split, contrary to BERT's rule."""

    inner: str = ""
    """Marks that stay inside a word, between letters or digits: ``Berners-Lee``, ``3.5``."""
    leading: str = ""
    """Marks that begin a word, before letters or digits: ``'s``, ``@user``."""


@dataclass(slots=True)
class Marks:
    """Counts where a file's words have punctuation marks: inside, in front, or alone."""

    inner: Counter[str] = field(default_factory=Counter)
    leading: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)

    def see(self, words: Iterable[str]) -> None:
        """Adds the words of a sentence."""
        for word in words:
            if len(word) == 1:
                self.alone[word] += 1
                continue
            self.inner.update(set(_INNER.findall(word)))
            self.leading.update(_LEADING.findall(word))

    def joints(self) -> Joints:
        """The marks that are inside words, or in front of them, at least twice and at least a
        twentieth as often as alone."""
        begins = {mark for mark, n in self.leading.items() if n > self.inner[mark]}
        common = {
            mark
            for marks in (self.inner, self.leading)
            for mark, n in marks.items()
            if n >= 2 and 20 * n >= self.alone[mark]
        }
        return Joints("".join(sorted(common - begins)), "".join(sorted(common & begins)))


_INNER = re.compile(r"(?<=[^\W_])([^\w\s])(?=[^\W_])")
_LEADING = re.compile(r"^([^\w\s])(?=[^\W_])")


def split_words(text: str, joints: Joints = Joints()) -> list[tuple[int, int]]:
    """The character spans (begin, end) of a text's words, in order.

    White space separates words. Each punctuation mark, symbol and CJK ideograph is a word by
    itself; combining marks, joiners and control characters belong to the word before them. BERT's
    own splitter differs in one thing: it leaves symbols beyond ASCII, such as an emoji, inside the
    word they touch.

    Parameters
    ----------
    text
        Any text.
    joints
        Punctuation marks that stay part of a word.
    """
    spans = [match.span() for match in _WORD.finditer(text.translate(_KINDS))]
    return _joined(text, spans, joints) if joints.inner or joints.leading else spans


def stays_in_word(character: str) -> bool:
    """Whether a character belongs to the word before it where no white space stands between: a
    letter, digit, mark or joiner does; punctuation, a symbol or an ideograph doesn't."""
    return _KINDS[ord(character)] in "lmj" if character else False


def _joined(text: str, spans: list[tuple[int, int]], joints: Joints) -> list[tuple[int, int]]:
    words: list[tuple[int, int]] = []
    open_ended = False  # whether the next piece belongs to the last word
    for i, (start, end) in enumerate(spans):
        mark = text[start:end]
        before = bool(words) and words[-1][1] == start and text[start - 1].isalnum()
        after = i + 1 < len(spans) and spans[i + 1][0] == end and text[end].isalnum()
        inside = mark in joints.inner and before and after
        if open_ended or inside:
            words[-1] = (words[-1][0], end)
        else:
            words.append((start, end))
        open_ended = inside or (mark in joints.leading and after)
    return words


class _Kinds(dict[int, str]):
    """A table from character codes to kinds, filled as characters occur."""

    def __missing__(self, code: int) -> str:
        self[code] = kind = _kind(chr(code))
        return kind


_KINDS = _Kinds()


def _kind(character: str) -> str:
    """s space, j joiner, m combining mark or control, a alone, e emoji or symbol, l letter."""
    category = unicodedata.category(character)
    if character.isspace():
        return "s"
    if character == ZERO_WIDTH_JOINER:
        return "j"
    if category[0] == "M" or category in ("Cc", "Cf") or _is_skin_tone(character):
        return "m"
    if category[0] == "P" or _is_ideograph(ord(character)):
        return "a"
    if category[0] == "S":
        return "a" if character.isascii() else "e"
    return "l"


def _is_skin_tone(character: str) -> bool:
    return "\U0001f3fb" <= character <= "\U0001f3ff"


def _is_ideograph(code: int) -> bool:
    """Whether BERT makes it a word by itself: the blocks are those of google-research/bert,
    ``tokenization.py``, without kana and hangul."""
    return any(low <= code <= high for low, high in _IDEOGRAPHS)


_IDEOGRAPHS = (
    (0x4E00, 0x9FFF),
    (0x3400, 0x4DBF),
    (0x20000, 0x2A6DF),
    (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF),
    (0xF900, 0xFAFF),
    (0x2F800, 0x2FA1F),
)


def with_other_words(
    text: str, spans: WordSpans, words: Sequence[str]
) -> tuple[str, list[tuple[int, int]]]:
    """A text whose words at ``spans``, in order, are exchanged for as many other ones, and the
    spans of those. What stands between the words stays."""
    parts: list[str] = []
    found: list[tuple[int, int]] = []
    end, at = 0, 0  # where the last word ends in the text, and how long the new text is
    for (start, stop), word in zip(spans, words, strict=True):
        at += start - end
        parts += (text[end:start], word)
        found.append((at, at + len(word)))
        end, at = stop, at + len(word)
    return "".join((*parts, text[end:])), found


def subwords(encoding: WithWords, n_words: int, unk_id: int) -> tuple[list[int], Ints]:
    """A sentence's token ids, and where each word begins among them. A word that the tokenizer
    turns into nothing (a zero-width mark, say) stands there as ``[UNK]``, to get its label."""
    ids: list[int] = []
    firsts: list[int] = []
    for token, word in zip(encoding.ids, encoding.word_ids, strict=True):
        assert word is not None, "texts are encoded without special tokens"
        while len(firsts) < word:
            firsts.append(len(ids))
            ids.append(unk_id)
        if len(firsts) == word:
            firsts.append(len(ids))
        ids.append(token)
    for _ in range(n_words - len(firsts)):
        firsts.append(len(ids))
        ids.append(unk_id)
    return ids, np.asarray(firsts, dtype=np.int64)
