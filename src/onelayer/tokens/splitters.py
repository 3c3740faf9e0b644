"""What splits texts into pieces: the tokenizers library, or another program that gives the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

import numpy as np
import tokenizers

from onelayer.tokens.encodings import Pieces, cumulate

Span = tuple[int, int]


class WithOffsets(Protocol):
    """The pieces of a text."""

    @property
    def ids(self) -> list[int]: ...

    @property
    def offsets(self) -> list[Span]:
        """The characters of each piece."""


class WithWords(Protocol):
    """The pieces of a text's words."""

    @property
    def ids(self) -> list[int]: ...

    @property
    def word_ids(self) -> list[int | None]:
        """The word of each piece."""


@dataclass(frozen=True, slots=True)
class TextPieces:
    """The pieces of a text."""

    ids: list[int]
    offsets: list[Span]
    """The characters of each piece, without white space. Of bytes of one character each has all of
    it; a mark alone has none."""


@dataclass(frozen=True, slots=True)
class WordPieces:
    """The pieces of a text's words."""

    ids: list[int]
    word_ids: list[int | None]
    """The word of each piece."""


class Splitter(Protocol):
    """Splits texts without lone surrogates, and adds no special tokens: see `Tokenizer`."""

    def encode(self, texts: Sequence[str]) -> Sequence[WithOffsets]: ...

    def pieces(self, texts: Sequence[str]) -> Pieces: ...

    def encode_words(
        self, texts: Sequence[str], words: Sequence[Sequence[Span]]
    ) -> Sequence[WithWords]: ...


class SeparateWords:
    """WordPiece by the tokenizers library: a word's pieces don't depend on what stands before
    it."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend

    def encode(self, texts: Sequence[str]) -> Sequence[WithOffsets]:
        return self._backend.encode_batch(texts, add_special_tokens=False)

    def pieces(self, texts: Sequence[str]) -> Pieces:
        return pieces_by(self._backend, texts)

    def encode_words(
        self, texts: Sequence[str], words: Sequence[Sequence[Span]]
    ) -> Sequence[WithWords]:
        batch = [
            [text[start:end] for start, end in spans]
            for text, spans in zip(texts, words, strict=True)
        ]
        return self._backend.encode_batch(batch, is_pretokenized=True, add_special_tokens=False)


def pieces_by(backend: tokenizers.Tokenizer, texts: Sequence[str]) -> Pieces:
    """The ids of each text, without offsets, which takes less time."""
    batch = backend.encode_batch_fast(texts, add_special_tokens=False)
    ids = [encoding.ids for encoding in batch]
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    cu = cumulate(lengths)
    all_ids = np.fromiter(chain.from_iterable(ids), np.int32, int(cu[-1]))
    return Pieces(all_ids, cu[:-1], lengths)
