"""Which texts count as equal: for finding repeats, and for keeping equal rows on one side of a
split."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from onelayer.data.row_kind import RowKind

_PUNCTUATION = re.compile(
    "[!-/:-@\\[-`{-~\u00a1\u00ab\u00b7\u00bb\u00bf\u2000-\u206f\u3000-\u303f]+"
)
"""ASCII's marks, and those of other scripts that NFKC doesn't turn into them."""
_ASCII = {code: _PUNCTUATION.sub(" ", chr(code)).lower() for code in range(128)}
"""The same for texts of ASCII alone, in one fast pass."""


def normalized(text: str) -> str:
    """A text without differences in case, spaces and the width of characters (NFKC)."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def without_punctuation(text: str) -> str:
    """A normalized text without punctuation, unless it is nothing else.

    Files hold copies that differ in a comma or a final stop: of 40,000 phrases of SST-2 only 128
    repeat another one exactly, and 3,158 repeat one but for punctuation.
    """
    if text.isascii():
        return " ".join(text.translate(_ASCII).split()) or text
    text = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_PUNCTUATION.sub(" ", text).split()) or text


def split_key(kind: type[RowKind[Any]], row: Any) -> int:
    """A digest of 64 bits, equal for rows that belong on one side of a split.

    These are rows of one group, such as the questions about a passage; for a task without groups,
    rows whose texts are equal but for case, spaces, width and punctuation, and the two texts of a
    pair in either order. The chance that two of five million keys are equal by accident is one in a
    million; these rows then stay together, which does no harm.
    """
    group = kind.group(row)
    return texts_key(kind.texts(row) if group is None else (group,))


def texts_key(texts: Iterable[str]) -> int:
    """A digest of 64 bits, equal for texts that are equal but for case, spaces, width and
    punctuation, in any order."""
    joined = "\0".join(sorted(map(without_punctuation, texts)))
    digest = blake2b(joined.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
