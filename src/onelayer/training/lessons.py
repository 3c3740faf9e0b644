"""What a trained model says of texts, for a smaller one to learn (Hinton et al., 2015)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from onelayer.base import digest
from onelayer.checkpoint.record import TaughtRecord
from onelayer.data.rows import chunks_of
from onelayer.engines.engine import Engine
from onelayer.prediction.predictor import CHUNK, Predictor
from onelayer.tasks import AnyTask
from onelayer.tokens.encodings import Encodings, joined


@dataclass(frozen=True, slots=True)
class Lessons:
    """Texts as tokens, with the logits that a trained model gives their reads as targets (R, C)."""

    encodings: Encodings
    made_of: TaughtRecord

    @property
    def digest(self) -> str:
        """Of the tokens and the logits."""
        encodings = self.encodings
        assert encodings.targets is not None
        arrays = (encodings.ids, encodings.cu_seqlens, encodings.reads, encodings.targets)
        return digest.of_buffers(np.ascontiguousarray(array).data for array in arrays)

    def in_unit_of(self, task: AnyTask) -> Lessons:
        """The same logits in the unit in which the layer of a task learns."""
        mean, deviation = task.unit
        logits = np.asarray(self.encodings.targets, np.float32)
        scaled = (logits - np.float32(mean)) / np.float32(deviation)
        return replace(self, encodings=replace(self.encodings, targets=scaled))


def answers_to(
    teacher: Predictor, rows: Iterable[Any], engine: Engine, *, max_tokens: int
) -> Encodings:
    """What a trained model says to rows, which are read as a stream.

    Parameters
    ----------
    teacher
        The trained model.
    rows
        Rows of its task, whose labels aren't used.
    engine
        What runs it: its own, or a faster one that gives about the same logits.
    max_tokens
        Stop after the chunk of rows with which there are as many tokens.

    Returns
    -------
    Encodings
        With targets (R, C): the logits, those of a regression in the labels' unit.
    """
    found: list[Encodings] = []
    n_tokens = 0
    for chunk in chunks_of(CHUNK, rows):
        encodings = teacher.task.encode(chunk, teacher.tokenizer, labelled=False)
        logits = np.asarray(engine.logits(encodings), np.float32)
        found.append(replace(encodings, targets=logits, offsets=None))
        n_tokens += len(encodings.ids)
        if n_tokens >= max_tokens:
            break
    return joined(found or [teacher.task.encode([], teacher.tokenizer, labelled=False)])
