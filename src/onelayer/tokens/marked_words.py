"""Tokenizers whose tokens carry a mark where white space stands before them: ``Ġ`` in byte-level
BPE, ``▁`` in SentencePiece's models."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import tokenizers
from tokenizers import Encoding
from tokenizers.pre_tokenizers import Sequence as PreTokenizers

from onelayer.tokens.pieces import Pieces
from onelayer.tokens.splitters import Span, WordPieces, pieces_by
from onelayer.tokens.words import stays_in_word

BYTE_MARK, SPACE_MARK = "Ġ", "▁"


class MarkedWords:
    """Cuts texts and words with such a tokenizer."""

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self._backend = backend
        parts = list(_pre_tokenizers(backend))
        self._is_bytes = any(part["type"] == "ByteLevel" for part in parts)
        self._mark = BYTE_MARK if self._is_bytes else SPACE_MARK
        self._mark_id = backend.token_to_id(self._mark)
        self._marks_first = any(map(_marks_first, parts))
        """Whether a text's first word is marked, too, though no white space stands before it."""
        self._unmarked = _without_mark(backend) if self._marks_first else backend
        """Cuts a word that touches the one before it."""

    def pieces(self, texts: Sequence[str], *, with_spans: bool = False) -> Pieces:
        """The pieces of each text."""
        if not with_spans:
            return pieces_by(self._backend, texts)
        batch = self._backend.encode_batch(texts, add_special_tokens=False)
        return Pieces.of([one.ids for one in batch], map(self._trimmed, texts, batch))

    def encode_words(
        self, texts: Sequence[str], words: Sequence[Sequence[Span]]
    ) -> list[WordPieces]:
        """The pieces of each text's words, cut as they stand in it: with the mark where white space
        stands before them, or where the tokenizer marks a text's first word."""
        spaced: dict[str, list[int]] = {}
        touching: dict[str, list[int]] = {}
        kinds = []
        for text, spans in zip(texts, words, strict=True):
            for start, end in spans:
                is_spaced = text[start - 1 : start].isspace() or (
                    self._marks_first and not text[:start].strip()
                )
                kinds.append((spaced if is_spaced else touching, text[start:end]))
        for kind, word in kinds:
            kind.setdefault(word, [])
        before = "" if self._marks_first else " "
        _encode(self._backend, spaced, before)
        _encode(self._unmarked, touching, "")
        found, at = [], iter(kinds)
        for spans in words:
            ids: list[int] = []
            word_ids: list[int | None] = []
            for number, (kind, word) in zip(range(len(spans)), at, strict=False):
                ids += kind[word]
                word_ids += [number] * len(kind[word])
            found.append(WordPieces(ids, word_ids))
        return found

    def continues_word(self, token: str) -> bool:
        """Whether a token stands within a word: without a mark, and with a character that doesn't
        make a word by itself, as a Chinese one does."""
        if token.startswith(self._mark):
            return False
        if not self._is_bytes:
            return stays_in_word(token[:1])
        data = bytes(_BYTES[character] for character in token if character in _BYTES)
        if data[:1] and data[0] & 0xC0 == 0x80:  # the rest of a character
            return True
        return stays_in_word(data.decode(errors="ignore")[:1])

    def _trimmed(self, text: str, encoding: Encoding) -> list[Span]:
        offsets: list[Span] = []
        first, last = 0, 0  # of the piece before: a character that becomes words has several
        for token, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            while start < end and text[start].isspace():
                start += 1
            while start < end and text[end - 1].isspace():
                end -= 1
            if token == self._mark_id and text[start:end] != self._mark:
                end = start  # it was put there, and the word's first character follows
            first, last = max(start, first), max(end, last)
            offsets.append((first, last))
        return offsets


def _encode(backend: tokenizers.Tokenizer, words: dict[str, list[int]], before: str) -> None:
    """Fills in the ids of each word."""
    batch = [before + word for word in words]
    for word, one in zip(
        words, backend.encode_batch_fast(batch, add_special_tokens=False), strict=True
    ):
        words[word] = one.ids


def _pre_tokenizers(backend: tokenizers.Tokenizer) -> Iterator[Mapping[str, Any]]:
    if backend.pre_tokenizer is not None:
        yield from _flat(json.loads(backend.pre_tokenizer.__getstate__()))


def _flat(part: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if part["type"] == "Sequence":
        for inner in part["pretokenizers"]:
            yield from _flat(inner)
    else:
        yield part


def _marks_first(part: Mapping[str, Any]) -> bool:
    if part["type"] == "ByteLevel":
        return bool(part["add_prefix_space"])
    return bool(part["type"] == "Metaspace" and part["prepend_scheme"] != "never")


def _without_mark(backend: tokenizers.Tokenizer) -> tokenizers.Tokenizer:
    """The same tokenizer, but for the mark that it puts before a text's first word. The model, with
    its vocabulary, is shared."""
    parts = [dict(part) for part in _pre_tokenizers(backend)]
    for part in parts:
        if part["type"] == "ByteLevel":
            part["add_prefix_space"] = False
        elif part["type"] == "Metaspace":
            part["prepend_scheme"] = "never"
    bare = tokenizers.Tokenizer(backend.model)
    if backend.normalizer is not None:
        bare.normalizer = backend.normalizer
    rules = PreTokenizers([])
    rules.__setstate__(json.dumps({"type": "Sequence", "pretokenizers": parts}).encode())
    bare.pre_tokenizer = rules
    bare.add_tokens([token for _, token in sorted(backend.get_added_tokens_decoder().items())])
    bare.encode_special_tokens = True
    return bare


def _byte_characters() -> Iterable[tuple[str, int]]:
    """The characters that stand for the 256 bytes in byte-level BPE, as GPT-2 has them: printable
    ones for themselves, the others from U+0100 on."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    yield from ((chr(byte), byte) for byte in printable)
    yield from ((chr(0x100 + i), byte) for i, byte in enumerate(others))


_BYTES = dict(_byte_characters())
