"""The words of a raw text, as BERT's basic tokenizer cuts them, with their character offsets."""

from __future__ import annotations

import re
import unicodedata

ZERO_WIDTH_JOINER = "\u200d"

# Each character is mapped to the letter of its kind; what a word is, is then a regular expression
# over kinds, and its spans are those of the text.
_WORD = re.compile(
    r"""
    [mj]* (?: e (?: j+ e | [mj] )*      # emoji and symbols; those that a joiner joins stay together
            | a [mj]*                   # a punctuation mark or an ideograph, alone
            | l [lmj]* )                # letters, digits and what combines with them
    | [mj]+                             # marks and controls with nothing to cling to
    """,
    re.VERBOSE,
)


def split_words(text: str) -> list[tuple[int, int]]:
    """Character spans (begin, end) of the words of ``text``, in order.

    White space parts words; each punctuation mark, symbol and CJK ideograph is a word; combining
    marks, joiners and control characters belong to the word they follow. Where BERT's own splitter
    differs: it leaves symbols beyond ASCII, such as an emoji, inside the word they touch.
    """
    return [match.span() for match in _WORD.finditer(text.translate(_KINDS))]


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
