"""A text or a pair of texts, read at ``[CLS]``: the way in of classify and regress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onelayer.errors import Place
from onelayer.tasks.base import text_of
from onelayer.text.encoding import Encodings, EncodingsBuilder, truncate_longest
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
    firsts = tokenizer.encode([row.text for row in rows])
    seconds = iter(tokenizer.encode([row.pair for row in rows if row.pair is not None]))
    builder = EncodingsBuilder()
    for row, first in zip(rows, firsts, strict=True):
        texts = [first.ids] if row.pair is None else [first.ids, next(seconds).ids]
        builder.start_row()
        add_texts(builder, texts, tokenizer, max_length)
    return builder.build(examples_are_rows=True)


def add_texts(
    builder: EncodingsBuilder, texts: Sequence[list[int]], tokenizer: Tokenizer, max_length: int
) -> None:
    """One sequence of one or two texts, truncated longest first, the loss counted."""
    room = max_length - 1 - len(texts)
    kept = truncate_longest([len(ids) for ids in texts], room)
    lost = sum(map(len, texts)) - sum(kept)
    if lost:
        builder.lose(lost)
    ids = [tokenizer.cls_id]
    first = 0
    for text, n in zip(texts, kept, strict=True):
        ids += text[:n]
        ids.append(tokenizer.sep_id)
        first = first or len(ids)
    builder.add(ids, first)
