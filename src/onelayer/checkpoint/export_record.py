"""The record of an export, a part of ``onelayer.json``: what was made, and how it compares to the
run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

USUAL_FORMAT, FOUR_BITS_FORMAT, FORMAT = 1, 2, 3
"""The format of most records, of bundles with word vectors in four bits, and of bundles whose rows
a smaller model answers first. What knows only an older one must not compute something else. The
last one is the newest that this version reads."""

Interval = tuple[float, float]
"""The 95 % interval of a score; (nan, nan) if it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """A bundle in one engine, compared to its run in torch on the same rows."""

    rows: int
    logits: float
    """The largest difference between a logit of the bundle and of the run."""
    changed: int | None
    """Rows with another answer; None for numbers, which always differ a little."""
    metric: str
    before: float
    after: float
    interval: Interval
    """The 95 % bootstrap interval of ``after - before``."""
    point: float
    """The size of a point of the metric: 0.01, or 1 for scores up to 100."""
    tuned: float | None
    """The bundle's score if its decoding were tuned on its own logits; None if that changes
    nothing."""
    drop: float
    """The loss of the metric, in points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """The speed of a predictor, including tokenizing and decoding."""

    latency_ms: float
    """The median time for a single text."""
    texts_per_second: float
    tokens_per_second: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelBytes:
    """The size of the weights before export, and of weights and graph after it."""

    run: int
    bundle: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VocabularyRecord:
    """The record of a trimmed vocabulary."""

    pieces: int
    """Pieces that were kept: those of the run's rows, words of their characters, special tokens and
    single characters."""
    of_pieces: int
    bytes_saved: int
    """Of the bundle's weights."""
    dev_rows_with_new_pieces: int
    """Dev rows with a piece that no training row has."""
    unseen: Parity | None
    """What those cost: the run on dev rows, with the pieces of the training rows only. None where
    no rows were kept apart."""

    def in_words(self) -> Iterator[str]:
        """What was kept, and what new texts lose by it."""
        share = self.pieces / self.of_pieces
        yield (
            f"vocabulary: {self.pieces:,} of {self.of_pieces:,} pieces are kept ({share:.1%}), "
            f"which saves {self.bytes_saved / 1e6:.1f} MB"
        )
        if (one := self.unseen) is None:
            yield "what this costs on new texts is not known: no rows were kept apart (--dev FILE)"
            return
        changed = ""
        if one.changed is not None:
            changed = f"{one.changed:,} {'answer' if one.changed == 1 else 'answers'} changed, "
        yield (
            f"new texts: {self.dev_rows_with_new_pieces:,} of {one.rows:,} dev rows have pieces "
            f"that no training row has; with these cut finer, {changed}"
            f"{one.metric} {one.before:.4f} → {one.after:.4f}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FourBitWords:
    """The record of word vectors in four bits."""

    bytes_saved: int
    """Of the bundle's weights, compared to word vectors in eight bits."""

    def in_words(self) -> str:
        return f"word vectors in 4 bits: saves {self.bytes_saved / 1e6:.1f} MB"


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstModel:
    """The record of a smaller model in a bundle, which answers first: where it is sure, the larger
    one isn't asked."""

    what: str
    """What it is, in words."""
    margin: float
    """It is sure of a sequence if the two largest logits of each read are this far apart, or
    farther."""
    share: float
    """The share of the rows, by which the margin was chosen, that the larger one is asked for."""
    sha256: str
    """The SHA-256 of its weights."""

    def in_words(self) -> str:
        """What it means for the bundle's rows."""
        return (
            f"{self.what} answer first; where these aren't sure, for {self.share:.0%} of the rows, "
            "all layers do"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRecord:
    """The record of an export: what was made, and how it compares to the run."""

    to: str
    precision: str
    """``fp32`` or ``int8``."""
    activations: str | None
    """How int8 scales activations: ``static`` or ``dynamic``."""
    why: str | None
    """Why the graph was chosen, if there were several."""
    sha256: str
    """The SHA-256 of the bundle's weights."""
    rows: int
    file: str
    """The name of the rows on which the bundle was compared."""
    engines: Mapping[str, Parity]
    bytes: ModelBytes
    refused: tuple[str, ...]
    """The checks that the bundle failed; it was kept because the user asked for it."""
    max_drop: float
    machine: str
    versions: Mapping[str, str]
    speed: Mapping[str, Speed] | None = None
    """The speed by engine; ``torch`` is the run."""
    vocabulary: VocabularyRecord | None = None
    """None where the whole vocabulary was kept."""
    four_bit_words: FourBitWords | None = None
    """None where word vectors have the bundle's precision."""
    first: FirstModel | None = None
    """None where one model answers all rows."""

    @property
    def format(self) -> int:
        """That of the record."""
        if self.first is not None:
            return FORMAT
        return USUAL_FORMAT if self.four_bit_words is None else FOUR_BITS_FORMAT
