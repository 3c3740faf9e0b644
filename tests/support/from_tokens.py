"""A model that needs no training: its logits follow from the tokens alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from onelayer.prediction.predictor import Predictor
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings
from support.task_cases import Case

MakePredictor = Callable[[Case], tuple[Predictor, list[Any]]]


@dataclass
class FromTokens:
    """An engine whose logits follow from the tokens of a sequence, whatever its company."""

    n_outputs: int
    watch: Callable[[], None] = lambda: None

    def logits(self, encodings: Encodings) -> Logits:
        self.watch()
        found = [np.empty((0, self.n_outputs), dtype=np.float32)]
        ids = encodings.ids.astype(np.int32)
        for i in range(len(encodings.cu_seqlens) - 1):
            sequence = ids[encodings.cu_seqlens[i] : encodings.cu_seqlens[i + 1]]
            n_reads = int(encodings.cu_reads[i + 1] - encodings.cu_reads[i])
            rng = np.random.default_rng(crc32(sequence.tobytes()))
            found.append(rng.normal(size=(n_reads, self.n_outputs)).astype(np.float32))
        return np.concatenate(found)


RECORD = {
    "onelayer": "1.2.3",
    "recipe": {"epochs": 2.0, "lr": 1e-4},
    "choices": ["a remark <b>"],
    "data": {"train": "a.csv", "train_sha256": "ab12"},
    "history": {
        "losses": [2.0, None, 1.0, 0.5],
        "lrs": [1e-4, 5e-5, 2e-5, 0.0],
        "tokens": [40, 50, 60, 70],
        "best_step": 4,
    },
}
"""What a run remembers of its training."""
