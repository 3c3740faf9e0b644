"""Tokenizers in C++, as the library exports them, next to those in Python."""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onelayer.engines.native.library import library
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.tokens.words import Joints

Span = tuple[int, int]
_ERROR_BYTES = 1024
_N_PLACES = 6
"""Numbers of a span: its begin and end in bytes, code points and units of UTF-16."""


class _Text(ctypes.Structure):
    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_size_t))

    @classmethod
    def of(cls, data: bytes) -> _Text:
        return cls(data, len(data))


class _Piece(ctypes.Structure):
    _fields_ = (("places", ctypes.c_size_t * _N_PLACES), ("id", ctypes.c_int32))


_PIECE = np.dtype([("places", np.uintp, _N_PLACES), ("id", np.int32)], align=True)


class NativeRefusalError(Exception):
    """What the C++ side says where it refuses something."""


@dataclass(frozen=True, slots=True)
class NativePieces:
    """The pieces of a text, or its words, with offsets in three units."""

    ids: list[int]
    points: list[Span]
    bytes: list[Span]
    utf16: list[Span]


class NativeTokenizer:
    """A tokenizer read in C++."""

    def __init__(self, rules: bytes, settings: bytes, rows: int) -> None:
        """``rules`` and ``settings`` are the content of ``tokenizer.json`` and
        ``tokenizer_config.json``; ``rows`` are those of the embedding table."""
        self._error = ctypes.create_string_buffer(_ERROR_BYTES)
        open_one = _core().onelayer_tokenizer_open
        open_one.restype = ctypes.c_void_p
        open_one.argtypes = [_Text, _Text, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
        texts = _Text.of(rules), _Text.of(settings)
        self._tokenizer = open_one(*texts, rows, self._error, _ERROR_BYTES)
        if not self._tokenizer:
            raise NativeRefusalError(self._error.value.decode())

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> NativeTokenizer:
        """The twin of a tokenizer, through the files that it writes."""
        with tempfile.TemporaryDirectory() as name:
            tokenizer.write(name, max_length=512)
            names = ("tokenizer.json", "tokenizer_config.json")
            rules, settings = (Path(name, file).read_bytes() for file in names)
        return cls(rules, settings, tokenizer.vocab_size)

    def __del__(self) -> None:
        if getattr(self, "_tokenizer", None):
            _core().onelayer_tokenizer_close(ctypes.c_void_p(self._tokenizer))

    def encode(self, text: bytes) -> NativePieces:
        """The pieces of a text."""
        found, n = ctypes.POINTER(_Piece)(), ctypes.c_size_t()
        self._call("pieces", _Text.of(text), ctypes.byref(found), ctypes.byref(n))
        pieces = _copied(found, n.value, _PIECE)
        return NativePieces(pieces["id"].tolist(), *_in_units(pieces["places"]))

    def encode_words(self, text: bytes, words: Sequence[Span]) -> tuple[list[int], list[int]]:
        """The ids of the pieces of words, given by their code points, and the word of each."""
        spans = np.array(words, np.uint32).reshape(-1, 2)
        ids, word_of = ctypes.POINTER(ctypes.c_int32)(), ctypes.POINTER(ctypes.c_uint32)()
        n = ctypes.c_size_t()
        given = (_Text.of(text), ctypes.c_void_p(spans.ctypes.data), ctypes.c_size_t(len(spans)))
        self._call("words", *given, *map(ctypes.byref, (ids, word_of, n)))
        return ids[: n.value], word_of[: n.value]

    def counter(self, texts: Sequence[bytes]) -> Callable[[], int]:
        """Cuts the texts, with offsets, in one call, and gives the number of their pieces."""
        given = (_Text * len(texts))(*map(_Text.of, texts))
        number, with_offsets = ctypes.c_size_t(len(texts)), ctypes.c_int(1)

        def count() -> int:
            n = ctypes.c_size_t()
            self._call("count", given, number, with_offsets, ctypes.byref(n))
            return n.value

        return count

    def _call(self, name: str, *arguments: object) -> None:
        pointer = ctypes.c_void_p(self._tokenizer)
        _call(name, pointer, *arguments, error=self._error)


def split_natively(text: bytes, joints: Joints) -> NativePieces:
    """The words of a text, without ids."""
    found, n = ctypes.POINTER(ctypes.c_size_t * _N_PLACES)(), ctypes.c_size_t()
    marks = (_Text.of(some.encode()) for some in (joints.inner, joints.leading))
    error = ctypes.create_string_buffer(_ERROR_BYTES)
    _call("split", _Text.of(text), *marks, ctypes.byref(found), ctypes.byref(n), error=error)
    places = _copied(found, n.value, np.dtype((np.uintp, _N_PLACES)))
    return NativePieces([], *_in_units(places))


def _core() -> ctypes.CDLL:
    found, reason = library()
    if found is None:
        raise NativeRefusalError(reason)
    return found


def _call(name: str, *arguments: object, error: ctypes.Array[ctypes.c_char]) -> None:
    size = ctypes.c_size_t(_ERROR_BYTES)
    if getattr(_core(), f"onelayer_tokenizer_{name}")(*arguments, error, size):
        raise NativeRefusalError(error.value.decode())


def _copied(found: object, n: int, kind: np.dtype[np.void]) -> np.ndarray:
    if not n:
        return np.zeros(0, kind)
    data = ctypes.string_at(ctypes.cast(found, ctypes.c_void_p), n * kind.itemsize)  # type: ignore[arg-type]
    return np.frombuffer(data, kind)


def _in_units(places: np.ndarray) -> tuple[list[Span], list[Span], list[Span]]:
    numbers = places.reshape(-1, _N_PLACES).tolist()
    points = [(line[2], line[3]) for line in numbers]
    return (
        points,
        [(line[0], line[1]) for line in numbers],
        [(line[4], line[5]) for line in numbers],
    )
