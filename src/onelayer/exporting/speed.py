"""Measures the speed of several engines on the same rows, in turns."""

from __future__ import annotations

import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from onelayer.base.machine import cores
from onelayer.checkpoint.export_record import Speed
from onelayer.data.rows import Rows
from onelayer.engines.registry import ENGINES, RUN_ENGINE
from onelayer.prediction.predictor import Predictor

ROWS, TOKENS, ALONE = 512, 8192, 32
"""Rows and tokens that are timed together, at most, and rows that are timed one by one."""
ROUNDS, MOST_ROUNDS = 3, 30
"""Rounds of each measurement, at least and at most; the fastest counts."""


class PredictsRows(Protocol):
    """What has a speed: from rows to predictions."""

    def predict_rows(self, rows: Sequence[Any]) -> list[Any]:
        """Predictions for rows of a task."""
        ...


class TimedRows(NamedTuple):
    """The rows that are timed, and the tokens in them."""

    rows: list[Any]
    tokens: int


def speeds(predictors: Mapping[str, Predictor], rows: Rows) -> dict[str, Speed]:
    """The speed of each predictor, by the clock; see `speeds_on`."""
    return speeds_on(predictors, _sample(predictors, rows))


def speeds_on(
    predictors: Mapping[str, PredictsRows],
    sample: TimedRows,
    clock: Callable[[], float] = time.perf_counter,
    seconds: float = 0.0,
) -> dict[str, Speed]:
    """The speed of each predictor. All do the same work in turns, and the best round counts: other
    work on the machine makes a round slower and never faster.

    Parameters
    ----------
    predictors
        By name.
    sample
        The rows that all predict.
    clock
        Gives the time in seconds.
    seconds
        Who took less in all so far has more rounds. A round of a fast one is so short that on a
        busy machine another process often interrupts all of few rounds.
    """
    best = _best(predictors, sample.rows, clock, seconds)
    alone: dict[str, list[float]] = {name: [] for name in predictors}
    for row in sample.rows[:ALONE]:
        for name, predictor in predictors.items():
            alone[name].append(min(_seconds(predictor, [row], clock) for _ in range(2)))
    return {
        name: Speed(
            latency_ms=1e3 * statistics.median(alone[name]),
            texts_per_second=len(sample.rows) / best[name],
            tokens_per_second=sample.tokens / best[name],
        )
        for name in predictors
    }


def work(predictors: Mapping[str, Predictor], rows: Rows) -> dict[str, float]:
    """The processor time of each predictor for the same rows, in seconds. For two graphs in one
    engine it shows which one is faster even on a busy machine."""
    return _best(predictors, _sample(predictors, rows).rows, time.process_time)


def _best(
    predictors: Mapping[str, PredictsRows],
    sample: Sequence[Any],
    clock: Callable[[], float],
    seconds: float = 0.0,
) -> dict[str, float]:
    best, spent = dict.fromkeys(predictors, math.inf), dict.fromkeys(predictors, 0.0)
    for n in range(MOST_ROUNDS):
        for name, predictor in predictors.items():
            if n < ROUNDS or spent[name] < seconds:
                took = _seconds(predictor, sample, clock)
                best[name], spent[name] = min(best[name], took), spent[name] + took
    return best


def _sample(predictors: Mapping[str, Predictor], rows: Rows) -> TimedRows:
    return sample_of(next(iter(predictors.values())), rows)


def sample_of(predictor: Predictor, rows: Rows) -> TimedRows:
    """Rows spread over the file, as many as this predictor's tokens allow."""
    step = max(1, len(rows) // ROWS)
    chosen = list(islice(rows, 0, step * ROWS, step))
    encodings = predictor.task.encode(chosen, predictor.tokenizer, labelled=False)
    tokens = encodings.cu_seqlens[encodings.cu_rows[1:]]
    n = max(1, int(np.searchsorted(tokens, TOKENS, side="right")))
    return TimedRows(chosen[:n], int(tokens[n - 1]))


def _seconds(predictor: PredictsRows, rows: Sequence[Any], clock: Callable[[], float]) -> float:
    started = clock()
    predictor.predict_rows(rows)
    return clock() - started


def machine() -> str:
    """The processor's name, and how many of its cores were available."""
    name = platform.processor() or platform.machine()
    if (facts := Path("/proc/cpuinfo")).exists():
        lines = facts.read_text().splitlines()
        models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
        name = next(models, name)
    return f"{name}, {cores()} of {os.cpu_count()} cores"


def versions() -> dict[str, str]:
    """The versions of Python, onelayer and the packages that took part, if installed."""
    found = {"python": platform.python_version()}
    packages = [package for entry in ENGINES.values() if (package := entry().package)]
    for name in ("onelayer", "numpy", "tokenizers", *packages, RUN_ENGINE):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
