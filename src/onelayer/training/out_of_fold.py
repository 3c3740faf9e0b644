"""Out-of-fold logits: those of cross-validated rows, each by a model that was not trained on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from safetensors.numpy import load_file, save

from onelayer.tasks.logits import Logits
from onelayer.tasks.protocol import Chunk
from onelayer.tokens.encodings import Ints, counts, ragged
from onelayer.training.dataset import TrainingData
from onelayer.training.plan import Plan

OUT_OF_FOLD_FILE = "cross_validation.safetensors"
"""In a run's directory: the fold of each training row, and the logits of those in a fold."""


@dataclass(frozen=True, slots=True)
class OutOfFold:
    """The logits of all rows that a fold holds out, in the order of the file."""

    folds: Ints
    """(n,) the fold of each training row; `NO_FOLD` for one without logits."""
    logits: Logits
    """(R, C) those of a regression in the labels' unit."""

    @classmethod
    def of(cls, data: TrainingData, by_fold: Sequence[Logits]) -> Self:
        """From the logits of each fold's rows."""
        scored = np.flatnonzero(data.folds >= 0)
        bounds = data.encodings.of_rows(scored).row_reads
        logits = np.empty((int(bounds[-1]), by_fold[0].shape[1]), np.float32)
        for fold, found in enumerate(by_fold):
            places = np.flatnonzero(data.folds[scored] == fold)
            logits[ragged(bounds[places], counts(bounds, places))] = found
        return cls(data.folds, logits)

    def chunk(self, plan: Plan) -> Chunk[Any]:
        """The rows with these logits, for ``task.without_unit()`` to decode."""
        scored = np.flatnonzero(self.folds >= 0)
        rows = [plan.data.rows[i] for i in scored.tolist()]
        return rows, plan.scored_encodings.of_rows(scored), self.logits

    def write(self, folder: Path) -> None:
        tensors = {"folds": self.folds, "logits": np.ascontiguousarray(self.logits)}
        (folder / OUT_OF_FOLD_FILE).write_bytes(save(tensors))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """What `write` left in a run's directory. Raises OSError where there is nothing."""
        tensors = load_file(folder / OUT_OF_FOLD_FILE)
        return cls(tensors["folds"], tensors["logits"])
