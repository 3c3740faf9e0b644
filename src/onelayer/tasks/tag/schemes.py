"""Tagging schemes: how a label per word says where entities begin and end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from onelayer.base.errors import DataError

EntityWords = tuple[str, int, int]
"""Type, first word, and the word after the last. The type of a bare ``B`` is ``""``."""

OUTSIDE = "O"


class Scheme(StrEnum):
    """``IOB1`` writes B only between two entities of one type that touch; ``IOB2`` at every begin.
    ``BIOES``, ``BMES`` and ``BILOU`` also mark ends and single words, with other letters.
    ``PLAIN`` tags have no prefixes: parts of speech, or a type on each word.
    """

    IOB1 = "IOB1"
    IOB2 = "IOB2"
    BIOES = "BIOES"
    BMES = "BMES"
    BILOU = "BILOU"
    PLAIN = "plain"


_LETTERS = {
    Scheme.IOB2: "BI",
    Scheme.IOB1: "BI",
    Scheme.BIOES: "BIES",
    Scheme.BMES: "BMES",
    Scheme.BILOU: "BILU",
}
"""What each scheme calls begin, inside, end and single; first the one to assume."""

_PREFIXED = re.compile(r"([BIESMLU])(?:-(.*))?", re.DOTALL)


class ParsedTag(NamedTuple):
    """A tag in the words of BIOES, whatever its scheme; ``role`` is ``?`` where it has no such."""

    role: str
    type: str


@lru_cache(maxsize=4096)
def parse(tag: str, scheme: Scheme) -> ParsedTag:
    """``B-PER`` in role and type. In a plain scheme every tag but ``O`` is a type."""
    if tag == OUTSIDE:
        return ParsedTag("O", "")
    if scheme is Scheme.PLAIN:
        return ParsedTag("I", tag)
    match = _PREFIXED.fullmatch(tag)
    if not match or match[1] not in _LETTERS[scheme]:
        return ParsedTag("?", tag)
    return ParsedTag("BIES"[_LETTERS[scheme].index(match[1])], match[2] or "")


class TagPairs:
    """Which tags follow which in a file: distinct pairs are few, however long it is."""

    def __init__(self, tag_sequences: Iterable[Sequence[str]]) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        for tags in tag_sequences:  # the edge of a sentence is as good as O
            self._counts.update(pairwise((OUTSIDE, *tags, OUTSIDE)))

    def scheme(self) -> Scheme:
        """The scheme under which the fewest tags are illegal, so that a few mistakes don't hide it;
        ``PLAIN`` where a tenth or more of the tags, ``O`` apart, have no prefix.
        """
        named = {pair: count for pair, count in self._counts.items() if pair[0] != OUTSIDE}
        prefixed = sum(count for (tag, _), count in named.items() if _PREFIXED.fullmatch(tag))
        if prefixed < 0.9 * sum(named.values()):
            return Scheme.PLAIN
        return min(_LETTERS, key=self.mistakes)

    def mistakes(self, scheme: Scheme) -> int:
        """How often a tag follows another that it may not follow."""
        return sum(
            count
            for (left, right), count in self._counts.items()
            if not _may_follow(parse(left, scheme), parse(right, scheme), scheme)
        )


def recognise(tag_sequences: Iterable[Sequence[str]]) -> Scheme:
    """The scheme of a file's tags; see `TagPairs`."""
    return TagPairs(tag_sequences).scheme()


def entities(tags: Sequence[str], scheme: Scheme) -> list[EntityWords]:
    """The entities of a sentence. Illegal sequences are read as conlleval and seqeval do: an inside
    with nothing to continue begins an entity. Plain tags: each run of one tag other than ``O``.
    """
    found: list[EntityWords] = []
    begin: int | None = None
    open_type = ""
    for word, name in enumerate(tags):
        tag = parse(name, scheme)
        if begin is not None and (tag.role in "BSO?" or tag.type != open_type):
            found.append((open_type, begin, word))
            begin = None
        if tag.role in "O?":
            continue
        if begin is None:
            begin, open_type = word, tag.type
        if tag.role in "ES":
            found.append((open_type, begin, word + 1))
            begin = None
    if begin is not None:
        found.append((open_type, begin, len(tags)))
    return found


def from_entities(n_words: int, entities: Iterable[EntityWords], scheme: Scheme) -> list[str]:
    """The tags of ``n_words`` words with these entities, which may come in any order.

    Raises:
        DataError: an entity that is empty, leaves the sentence or overlaps another.
    """
    tags = [OUTSIDE] * n_words
    last_type, last_end = "", 0
    for type_, begin, end in sorted(entities, key=lambda entity: entity[1:]):
        if not 0 <= begin < end <= n_words:
            raise DataError(f"entity {type_!r} has words {begin} to {end} of {n_words}")
        if begin < last_end:
            raise DataError(f"entity {type_!r} at word {begin} overlaps {last_type!r}")
        touches = last_end == begin > 0 and last_type == type_
        tags[begin:end] = _entity_tags(type_, end - begin, scheme, touches)
        last_type, last_end = type_, end
    return tags


def _entity_tags(type_: str, length: int, scheme: Scheme, touches: bool) -> list[str]:
    if scheme is Scheme.PLAIN:
        return [type_] * length
    suffix = f"-{type_}" if type_ else ""
    letters = _LETTERS[scheme]
    inside = letters[1]
    begin = inside if scheme is Scheme.IOB1 and not touches else letters[0]
    roles = [begin] + [inside] * (length - 1)
    if len(letters) == 4:
        roles[-1] = letters[2] if length > 1 else letters[3]
    return [role + suffix for role in roles]


def violations(tags: Sequence[str], scheme: Scheme) -> list[int]:
    """The words at which a tag may not follow the one before it, or not end the sentence."""
    parsed = [parse(tag, scheme) for tag in (OUTSIDE, *tags, OUTSIDE)]
    pairs = enumerate(pairwise(parsed))
    wrong = (word for word, (left, right) in pairs if not _may_follow(left, right, scheme))
    # A sentence that may not end here is the fault of its last word.
    return list(dict.fromkeys(min(word, len(tags) - 1) for word in wrong))


def transitions(
    labels: Sequence[str], scheme: Scheme
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """What is legal among L labels.

    Returns:
        allowed: (L, L), whether the column's label may follow the row's.
        start: (L,), whether a sentence may begin with the label.
        end: (L,), whether it may end with it.
    """
    parsed = [parse(label, scheme) for label in labels]
    allowed = [[_may_follow(left, right, scheme) for right in parsed] for left in parsed]
    edge = parse(OUTSIDE, scheme)
    start = [_may_follow(edge, tag, scheme) for tag in parsed]
    end = [_may_follow(tag, edge, scheme) for tag in parsed]
    return np.array(allowed, bool), np.array(start, bool), np.array(end, bool)


def _may_follow(left: ParsedTag, right: ParsedTag, scheme: Scheme) -> bool:
    """The grammar of each scheme; the edge of a sentence is as good as ``O``."""
    if scheme is Scheme.PLAIN:
        return True
    if "?" in (left.role, right.role):
        return False
    same = left.role in "BI" and left.type == right.type
    if scheme is Scheme.IOB1:
        return right.role != "B" or same
    if scheme is Scheme.IOB2:
        return right.role != "I" or same
    unfinished = left.role in "BI"
    return (right.role in "IE" and same) if unfinished else right.role in "OBS"
