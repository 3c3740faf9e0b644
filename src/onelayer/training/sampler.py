"""The order of the training examples: a pure function of seed and epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from onelayer.tokens.encodings import Ints

CONTRAST_BATCH = 16
"""Texts of a step of contrast, at most."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """Draws every example once an epoch, in batches. The last batch of an epoch may be smaller."""

    n_examples: int
    batch_size: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return math.ceil(self.n_examples / self.batch_size)

    def batch(self, step: int) -> Ints:
        """The examples of a step. Steps count from 0."""
        epoch, i = divmod(step, self.steps_per_epoch)
        order = _order(self.n_examples, self.seed, epoch)
        return order[i * self.batch_size : (i + 1) * self.batch_size]


def evenly(n_examples: int, most: int, seed: int) -> Sampler:
    """A sampler of batches of at most ``most`` examples that are alike in size: where texts are
    compared with each other, a batch of one teaches nothing."""
    batches = math.ceil(n_examples / most)
    return Sampler(n_examples, math.ceil(n_examples / batches), seed)


@lru_cache(maxsize=2)
def _order(n_examples: int, seed: int, epoch: int) -> Ints:
    order = np.random.default_rng((seed, epoch)).permutation(n_examples)
    order.setflags(write=False)
    return order
