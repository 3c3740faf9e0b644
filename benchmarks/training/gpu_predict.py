"""Ways to predict on a GPU with a model that wasn't exported, from token ids to logits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np

from onelayer.engines.torch_engine import TorchEngine
from onelayer.nn import ops
from onelayer.nn.model import Model
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings


@dataclass(frozen=True)
class PredictSpeed:
    way: str
    seconds: float
    """Of one pass over all sequences."""
    error: float
    """The norm of the difference from the first way's logits, divided by their norm."""


def compare_prediction(
    model: Model, encodings: Encodings, at_least: float
) -> Iterator[PredictSpeed]:
    """Each way's time; ``model`` has to be without dropout. It is repeated for some seconds."""
    engine, exact = TorchEngine(model), None
    ways: dict[str, AbstractContextManager[object]] = {
        "fp32: as models predict": nullcontext(),
        "fp32, attention in runs of equal lengths": patch.object(
            ops, "exact_attention_takes", return_value=False
        ),
        "bf16, flash attention": in_bf16(model),
    }
    for way, changed in ways.items():
        with changed:
            seconds, logits = timed(engine, encodings, at_least)
        exact = logits if exact is None else exact
        error = float(np.linalg.norm(logits - exact) / np.linalg.norm(exact))
        yield PredictSpeed(way, seconds, error)


def timed(engine: TorchEngine, encodings: Encodings, at_least: float) -> tuple[float, Logits]:
    """The seconds of a pass, and its logits."""
    logits = engine.logits(encodings)
    passes, started = 0, time.perf_counter()
    while passes == 0 or time.perf_counter() - started < at_least:
        engine.logits(encodings)
        passes += 1
    return (time.perf_counter() - started) / passes, logits


@contextmanager
def in_bf16(model: Model) -> Iterator[None]:
    """Products and attention as in training."""
    model.train_in("bf16")
    with patch.object(model, "eval", model.train):
        yield
    model.train_in("fp32")
