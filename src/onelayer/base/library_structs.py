"""The structs of ``onelayer.h`` that pass between Python and the C++ library.

A test compares their layout with what a C compiler makes of the header.
"""

from __future__ import annotations

import ctypes
from typing import ClassVar

_SIZE, _DOUBLE, _INT32 = ctypes.c_size_t, ctypes.c_double, ctypes.c_int32


class TextBytes(ctypes.Structure):
    """``onelayer_text``: UTF-8, which lives as long as this."""

    c_name: ClassVar[str] = "onelayer_text"
    _fields_ = (("data", ctypes.c_char_p), ("size", _SIZE))


class TextView(ctypes.Structure):
    """``onelayer_text``, of the library's own memory: it need not end with a zero byte."""

    c_name: ClassVar[str] = "onelayer_text"
    _fields_ = (("data", ctypes.c_void_p), ("size", _SIZE))

    def __str__(self) -> str:
        return ctypes.string_at(self.data, self.size).decode()


class SpanPlaces(ctypes.Structure):
    """``onelayer_span``: a part of a text in three units."""

    point_begin: int
    point_end: int

    c_name: ClassVar[str] = "onelayer_span"
    _fields_ = tuple(
        (f"{unit}_{end}", _SIZE) for unit in ("byte", "point", "utf16") for end in ("begin", "end")
    )

    @property
    def points(self) -> tuple[int, int]:
        """Start and end in code points."""
        return self.point_begin, self.point_end


class ByteRange(ctypes.Structure):
    """``onelayer_bytes``."""

    c_name: ClassVar[str] = "onelayer_bytes"
    _fields_ = (("begin", _SIZE), ("end", _SIZE))


class RowInput(ctypes.Structure):
    """``onelayer_input``: a row's texts."""

    c_name: ClassVar[str] = "onelayer_input"
    _fields_ = (
        ("text", TextBytes),
        ("pair", TextBytes),
        ("question", TextBytes),
        ("options", ctypes.POINTER(TextBytes)),
        ("n_options", _SIZE),
        ("words", ctypes.POINTER(ByteRange)),
        ("n_words", _SIZE),
        ("id", TextBytes),
    )


class FoundWord(ctypes.Structure):
    """``onelayer_word``: a word of a tagged text."""

    c_name: ClassVar[str] = "onelayer_word"
    _fields_ = (("span", SpanPlaces), ("label", _INT32))


class FoundEntity(ctypes.Structure):
    """``onelayer_entity``."""

    c_name: ClassVar[str] = "onelayer_entity"
    _fields_ = (("span", SpanPlaces), ("type", TextView), ("score", _DOUBLE))


class FoundCandidate(ctypes.Structure):
    """``onelayer_candidate``: a span that may be the answer."""

    c_name: ClassVar[str] = "onelayer_candidate"
    _fields_ = (("span", SpanPlaces), ("score", _DOUBLE))


class Found(ctypes.Structure):
    """``onelayer_prediction``: what the library says of a row. Its pointers are valid until the
    results are freed."""

    c_name: ClassVar[str] = "onelayer_prediction"
    _fields_ = (
        ("task", ctypes.c_int),
        ("label", _INT32),
        ("probability", _DOUBLE),
        ("probabilities", ctypes.POINTER(_DOUBLE)),
        ("n_probabilities", _SIZE),
        ("labels", ctypes.POINTER(_INT32)),
        ("n_labels", _SIZE),
        ("label_set", ctypes.POINTER(_INT32)),
        ("n_label_set", _SIZE),
        ("value", _DOUBLE),
        ("words", ctypes.POINTER(FoundWord)),
        ("n_words", _SIZE),
        ("entities", ctypes.POINTER(FoundEntity)),
        ("n_entities", _SIZE),
        ("candidates", ctypes.POINTER(FoundCandidate)),
        ("n_candidates", _SIZE),
        ("answered", ctypes.c_int),
        ("no_answer", _DOUBLE),
        ("margin", _DOUBLE),
        ("unread", _SIZE),
        ("logits", ctypes.POINTER(ctypes.c_float)),
        ("n_reads", _SIZE),
        ("n_outputs", _SIZE),
        ("text_tokens", _SIZE),
        ("tokens", _SIZE),
    )


STRUCTS = (
    *(TextBytes, TextView, SpanPlaces, ByteRange, RowInput),
    *(FoundWord, FoundEntity, FoundCandidate, Found),
)


def text_bytes(text: str) -> TextBytes:
    """A text as the library reads it. Raises UnicodeEncodeError for half of a surrogate pair."""
    data = text.encode()
    return TextBytes(data, len(data))
