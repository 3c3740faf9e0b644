"""How a file writes its tags, where that isn't ``B-PER`` and ``O``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from onelayer.tasks.tag.schemes import OUTSIDE

LIKE_OUTSIDE = {OUTSIDE, "o", "0"}
"""``O``, and what looks like it."""
_FORMS = {
    "B-PER": re.compile(r"(?P<role>[BIESMLU])(?:-(?P<type>.+))?", re.DOTALL),
    "b-per": re.compile(r"(?P<role>[biesmlu])(?:-(?P<type>.+))?", re.DOTALL),
    "B_PER": re.compile(r"(?P<role>[BIESMLU])[_:/.](?P<type>.+)", re.DOTALL),
    "PER-B": re.compile(r"(?P<type>.+)[-_](?P<role>[BIESMLU])", re.DOTALL),
}
"""The ways to write a role and a type, by an example; the first that fits a file is taken."""


@dataclass(frozen=True, slots=True)
class Notation:
    """A way to write tags: the form of those inside an entity, and the tags outside."""

    form: str
    outside: tuple[str, ...]

    def standard(self, tag: str) -> str:
        """A tag as it is written in IOB: ``B-PER`` or ``O``. Other tags stay as they are."""
        if tag in self.outside:
            return OUTSIDE
        match = _FORMS[self.form].fullmatch(tag)
        if not match:
            return tag
        role, type_ = match["role"].upper(), match["type"]
        return f"{role}-{type_}" if type_ else role

    @property
    def remark(self) -> str | None:
        """What is said of it, if it isn't the usual one."""
        read = []
        if self.form != "B-PER":
            read.append(f"tags are written like {self.form} and read as B-PER")
        for tag in self.outside:
            if tag != OUTSIDE:
                read.append(f"the tag {tag!r} is read as {OUTSIDE}, outside of every entity")
        return "; ".join(read) or None


def notation_of(tags: Iterable[str]) -> Notation | None:
    """The notation by which all tags of a file but one have a role, some of them ``B`` or ``I``.
    The one is what stands outside: ``O``, or else the most frequent tag; beside ``O`` there may be
    what looks like it. None where there is no such notation, as for parts of speech."""
    counts = Counter(tags)
    for form, pattern in _FORMS.items():
        matches = {tag: match for tag in counts if (match := pattern.fullmatch(tag))}
        roles = {match["role"].upper() for match in matches.values()}
        others = counts.keys() - matches.keys()
        if not others or not roles & {"B", "I"}:
            continue
        most_frequent = len(others) == 1 and max(counts[one] for one in others) == max(
            counts.values()
        )
        if most_frequent or others <= LIKE_OUTSIDE:
            return Notation(form, tuple(sorted(others)))
    return None
