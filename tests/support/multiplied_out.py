"""The int8 tensors that those of a bundle with word vectors in four bits stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.checkpoint.bundle_weights import MULTIPLIERS, NIBBLES, WORDS


def multiplied_out(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Number by number, as the format is described."""
    nibbles, multipliers = tensors[NIBBLES], tensors[MULTIPLIERS]
    n_words, half = nibbles.shape
    group = 2 * half // multipliers.shape[1]
    table = np.empty((n_words, 2 * half), dtype=np.int8)
    for row in range(n_words):
        for column in range(2 * half):
            byte = int(nibbles[row, column % half])
            q = byte >> 4 if column >= half else (byte & 15) - 8
            table[row, column] = q * int(multipliers[row, column // group])
    others = {name: one for name, one in tensors.items() if name not in (NIBBLES, MULTIPLIERS)}
    return {**others, f"{WORDS}.weight": table}
