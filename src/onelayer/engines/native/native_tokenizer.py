"""The C++ library's tokenizers. Each gives the same as its twin in Python."""

from __future__ import annotations

import ctypes
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, starmap
from typing import Any

import numpy as np

from onelayer.base.errors import CheckpointError
from onelayer.base.library_structs import TextBytes, text_bytes
from onelayer.engines.native.library import close_with, library_at_hand
from onelayer.tokens.encodings import Ints, cumulate
from onelayer.tokens.pieces import Pieces
from onelayer.tokens.splitters import Span, WordPieces
from onelayer.tokens.tokenizer import Tokenizer

NO_MEMORY, FAILED = 3, 4
"""Statuses of ``onelayer.h``."""


def with_quick_splitter(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer with the library as its splitter, which takes an eighth of the time. The same
    tokenizer where the library would have to be built first, or doesn't know its rules."""
    library = library_at_hand()
    if library is None:
        return tokenizer
    try:
        return tokenizer.split_by(NativeTokenizer(library, tokenizer, tokenizer.vocab_size))
    except CheckpointError:
        return tokenizer


def check_status(library: ctypes.CDLL) -> None:
    """Raises MemoryError or RuntimeError for the library's last call, unless it refused its input
    or succeeded."""
    status, said = library.onelayer_last_status(), library.onelayer_error()
    if status == NO_MEMORY:
        raise MemoryError("libonelayer has no memory for a batch")
    if status == FAILED:
        raise RuntimeError(f"libonelayer: {said.decode()}")


class NativeTokenizer:
    """A tokenizer of the library."""

    def __init__(self, library: ctypes.CDLL, tokenizer: Tokenizer, n_words: int) -> None:
        """Raises CheckpointError where the library doesn't know its rules."""
        files = (tokenizer.to_json(), tokenizer.settings(max_length=0))
        texts = (text_bytes(json.dumps(file)) for file in files)
        segments = tokenizer.template.second_segment
        self._library = library
        self.handle = library.onelayer_row_tokenizer_open(*texts, n_words, segments)
        if self.handle is None:
            raise CheckpointError(library.onelayer_error().decode())
        close_with(self, library.onelayer_row_tokenizer_close, self.handle)

    def pieces(self, texts: Sequence[str], *, with_spans: bool = False) -> Pieces:
        """The pieces of each text."""
        found = self._split(texts, with_spans=with_spans)
        spans = found.spans if with_spans else None
        return Pieces(found.ids, found.cu[:-1], np.diff(found.cu), spans)

    def encode_words(
        self, texts: Sequence[str], words: Sequence[Sequence[Span]]
    ) -> list[WordPieces]:
        """The pieces of each text's words."""
        found = self._split(texts, words)
        ids, word_ids = found.ids.tolist(), found.words.tolist()
        return [WordPieces(ids[part], word_ids[part]) for part in found.parts]

    def _split(
        self,
        texts: Sequence[str],
        words: Sequence[Sequence[Span]] | None = None,
        *,
        with_spans: bool = False,
    ) -> _Found:
        """All texts in one call, without the GIL."""
        encoded = [text.encode() for text in texts]
        joined = b"".join(encoded)
        ends = np.cumsum(np.fromiter(map(len, encoded), np.uintp, len(encoded)), dtype=np.uintp)
        given = (self.handle, TextBytes(joined, len(joined)), ends.ctypes.data, len(encoded))
        if words is None:
            address = self._library.onelayer_row_tokenizer_pieces(*given, with_spans)
        else:
            spans = np.array([span for one in words for span in one], np.uint32)
            ends_of_words = np.cumsum([len(one) for one in words], dtype=np.uintp)
            address = self._library.onelayer_row_tokenizer_words(
                *given, spans.ctypes.data, ends_of_words.ctypes.data
            )
        if address is None:
            check_status(self._library)
            raise ValueError(self._library.onelayer_error().decode())
        found = _TextPieces.from_address(address)
        cu = cumulate(np.diff(_copied(found.ends, len(encoded), np.uintp), prepend=0))
        n = int(cu[-1])
        return _Found(
            _copied(found.ids, n, np.int32),
            cu,
            _copied(found.spans, 2 * n * with_spans, np.uint32).reshape(-1, 2),
            _copied(found.words, n * (words is not None), np.uint32),
        )


class _TextPieces(ctypes.Structure):
    """``onelayer_text_pieces``."""

    _fields_ = tuple((name, ctypes.c_void_p) for name in ("ids", "spans", "words", "ends"))


@dataclass(frozen=True, slots=True)
class _Found:
    """N pieces of n texts."""

    ids: Ints
    """(N,)"""
    cu: Ints
    """(n + 1,) where each text's pieces begin, and where the last one's end."""
    spans: Ints
    """(N, 2) code points; (0, 2) unless they were asked for."""
    words: Ints
    """(N,) the word of each piece; empty unless words were given."""

    @property
    def parts(self) -> Iterator[slice]:
        """The pieces of each text."""
        return starmap(slice, pairwise(self.cu.tolist()))


def _copied(address: int | None, n: int, kind: type[np.integer[Any]]) -> Ints:
    """``n`` numbers from the library's memory, which its next call overwrites."""
    if not n:
        return np.empty(0, kind)
    data = ctypes.string_at(address or 0, n * np.dtype(kind).itemsize)
    return np.frombuffer(data, kind)
