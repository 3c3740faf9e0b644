"""Words with a tag each, in the shapes that files have: lists, lists written as text, and texts of
as many words as tags."""

from __future__ import annotations

import re
from collections.abc import Sequence

from onelayer.base.errors import DataError, Place
from onelayer.data.values import in_role, label_name, listed_in
from onelayer.tasks.tag.notation import Notation

ERNIE_MARK = "\x02"
"""What stands between the words, and between the tags, in files made for ERNIE."""
IGNORED = "-100"
"""The tag that PyTorch's losses ignore: files of tokens give it to what isn't a word."""
LEFT_OUT = f"tokens tagged {IGNORED} are no words, and are left out"

Span = tuple[int, int]


def word_list(value: object) -> list[object] | None:
    """Words as a list, which may be written as text; None for a running text."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if not isinstance(value, str):
        return None
    if ERNIE_MARK in value:
        return list(value.split(ERNIE_MARK))
    listed = listed_in(value)
    return listed if listed and all(isinstance(word, str) for word in listed) else None


def tag_list(value: object) -> list[object] | None:
    """Tags as a list, which may be written as text, with spaces, commas or bars between them."""
    listed = word_list(value)
    if listed is not None or not isinstance(value, str):
        return listed
    parts = value.split()  # by spaces first: a comma may be a tag, too
    return listed_in(value) or list(parts if len(parts) != 1 else re.split(r"[,;|]", parts[0]))


def words_for(text: str, n_tags: int) -> list[Span] | None:
    """The words of a text that has one for each tag: the parts between white space, or else every
    character, as in Chinese. None where neither are as many as the tags."""
    for pattern in (r"\S+", r"\S"):
        words = [match.span() for match in re.finditer(pattern, text)]
        if len(words) == n_tags:
            return words
    return None


def checked_words(words: Sequence[object], place: Place) -> list[str]:
    """Raises DataError for what is no word, such as null."""
    for number, word in enumerate(words, 1):
        if isinstance(word, bool) or not isinstance(word, (str, int, float)) or word != word:
            message = f"word {number} is {label_name(word):.40}, not a text"
            hint = "write each word as a text, or leave such rows out with --skip-bad"
            raise DataError(message, place=in_role(place, "text"), hint=hint)
    return [word if isinstance(word, str) else label_name(word) for word in words]


def checked_tags(
    tags: Sequence[object], n_words: int, place: Place, notation: Notation | None
) -> tuple[str, ...]:
    """The tags of a row, in the usual notation. Raises DataError for another number of tags than
    words, and for what is no tag."""
    place = in_role(place, "label")
    if len(tags) != n_words:
        hint = "each word needs one tag"
        raise DataError(f"{len(tags)} tags for {n_words} words", place=place, hint=hint)
    names = [_name(tag) for tag in tags]
    for number, (tag, name) in enumerate(zip(tags, names, strict=True), 1):
        if not name:
            hint = "write a tag, O for a word outside of every entity; or --skip-bad"
            message = f"the tag of word {number} is {label_name(tag) or 'empty':.60}"
            raise DataError(message, place=place, hint=hint)
    return tuple(notation.standard(name) if notation else name for name in names)


def _name(tag: object) -> str:
    """A tag's name; empty for what is none."""
    if isinstance(tag, str):
        return tag.strip()
    if isinstance(tag, float) and tag.is_integer():
        tag = int(tag)
    return label_name(tag) if isinstance(tag, int) and not isinstance(tag, bool) else ""


def without_ignored(words: Sequence[str], tags: Sequence[object]) -> tuple[list[str], list[object]]:
    """Without the tokens that are tagged -100: special ones such as ``[CLS]``, and the further
    parts of a word (``##ing``), which are joined to it."""
    kept: list[str] = []
    kept_tags: list[object] = []
    for word, tag in zip(words, tags, strict=True):
        if _name(tag) != IGNORED:
            kept.append(word)
            kept_tags.append(tag)
        elif word.startswith("##") and kept:
            kept[-1] += word[2:]
    return kept, kept_tags
