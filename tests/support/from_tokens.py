"""A model that needs no training: its logits are a function of the tokens."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from zlib import crc32

import numpy as np

from onelayer.checkpoint.record import DevEvaluation, ModelRecord, RunData, TrainingHistory
from onelayer.data.layout import Layout
from onelayer.prediction.predictor import Predictor
from onelayer.tasks import AnyTask
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings
from support.task_cases import Case

MakePredictor = Callable[[Case], tuple[Predictor, list[Any]]]


@dataclass
class FromTokens:
    """An engine whose logits depend on the tokens of a sequence, not on its batch."""

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


def record_of(task: AnyTask, layout: Layout) -> ModelRecord:
    """The record of a run of four steps."""
    return ModelRecord(
        onelayer="1.2.3",
        task=task,
        layout=layout,
        recipe={"epochs": 2.0, "lr": 1e-4},
        choices=("a remark <b>",),
        data=RunData(train="a.csv", dev=None, train_sha256="ab12"),
        history=TrainingHistory(
            steps=4,
            best_step=4,
            losses=(2.0, math.nan, 1.0, 0.5),
            lrs=(1e-4, 5e-5, 2e-5, 0.0),
            tokens=(40, 50, 60, 70),
            evaluations=tuple(
                DevEvaluation(step=step, scores={task.metric: 0.1 * step}) for step in (2, 4)
            ),
        ),
    )
