"""The order of the data: a pure function of seed and epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from onelayer.text.encoding import Ints


def batches(n_examples: int, batch_size: int, *, seed: int, epoch: int) -> Iterator[Ints]:
    """Every example once, in batches; the last one may be smaller."""
    order = np.random.default_rng((seed, epoch)).permutation(n_examples)
    for start in range(0, n_examples, batch_size):
        yield order[start : start + batch_size]
