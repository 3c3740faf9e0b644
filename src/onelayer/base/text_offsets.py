"""Positions in a text, counted in code points (as Python does), UTF-16 units or UTF-8 bytes.

Strings of Java, JavaScript and C# are made of UTF-16 units, those of Go and Rust of UTF-8 bytes.
An emoji is one code point, two units and four bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate
from typing import Literal, get_args

from onelayer.base.errors import UsageError

OffsetUnit = Literal["codepoint", "utf16", "utf8"]
"""What an offset counts."""
CODE_POINTS: OffsetUnit = "codepoint"

# Code points from each of these take one more unit than those before.
_WIDER_FROM: dict[str, tuple[int, ...]] = {"utf16": (0x10000,), "utf8": (0x80, 0x800, 0x10000)}


def check_offset_unit(unit: str) -> None:
    """Raises UsageError for an unknown unit."""
    if unit not in get_args(OffsetUnit):
        hint = f"one of {', '.join(get_args(OffsetUnit))}"
        raise UsageError(f"no unit of offsets {unit!r}", hint=hint)


def unit_widths(text: str, unit: OffsetUnit) -> list[int]:
    """How many units each character of a text has. Half of a surrogate pair that stands alone has
    one unit of UTF-16, or three bytes."""
    import numpy as np  # late, because the command line reads the names of the units

    points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    widths = np.ones(len(points), np.int64)
    for first in _WIDER_FROM.get(unit, ()):
        widths += points >= first
    found: list[int] = widths.tolist()
    return found


class TextOffsets:
    """Converts the positions of one text between code points and a unit.

    A position is the start or the end of a character: 0 to the length of the text, in either unit.
    """

    def __init__(self, text: str, unit: OffsetUnit) -> None:
        self._length = len(text)
        self._starts: Sequence[int] | None = None
        """Where each character starts, and the end; None if that is the position itself."""
        if unit != CODE_POINTS and not text.isascii():
            self._starts = list(accumulate(unit_widths(text, unit), initial=0))

    def of(self, position: int) -> int:
        """The unit's position for a position in code points."""
        return position if self._starts is None else self._starts[position]

    def code_point(self, position: int) -> int:
        """The code point that starts at a position of the unit. Raises ValueError if none starts
        there: the position is inside a character, or outside the text."""
        found = position if self._starts is None else bisect_left(self._starts, position)
        inside = 0 <= found <= self._length
        if not inside or (self._starts is not None and self._starts[found] != position):
            raise ValueError(f"no character starts at {position}")
        return found

    def span(self, start: int, end: int) -> tuple[int, int]:
        """``of`` for both ends of a span."""
        return self.of(start), self.of(end)
