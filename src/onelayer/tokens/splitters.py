"""What splits texts into pieces: the tokenizers library, or another program that gives the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import tokenizers

from onelayer.tokens.pieces import Pieces

Span = tuple[int, int]


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

    def pieces(self, texts: Sequence[str], *, with_spans: bool = False) -> Pieces: ...

    def encode_words(
        self, texts: Sequence[str], words: Sequence[Sequence[Span]]
    ) -> Sequence[WithWords]: ...


class SeparateWords:
    """WordPiece by the tokenizers library: a word's pieces don't depend on what stands before
    it."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend

    def pieces(self, texts: Sequence[str], *, with_spans: bool = False) -> Pieces:
        if not with_spans:
            return pieces_by(self._backend, texts)
        batch = self._backend.encode_batch(texts, add_special_tokens=False)
        return Pieces.of([one.ids for one in batch], [one.offsets for one in batch])

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
    return Pieces.of([encoding.ids for encoding in batch])
