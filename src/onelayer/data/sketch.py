"""Which rows a run has seen, in a few kilobytes."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

SIZE = 512


@dataclass(slots=True)
class Sketch:
    """The smallest 64-bit digests of the texts seen (a bottom-k sketch; Cohen and Kaplan 2007).

    Digests are as good as random, so those below a bound are a fair sample of all rows, and the
    same sample in every file.
    """

    smallest: set[int] = field(default_factory=set)
    bound: int = 2**64
    """No digest from here on is among the smallest."""

    def see(self, texts: tuple[str, ...]) -> None:
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

    def share_of(self, rows: Iterable[tuple[str, ...]]) -> float | None:
        """About which share of these rows is among those that were seen; None where there are too
        few of them to tell."""
        self._cut()
        sampled = [d for d in map(digest_of, rows) if d < self.bound]
        return sum(d in self.smallest for d in sampled) / len(sampled) if sampled else None

    def to_text(self) -> str:
        """As JSON can hold it."""
        self._cut()
        values = np.array([*sorted(self.smallest), self.bound % 2**64], dtype="<u8")
        return base64.b64encode(values.tobytes()).decode()

    @classmethod
    def from_text(cls, text: str) -> Sketch:
        *smallest, bound = np.frombuffer(base64.b64decode(text), dtype="<u8").tolist()
        return cls(set(smallest), bound or 2**64)


def digest_of(texts: tuple[str, ...]) -> int:
    joined = "\0".join(texts).encode(errors="surrogatepass")
    return int.from_bytes(blake2b(joined, digest_size=8).digest())
