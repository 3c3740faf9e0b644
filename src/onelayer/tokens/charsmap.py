"""Checks SentencePiece's table of characters, the ``precompiled_charsmap`` of a normalizer.

Its format is (length of the trie in bytes, trie, texts): the trie is a double array of 32-bit units
(darts-clone) that leads from the bytes of a text to a place among the texts, and a text ends with a
zero byte. The Rust code that reads it panics at an index that doesn't exist.
"""

from __future__ import annotations

import base64
import binascii

import numpy as np

from onelayer.base.errors import CheckpointError

LARGEST_TABLE = 4 << 20
"""Bytes; Unicode's NFKC with the rules of XLM-R takes 0.3 MB."""
LONGEST_TEXT = 100
"""Bytes that a character may become; of NFKC's the longest has 33."""

_BLOCK = 256
_VALUE = np.uint32(1 << 31)
"""The bit that marks a unit as a place among the texts, and not a node."""


def check_charsmap(table: object) -> None:
    """Raises CheckpointError for a table that isn't base64, or with an index outside of it."""
    if not isinstance(table, str) or len(table) > 4 * LARGEST_TABLE // 3:
        raise CheckpointError("a Precompiled table of characters that is no text, or too long")
    try:
        data = base64.b64decode(table, validate=True)
    except (binascii.Error, ValueError) as error:
        raise CheckpointError("a Precompiled table of characters that isn't base64") from error
    size = int.from_bytes(data[:4], "little")
    if len(data) < 4 or size % (4 * _BLOCK) or not 0 < size <= len(data) - 4:
        raise _wrong("its size")
    units, texts = np.frombuffer(data, "<u4", size // 4, 4), data[4 + size :]
    try:
        texts.decode()
    except UnicodeDecodeError as error:
        raise _wrong("its texts") from error
    _check_trie(units.astype(np.int64), np.frombuffer(texts, np.uint8))


def _check_trie(units: np.ndarray, texts: np.ndarray) -> None:
    nodes = np.flatnonzero((units & int(_VALUE)) == 0)
    node = units[nodes]
    # A node's children are in the block of 256 units that its offset leads to.
    children = nodes ^ ((node >> 10) << ((node & 512) >> 6))
    if len(nodes) and children.max() >= len(units):
        raise _wrong("a node")
    leaves = children[(node & 256) != 0]
    starts = np.unique(units[leaves] & ~int(_VALUE))
    ends = np.flatnonzero(texts == 0)
    if not len(starts):
        return
    if not len(ends) or starts.max() > ends[-1] or ((texts[starts] & 0xC0) == 0x80).any():
        raise _wrong("a text")
    if (ends[np.searchsorted(ends, starts)] - starts).max() > LONGEST_TEXT:
        raise CheckpointError(
            f"a Precompiled table that makes more than {LONGEST_TEXT} bytes of a character"
        )


def _wrong(what: str) -> CheckpointError:
    return CheckpointError(
        f"a Precompiled table of characters that is damaged, in {what}", hint="fetch the file again"
    )
