"""The words of a raw text, as BERT's basic tokenizer cuts them, with their character offsets."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

ZERO_WIDTH_JOINER = "\u200d"

# Each character is mapped to the letter of its kind; what a word is, is then a regular expression
# over kinds, and its spans are those of the text.
_WORD = re.compile(
    r"""
    [mj]* (?: e (?: m | j e? )*         # emoji and symbols; those that a joiner joins stay together
            | a [mj]*                   # a punctuation mark or an ideograph, alone
            | l [lmj]* )                # letters, digits and what combines with them
    | [mj]+                             # marks and controls with nothing to cling to
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Joints:
    """Marks that a file's own words are not cut at, as ``split_words`` would cut them."""

    inner: str = ""
    """Between letters or digits they stay inside a word: ``Berners-Lee``, ``3.5``."""
    leading: str = ""
    """Before letters or digits they begin a word: ``'s``, ``@user``."""


@dataclass(slots=True)
class Marks:
    """Where a file's words have marks, counted sentence by sentence."""

    inner: Counter[str] = field(default_factory=Counter)
    leading: Counter[str] = field(default_factory=Counter)
    alone: Counter[str] = field(default_factory=Counter)

    def see(self, words: Iterable[str]) -> None:
        for word in words:
            if len(word) == 1:
                self.alone[word] += 1
                continue
            self.inner.update(set(_INNER.findall(word)))
            self.leading.update(_LEADING.findall(word))

    def joints(self) -> Joints:
        """A mark is a joint where it is inside words, or begins them, at least twice and not just
        once in a while beside all the times that it stands alone."""
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
    """Character spans (begin, end) of the words of ``text``, in order.

    White space parts words; each punctuation mark, symbol and CJK ideograph is a word, but for the
    ``joints``; combining marks, joiners and control characters belong to the word they follow.
    Where BERT's own splitter differs: it leaves symbols beyond ASCII, such as an emoji, inside the
    word they touch.
    """
    spans = [match.span() for match in _WORD.finditer(text.translate(_KINDS))]
    return _joined(text, spans, joints) if joints.inner or joints.leading else spans


def _joined(text: str, spans: list[tuple[int, int]], joints: Joints) -> list[tuple[int, int]]:
    words: list[tuple[int, int]] = []
    open_ended = False  # whether the next piece may belong to the last word
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
    """Character code to kind, found out once for each character."""

    def __missing__(self, code: int) -> str:
        self[code] = kind = _kind(chr(code))
        return kind


_KINDS = _Kinds()


def _kind(character: str) -> str:
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
    """The blocks of google-research/bert, ``tokenization.py``: no kana, no hangul."""
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
