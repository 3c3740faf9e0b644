"""A sketch of the rows that a run has seen: a few kilobytes for any number of rows."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

SIZE = 512
"""Digests that a sketch keeps. With more, smaller overlaps of two files are found."""


@dataclass(slots=True)
class Sketch:
    """The smallest 64-bit digests of the texts seen (a bottom-k sketch; Cohen and Kaplan 2007).

    Digests are as good as random, so the texts with digests below a bound are a fair sample of all
    rows, and a text is in the sample of every file that has it, or of none.
    """

    smallest: set[int] = field(default_factory=set)
    bound: int = 2**64
    """All digests in ``smallest`` are below it."""

    def see(self, texts: tuple[str, ...]) -> None:
        """Adds a row by its texts."""
        digest = digest_of(texts)
        if digest >= self.bound:
            return
        self.smallest.add(digest)
        if len(self.smallest) >= 2 * SIZE:
            self._cut()

    def _cut(self) -> None:
        ranked = sorted(self.smallest)
        self.smallest = set(ranked[:SIZE])
        if len(ranked) > SIZE:
            self.bound = ranked[SIZE]

    def has(self, texts: tuple[str, ...]) -> bool | None:
        """Whether a row was seen; None if it is not in the sample."""
        digest = digest_of(texts)
        return digest in self.smallest if digest < self.bound else None

    @property
    def is_complete(self) -> bool:
        """Whether it has the digests of all texts seen."""
        return self.bound == 2**64

    def share_of(self, rows: Iterable[tuple[str, ...]]) -> float | None:
        """An estimate of the share of these rows that were seen; None if none of them is in the
        sample."""
        self._cut()
        sampled = [d for d in map(digest_of, rows) if d < self.bound]
        return sum(d in self.smallest for d in sampled) / len(sampled) if sampled else None

    def to_text(self) -> str:
        """The sketch as a text, for JSON."""
        self._cut()
        values = np.array([*sorted(self.smallest), self.bound % 2**64], dtype="<u8")
        return base64.b64encode(values.tobytes()).decode()

    @classmethod
    def from_text(cls, text: str) -> Sketch:
        *smallest, bound = np.frombuffer(base64.b64decode(text), dtype="<u8").tolist()
        return cls(set(smallest), bound or 2**64)


def digest_of(texts: tuple[str, ...]) -> int:
    """A row's 64-bit digest."""
    joined = "\0".join(texts).encode(errors="surrogatepass")
    return int.from_bytes(blake2b(joined, digest_size=8).digest())
