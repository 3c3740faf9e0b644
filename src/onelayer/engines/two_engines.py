"""Two engines of one vocabulary: a small one answers where it is sure, and a large one the rest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from onelayer.engines.engine import Engine
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings, counts, ragged


@dataclass(frozen=True, slots=True)
class TwoEngines:
    """The logits of the first engine where they are clear, else those of the other one."""

    first: Engine
    rest: Engine
    margin: float
    """The first one is sure of a sequence if the two largest logits of each read are this far
    apart, or farther."""

    @property
    def name(self) -> str:
        """That of the large one."""
        return self.rest.name

    def logits(self, encodings: Encodings) -> Logits:
        """(R, C) fp32 logits, in the order of the R reads of the encodings."""
        logits = self.first.logits(encodings)
        clear = distances(encodings, logits) >= np.float32(self.margin)
        unsure = np.flatnonzero(~clear)  # also where a logit is no number
        if len(unsure):
            logits = np.array(logits)
            reads = ragged(encodings.cu_reads[unsure], counts(encodings.cu_reads, unsure))
            logits[reads] = self.rest.logits(encodings.alone(unsure))
        return logits


def distances(encodings: Encodings, logits: Logits) -> NDArray[np.float32]:
    """(S,) how far the two largest logits of a read are apart, for the read of each sequence where
    that is least. (R, C) logits, at least two of each read."""
    two = np.partition(logits, -2, axis=1)[:, -2:]
    of_reads = np.append(two[:, 1] - two[:, 0], np.float32(np.inf))  # for a sequence without reads
    least = np.minimum.reduceat(of_reads, encodings.cu_reads[:-1])
    return np.where(np.diff(encodings.cu_reads) > 0, least, np.float32(np.inf))
