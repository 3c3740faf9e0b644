"""The fastest engine for a bundle on this machine: measured once, and remembered."""

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
"""How many times as fast as the first engine another one must be to be chosen in its place, without
taking more processor time: on a busy machine, the clock alone would choose by chance."""
ROUNDS = 5
SECONDS = 0.6
"""No round starts after this time: it bounds how long opening a bundle takes."""
OPERATIONS = 2e10
"""Multiplications of one pass over the sample, about: a large model gets a shorter sample."""
LEAST_TOKENS, MOST_TOKENS = 128, 1024
MEAN_LENGTH = 24


def fastest_engine(bundle: Bundle, makes: Mapping[str, Callable[[Bundle], Engine]]) -> Engine:
    """The first of these engines, or another one that is clearly quicker with this bundle here."""
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
        weights = bundle.export.sha256
        chosen = names[
            int(remembered(["engine of a bundle", weights, *names, *_versions(names)], measure))
        ]
    return made[chosen] if chosen in made else makes[chosen](bundle)


class Cost(NamedTuple):
    """What one pass over the sample takes."""

    seconds: float
    cpu_seconds: float


def measured_costs(engines: Mapping[str, Engine], encodings: Encodings) -> dict[str, Cost]:
    """The least cost of each engine, measured in turns. The first pass of each doesn't count: some
    engines compile in it."""
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
    """The first name, or the fastest of those that are clearly faster and take no more processor
    time."""
    name, first = next(iter(costs.items()))
    better = {
        other: cost.seconds
        for other, cost in costs.items()
        if first.seconds >= CLEARLY * cost.seconds and first.cpu_seconds >= cost.cpu_seconds
    }
    return min(better, key=better.__getitem__, default=name)


def random_encodings(config: EncoderConfig, *, all_reads: bool) -> Encodings:
    """Random tokens in sequences of very different lengths, as texts are. One vector of each is
    read, or all of them."""
    weights = 12 * config.num_hidden_layers * config.hidden_size**2
    tokens = min(max(int(OPERATIONS / weights), LEAST_TOKENS), MOST_TOKENS)
    rng = np.random.default_rng(0)
    longest = min(4 * MEAN_LENGTH, config.max_position_embeddings)
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
    )


def _versions(names: list[str]) -> list[str]:
    """Ours, which the native engine comes with, and those of the engines' packages."""
    found = [__version__]
    for package in (ENGINES[name]().package for name in names if name in ENGINES):
        if package is not None:
            with suppress(PackageNotFoundError):
                found.append(version(package))
    return found
