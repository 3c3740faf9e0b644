"""Chooses the fastest engine for a bundle on this machine, by a measurement made once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

import numpy as np

from onelayer import __version__
from onelayer.base.machine import remembered
from onelayer.checkpoint.bundle import Bundle
from onelayer.checkpoint.config import EncoderConfig
from onelayer.engines.engine import Engine
from onelayer.engines.registry import ENGINES
from onelayer.tokens.encodings import Encodings, cumulate

CLEARLY = 1.1
"""How many times as fast as the first engine another one must be to be chosen instead. It must not
take more processor time either: on a busy machine, the clock alone would choose by chance."""
ROUNDS = 5
"""Measurements of each engine; the best one counts."""
SECONDS = 0.6
"""No round starts after this time, which bounds how long it takes to open a bundle."""
OPERATIONS = 2e10
"""Multiplications of one pass, about: a large model is measured on fewer tokens."""
LEAST_TOKENS, MOST_TOKENS = 128, 1024
MEAN_LENGTH = 24
"""Tokens of a sequence on average, as in short texts."""


def fastest_engine(bundle: Bundle, makes: Mapping[str, Callable[[Bundle], Engine]]) -> Engine:
    """Opens a bundle in the first of some engines, or in another that is clearly faster here.

    Parameters
    ----------
    bundle
        The exported model.
    makes
        By name, what opens the bundle in each engine; the one expected to be fastest comes first.
    """
    names = list(makes)
    made: dict[str, Engine] = {}

    def measure() -> float:
        made.update({name: make(bundle) for name, make in makes.items()})
        costs = measured_costs(
            made, random_encodings(bundle.config, all_reads=bundle.task.reads_all_tokens)
        )
        return float(names.index(clearly_fastest(costs)))

    chosen = names[0]
    if len(names) > 1:
        models = [bundle, bundle.first] if bundle.first else [bundle]
        weights = [one.export.sha256 for one in models]
        key = ["engine of a bundle", *weights, *names, *_versions(names)]
        place = int(remembered(key, measure))
        chosen = names[place] if 0 <= place < len(names) else names[0]
    return made[chosen] if chosen in made else makes[chosen](bundle)


class Cost(NamedTuple):
    """What one pass takes, by the clock and in processor time."""

    seconds: float
    cpu_seconds: float


def measured_costs(engines: Mapping[str, Engine], encodings: Encodings) -> dict[str, Cost]:
    """The lowest cost of each engine, measured in turns. The first pass of each doesn't count,
    because some engines compile in it."""
    for engine in engines.values():
        engine.logits(encodings)
    costs = dict.fromkeys(engines, Cost(np.inf, np.inf))
    started = time.perf_counter()
    for _ in range(ROUNDS):
        for name, engine in engines.items():
            before = time.perf_counter(), time.process_time()
            engine.logits(encodings)
            cost = time.perf_counter() - before[0], time.process_time() - before[1]
            costs[name] = Cost(*map(min, costs[name], cost))
        if time.perf_counter() - started > SECONDS:
            break
    return costs


def clearly_fastest(costs: Mapping[str, Cost]) -> str:
    """The first name, or that of the fastest engine among those that are clearly faster and take no
    more processor time."""
    name, first = next(iter(costs.items()))
    better = {
        other: cost.seconds
        for other, cost in costs.items()
        if first.seconds >= CLEARLY * cost.seconds and first.cpu_seconds >= cost.cpu_seconds
    }
    return min(better, key=better.__getitem__, default=name)


def random_encodings(config: EncoderConfig, *, all_reads: bool) -> Encodings:
    """Random tokens in sequences of very different lengths, like real texts.

    Parameters
    ----------
    config
        The model, whose size decides the number of tokens.
    all_reads
        Whether all vectors of a sequence are read, or only the first.
    """
    # A layer has 4 D^2 weights in attention and about 8 D^2 in its feed-forward half.
    weights = 12 * config.num_hidden_layers * config.hidden_size**2
    tokens = min(max(int(OPERATIONS / weights), LEAST_TOKENS), MOST_TOKENS)
    rng = np.random.default_rng(0)
    longest = min(4 * MEAN_LENGTH, config.longest)
    lengths = np.minimum(1 + rng.geometric(1 / MEAN_LENGTH, tokens // MEAN_LENGTH), longest)
    cu_seqlens, sequences = cumulate(lengths), np.arange(len(lengths) + 1)
    n = int(cu_seqlens[-1])
    reads = np.arange(n) - np.repeat(cu_seqlens[:-1], lengths)
    return Encodings(
        ids=rng.integers(config.vocab_size, size=n, dtype=np.int32),
        segment_ids=np.zeros(n, dtype=np.uint8),
        cu_seqlens=cu_seqlens,
        reads=(reads if all_reads else np.zeros(len(lengths))).astype(np.int32),
        cu_reads=cu_seqlens if all_reads else sequences,
        cu_examples=sequences,
        cu_rows=sequences,
        second_at=lengths,
    )


def _versions(names: list[str]) -> list[str]:
    """The versions of onelayer, for the native engine, and of the engines' packages."""
    found = [__version__]
    for package in (ENGINES[name]().package for name in names if name in ENGINES):
        if package is not None:
            with suppress(PackageNotFoundError):
                found.append(version(package))
    return found
