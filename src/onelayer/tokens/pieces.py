"""From the pieces of texts to sequences: windows over long texts, special tokens around each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from onelayer.tokens.encodings import Encodings, Ints, cumulate, ragged
from onelayer.tokens.template import Template


@dataclass(frozen=True, slots=True)
class Pieces:
    """The token ids of n texts, or of parts of them, without special tokens."""

    ids: Ints
    """(N,) all texts' ids, end to end."""
    starts: Ints
    """(n,) the position in ``ids`` at which each text begins."""
    lengths: Ints
    """(n,) tokens of each text."""
    spans: Ints | None = None
    """(N, 2) the characters of each token in its text; None unless they were asked for."""

    @classmethod
    def of(
        cls,
        ids: Sequence[Sequence[int]],
        spans: Iterable[Sequence[tuple[int, int]]] | None = None,
    ) -> Pieces:
        """Of the ids, and perhaps the characters, of each text's pieces."""
        lengths = np.fromiter(map(len, ids), np.int64, len(ids))
        cu = cumulate(lengths)
        n = int(cu[-1])
        ends = None
        if spans is not None:
            numbers = chain.from_iterable(chain.from_iterable(spans))
            ends = np.fromiter(numbers, np.int32, 2 * n).reshape(-1, 2)
        return cls(np.fromiter(chain.from_iterable(ids), np.int32, n), cu[:-1], lengths, ends)

    @classmethod
    def none(cls, n: int) -> Pieces:
        """n texts without tokens."""
        return cls(np.empty(0, np.int32), np.zeros(n, np.int64), np.zeros(n, np.int64))

    def __getitem__(self, texts: Ints) -> Pieces:
        """The texts with these indices, which may repeat."""
        return replace(self, starts=self.starts[texts], lengths=self.lengths[texts])

    def part(self, starts: Ints | int, lengths: Ints) -> Pieces:
        """A part of each text: ``lengths`` tokens from position ``starts`` on."""
        return replace(self, starts=self.starts + starts, lengths=lengths)

    @property
    def places(self) -> Ints:
        """The positions in ``ids`` of all tokens of the texts, text after text."""
        return ragged(self.starts, self.lengths)


def join_texts(
    firsts: Pieces, seconds: Pieces, paired: NDArray[np.bool_], template: Template
) -> Encodings:
    """S sequences of a text and, where ``paired`` (S,), a second one. Each is an example and a row
    of its own."""
    a, b = firsts.lengths, seconds.lengths
    between = np.where(paired, len(template.between), 0)
    second_at = len(template.before) + a + between
    cu_seqlens = cumulate(second_at + b + len(template.after))
    starts = cu_seqlens[:-1]
    # Where the parts of each sequence begin: the first text, what is between, the second text.
    parts = (starts + len(template.before), starts + second_at - between, starts + second_at)
    ids = np.empty(int(cu_seqlens[-1]), np.int32)
    ids[ragged(parts[0], a)] = firsts.ids[firsts.places]
    ids[ragged(parts[2], b)] = seconds.ids[seconds.places]
    for at, tokens in (
        (starts, template.before),
        (parts[1][paired], template.between),
        (parts[2] + b, template.after),
    ):
        for k, token in enumerate(tokens):
            ids[at + k] = token
    segment_ids = np.zeros(len(ids), np.uint8)
    segment_ids[ragged(parts[2], np.where(paired, b + len(template.after), 0))] = (
        template.second_segment
    )
    each = np.arange(len(starts) + 1)
    return Encodings(
        ids=ids,
        segment_ids=segment_ids,
        cu_seqlens=cu_seqlens,
        reads=np.zeros(len(starts), np.int32),
        cu_reads=each,
        cu_examples=each,
        cu_rows=each,
        second_at=np.where(paired, second_at, np.diff(cu_seqlens)).astype(np.int32),
    )


def windows(lengths: Ints, sizes: Ints, strides: Ints | int) -> tuple[Ints, Ints]:
    """Windows that cover each text, as many as `windows_needed`: each is a step further than the
    one before it, and the last ends with the text, so that it may share more.

    Parameters
    ----------
    lengths, sizes, strides
        As `windows_needed` takes them; a text that fits has its length as size.

    Returns
    -------
    tuple
        (S,) the text of each window, and (S,) at which of its tokens the window begins.
    """
    needed = windows_needed(lengths, sizes, strides)
    text = np.repeat(np.arange(len(lengths)), needed)
    number = ragged(np.zeros_like(needed), needed)
    return text, np.minimum(number * _steps(sizes, strides)[text], (lengths - sizes)[text])


def windows_needed(lengths: Ints, sizes: Ints, strides: Ints | int) -> Ints:
    """How many windows cover each text, (n,).

    Parameters
    ----------
    lengths
        (n,) tokens of each text.
    sizes
        (n,) tokens of a window over each text.
    strides
        (n,) tokens that neighbouring windows share, at least.
    """
    # 1 + ceil((lengths - sizes) / steps), in whole numbers: -(a // b) rounds -a / b up.
    return 1 - (sizes - lengths) // _steps(sizes, strides)


def _steps(sizes: Ints, strides: Ints | int) -> Ints:
    steps: Ints = np.maximum(sizes - strides, 1)
    return steps


def truncate_longest(first: Ints, second: Ints, limit: Ints | int) -> tuple[Ints, Ints]:
    """The numbers of tokens to keep of two texts, (n,) each, so that together they fit a limit.

    As in BERT's preprocessing, one token at a time is taken from the longer text; from the first
    of two equally long ones.

    Parameters
    ----------
    first, second
        (n,) tokens of the two texts.
    limit
        Tokens that both may have together.
    """
    # A text is cut to half of the limit only if the other one needs the other half.
    half = limit // 2
    kept_first = np.maximum(half, limit - second)
    kept_second = np.maximum(limit - half, limit - first)
    return np.minimum(first, kept_first), np.minimum(second, kept_second)
