"""What the labels of a whole file look like, where that should make its owner look again."""

from __future__ import annotations

import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np

from onelayer.base.errors import DataError
from onelayer.base.wording import listed
from onelayer.tasks.classify.gold_labels import names_of
from onelayer.tasks.texts import TextRow

WRITTEN_FOR_NOTHING = {
    *("nan", "-nan", "null", "n/a", "<na>", "#n/a", "#na", "nat", "nil", "undefined"),
}
"""What programs write where there is no value, in lower case."""
WORDS_FOR_NOTHING = {"none", "na", "?", "unlabeled", "unlabelled", "unknown", "tbd"}
"""Words for nothing that are also names of classes."""
RARE = 0.05
"""The share of rows below which such a word is remarked on."""
MOST_NAMES = 100_000
"""Names that are counted; a file with more has no classes."""
EACH_ITS_OWN = 0.9
"""From this share of rows on whose label no other row has, labels are no classes."""
LEAST_ROWS = 20
"""Of fewer rows each may well have a class of its own."""
USUAL_SHARE = 0.98
"""The share of numbers with which the others are compared."""
FAR = 10
"""A number this many times as far from the median as the usual ones is remarked on."""


class ClassCensus:
    """Counts the names of classes."""

    def __init__(self) -> None:
        self.rows = 0
        self.names: Counter[str] = Counter()

    def see(self, row: TextRow) -> None:
        self.rows += 1
        if len(self.names) < MOST_NAMES:
            for name in names_of(row):
                self.names[name] += 1

    def remarks(self) -> Iterator[str]:
        if nothing := [name for name in self.names if self._is_nothing(name)]:
            n = sum(self.names[name] for name in nothing)
            yield (
                f"{self._quoted(nothing)} may stand for no label, and the model learns "
                f"{'a class' if len(nothing) == 1 else 'classes'} of {n:,} row{'s' * (n > 1)} "
                "(leave such cells empty, and --skip-bad leaves the rows out)"
            )
        alike: dict[str, list[str]] = {}
        for name in self.names:
            alike.setdefault(_plain(name), []).append(name)
        for names in [names for names in alike.values() if len(names) > 1][:3]:
            yield f"{self._quoted(names)} differ only in case or spaces: each is a class"

    def refusal(self) -> DataError | None:
        alone = sum(count == 1 for count in self.names.values())
        if self.rows < LEAST_ROWS or alone < EACH_ITS_OWN * self.rows:
            return None
        return DataError(
            f"{len(self.names):,} different labels in {self.rows:,} rows: nearly every label "
            "stands in one row only",
            hint="does --label name the right column? --task regress learns numbers",
        )

    def _is_nothing(self, name: str) -> bool:
        plain = name.casefold()
        rare = self.names[name] < RARE * self.rows
        return plain in WRITTEN_FOR_NOTHING or (plain in WORDS_FOR_NOTHING and rare)

    def _quoted(self, names: Iterable[str]) -> str:
        return listed([f"{name!r} ({self.names[name]:,})" for name in names], 6)


def _plain(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


class NumberCensus:
    """Keeps the numbers of all rows, to find those that lie far from the others."""

    def __init__(self) -> None:
        self.numbers = array("d")
        self._lines = array("q")

    def see(self, row: TextRow) -> None:
        assert isinstance(row.label, float)
        self.numbers.append(row.label)
        self._lines.append(row.place.line or 0)

    def refusal(self) -> DataError | None:
        return None

    def remarks(self) -> Iterator[str]:
        if len(self.numbers) < LEAST_ROWS:
            return
        values = np.frombuffer(self.numbers)
        distance = np.abs(values - np.median(values))
        usual = float(np.partition(distance, last := int(USUAL_SHARE * (len(values) - 1)))[last])
        far = np.flatnonzero(distance > FAR * usual) if usual > 0 else np.empty(0, np.int64)
        if not len(far):
            return
        first = int(far[np.argmax(distance[far])])
        numbers = "1 number lies" if len(far) == 1 else f"{len(far):,} numbers lie"
        yield (
            f"{numbers} more than {FAR} times as far from the median as {USUAL_SHARE:.0%} of the "
            f"others, the farthest at line {self._lines[first]}: {values[first]:g}"
        )
