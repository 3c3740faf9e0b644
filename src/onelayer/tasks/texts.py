"""A text or a pair of texts, read at ``[CLS]``: the way in of classify and regress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.errors import Place
from onelayer.tasks.base import text_of
from onelayer.text.encoding import (
    Cut,
    Encodings,
    Ints,
    Pieces,
    cumulate,
    ragged,
    truncate_longest,
)
from onelayer.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TextRow:
    """``label`` is a class, several classes or a number; None where there is no gold label."""

    text: str
    pair: str | None
    label: str | tuple[str, ...] | float | None
    place: Place


def texts_of(values: Mapping[str, Any], place: Place, labelled: bool) -> tuple[str, str | None]:
    """The text and, where the file has pairs, its partner."""
    text = text_of(values, "text", place, may_be_empty=not labelled)
    pair = None
    if "pair" in values:
        pair = text_of(values, "pair", place, may_be_empty=not labelled)
    return text, pair


def encode_texts(rows: Sequence[TextRow], tokenizer: Tokenizer, max_length: int) -> Encodings:
    """``[CLS] text [SEP]`` or ``[CLS] text [SEP] pair [SEP]``, the layer reading ``[CLS]``."""
    n = len(rows)
    paired = np.fromiter((row.pair is not None for row in rows), np.bool_, n)
    firsts = tokenizer.pieces([row.text for row in rows])
    seconds = Pieces(np.empty(0, np.int32), np.zeros(n + 1, np.int64))
    if paired.any():
        seconds = tokenizer.pieces([row.pair or "" for row in rows])
    return join_texts(firsts, seconds, paired, np.ones(n, np.int64), tokenizer, max_length)


def join_texts(
    firsts: Pieces,
    seconds: Pieces,
    paired: NDArray[np.bool_],
    row_counts: Ints,
    tokenizer: Tokenizer,
    max_length: int,
) -> Encodings:
    """S sequences of a text and, where ``paired`` (S,), a second one; ``row_counts`` (B,) gives how
    many belong to each row. Truncated longest first, and the loss counted."""
    a, b = truncate_longest(firsts.lengths, seconds.lengths, max_length - 2 - paired)
    lost = firsts.lengths + seconds.lengths - a - b
    cu_rows = cumulate(row_counts)
    row_lost = np.diff(cumulate(lost)[cu_rows])
    cu_seqlens = cumulate(2 + a + b + paired)
    starts = cu_seqlens[:-1]
    ids = np.full(int(cu_seqlens[-1]), tokenizer.sep_id, np.int32)
    ids[starts] = tokenizer.cls_id
    ids[ragged(starts + 1, a)] = firsts.ids[ragged(firsts.cu[:-1], a)]
    ids[ragged(starts + 2 + a, b)] = seconds.ids[ragged(seconds.cu[:-1], b)]
    segment_ids = np.zeros(len(ids), np.uint8)
    segment_ids[ragged(starts + 2 + a, b + paired)] = 1
    return Encodings(
        ids=ids,
        segment_ids=segment_ids,
        cu_seqlens=cu_seqlens,
        reads=np.zeros(len(starts), np.int32),
        cu_reads=np.arange(len(starts) + 1),
        cu_examples=cu_rows,
        cu_rows=cu_rows,
        cut=Cut(tokens=int(lost.sum()), rows=int(np.count_nonzero(row_lost))),
    )
