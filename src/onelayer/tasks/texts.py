"""A text or a pair of texts, read at ``[CLS]``: the way in of classify and regress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onelayer.base.errors import Place
from onelayer.base.library_structs import RowInput, text_bytes
from onelayer.data.values import text_of
from onelayer.tasks.pooling import WINDOWS_READ, Pooling
from onelayer.tokens.encodings import Cut, Encodings, Ints, cumulate, ragged
from onelayer.tokens.pieces import Pieces, join_texts, truncate_longest, windows_needed
from onelayer.tokens.tokenizer import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Text:
    """A text, or the two texts of a pair."""

    text: str
    pair: str | None = None


@dataclass(frozen=True, slots=True)
class TextRow:
    """``label`` is a class, several classes or a number; None where there is no gold label."""

    text: str
    pair: str | None
    label: str | tuple[str, ...] | float | None
    place: Place

    def library_input(self) -> RowInput:
        """The row as the C++ library reads it."""
        if self.pair is None:
            return RowInput(text=text_bytes(self.text))
        return RowInput(text=text_bytes(self.text), pair=text_bytes(self.pair))

    def with_texts(self, text: str, pair: str | None = None) -> TextRow:
        """The row without its label, and with another text or pair."""
        return replace(self, text=text, pair=pair, label=None)


def text_and_pair(
    values: Mapping[str, Any], place: Place, labelled: bool
) -> tuple[str, str | None]:
    """The text and, where the file has pairs, its partner."""
    text = text_of(values, "text", place, may_be_empty=not labelled)
    pair = None
    if "pair" in values:
        pair = text_of(values, "pair", place, may_be_empty=not labelled)
    return text, pair


def texts_in(row: TextRow) -> tuple[str, ...]:
    """One text, or two."""
    return (row.text,) if row.pair is None else (row.text, row.pair)


def encode_texts(
    rows: Sequence[TextRow], tokenizer: Tokenizer, max_length: int, stride: int, pooling: Pooling
) -> Encodings:
    """A text, or a pair, with the tokenizer's special tokens; the layer reads ``[CLS]``.

    What is too long for one sequence is read in windows, as many of them as ``pooling`` looks at.
    Of a pair each window has as much of both texts as truncating the longer one would leave: a
    short text stands whole in every window, and two long ones are read side by side. They
    are spread evenly from the beginning to the end, and the first is what truncation leaves.
    """
    n = len(rows)
    paired = np.fromiter((row.pair is not None for row in rows), np.bool_, n)
    firsts = tokenizer.pieces([row.text for row in rows])
    seconds = Pieces.none(n)
    if paired.any():
        seconds = tokenizer.pieces([row.pair or "" for row in rows])
    template = tokenizer.template
    room = max_length - np.where(paired, template.n_pair, template.n_single)
    a, b = truncate_longest(firsts.lengths, seconds.lengths, room)
    needed = np.maximum(  # neighbours share the stride, or half a window if that is less
        windows_needed(firsts.lengths, a, np.minimum(stride, a // 2)),
        windows_needed(seconds.lengths, b, np.minimum(stride, b // 2)),
    )
    read = np.minimum(needed, WINDOWS_READ[pooling]) if pooling in WINDOWS_READ else needed
    row = np.repeat(np.arange(n), read)
    number = ragged(np.zeros(n, np.int64), read)

    def windows(texts: Pieces, sizes: Ints) -> Pieces:
        starts = (texts.lengths - sizes)[row] * number // np.maximum(read - 1, 1)[row]
        return texts[row].part(starts, sizes[row])

    lost = sum(np.maximum(t.lengths - size * read, 0) for t, size in ((firsts, a), (seconds, b)))
    encodings = join_texts(windows(firsts, a), windows(seconds, b), paired[row], template)
    return replace(
        encodings,
        cu_rows=cumulate(read),
        cut=Cut.of(lost, firsts.lengths + seconds.lengths),
    )
