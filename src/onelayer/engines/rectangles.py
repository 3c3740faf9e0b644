"""The part that all engines for ONNX graphs share: it makes rectangles of encodings, and picks the
logits of the reads from the outputs.

The graph packs a rectangle's tokens, so padding costs time only in attention; rectangles are made
so that there is little of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings, Ints, counts, ragged

TOKENS = 1024
"""Places of a rectangle, at most, unless one sequence is longer. Twice as many took 7 % longer."""
FULL = 0.9
"""The share of a rectangle's places that hold tokens, at least: the rest is padding."""

Feeds = dict[str, NDArray[np.int64]]
Outputs = Sequence[NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Graph:
    """An ONNX graph that an engine has opened."""

    run: Callable[[Feeds], Outputs]
    """Takes the inputs by name and gives all outputs, in the order of ``names``."""
    names: tuple[str, ...]
    """The names of the outputs."""
    inputs: tuple[str, ...]
    """The names of the inputs: a family without segments has no ``token_type_ids``."""
    rank: int
    """The number of the inputs' dimensions: 2, or 3 with one for the options of a choice."""
    width: int
    """The size of the first output's last dimension, if it isn't one of the input's."""

    @property
    def _is_span(self) -> bool:
        return self.names[0] == "start_logits"  # end_logits follows, (B, L) each

    def logits(self, encodings: Encodings) -> Logits:
        """(R, C) logits, in the order of the reads."""
        n_outputs = 2 if self._is_span else 1 if self.rank == 3 else self.width
        logits = np.empty((len(encodings.reads), n_outputs), dtype=np.float32)
        for sequences in rectangles(encodings.lengths):
            found = self._of(encodings, sequences)
            # The heads differ in their outputs: start and end (B, L) apart, logits of every token
            # (B, L, C), or one vector of logits per sequence (B, C).
            both = np.stack(found, axis=-1) if self._is_span else found[0]
            read_counts = counts(encodings.cu_reads, sequences)
            where = ragged(encodings.cu_reads[sequences], read_counts)
            of_reads = np.repeat(np.arange(len(sequences)), read_counts)
            if both.ndim == 3:
                logits[where] = both[of_reads, encodings.reads[where]]
            else:
                logits[where] = both[of_reads]
        return logits

    def outputs(self, encodings: Encodings) -> Iterator[dict[str, NDArray[np.float32]]]:
        """All outputs by name, for one rectangle after another."""
        for sequences in rectangles(encodings.lengths):
            yield dict(zip(self.names, self._of(encodings, sequences), strict=True))

    def _of(self, encodings: Encodings, sequences: Ints) -> Outputs:
        every = rectangle(encodings, sequences)
        given = {name: every[name] for name in self.inputs}
        if self.rank == 3:
            given = {name: array[:, None] for name, array in given.items()}
        return self.run(given)


def rectangles(lengths: Ints) -> Iterator[Ints]:
    """Groups sequences, the longest first, so that each group's rectangle has at most ``TOKENS``
    places and tokens fill at least the share ``FULL`` of them.

    Parameters
    ----------
    lengths
        (S,) tokens of each sequence.

    Yields
    ------
    array
        The indices of a group's sequences.
    """
    # Greedy: a sequence joins the group unless the rectangle would get too large or too empty.
    order = np.argsort(-lengths, kind="stable")
    begin = end = tokens = 0
    while end < len(order):
        longest, length = int(lengths[order[begin]]), int(lengths[order[end]])
        places = longest * (end - begin + 1)
        if end > begin and (places > TOKENS or tokens + length < FULL * places):
            yield order[begin:end]
            begin, tokens = end, 0
            continue
        tokens += length
        end += 1
    if begin < end:
        yield order[begin:end]


def rectangle(encodings: Encodings, sequences: Ints) -> Feeds:
    """The given sequences as padded inputs with a mask, (B, L) each."""
    lengths = encodings.lengths[sequences]
    mask = np.arange(int(lengths.max())) < lengths[:, None]
    starts = np.repeat(encodings.cu_seqlens[sequences], lengths)
    places = starts + np.nonzero(mask)[1]
    ids, segments = np.zeros((2, *mask.shape), dtype=np.int64)
    ids[mask], segments[mask] = encodings.ids[places], encodings.segment_ids[places]
    return {
        "input_ids": ids,
        "attention_mask": mask.astype(np.int64),
        "token_type_ids": segments,
    }
