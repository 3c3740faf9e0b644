"""The throughput of each model, measured while it works, and the backlog of accepted work."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from onelayer.serving.limits import Limits
from onelayer.serving.server_metrics import ServerMetrics

DECAY = 0.9
"""The weight of earlier batches when a new one is added. Less adapts faster and varies more."""


class Throughput:
    """Moving averages of one model. They start from guesses."""

    def __init__(self) -> None:
        self._tokens_encoded, self._characters = 1.0, 3.0
        self._tokens_run, self._seconds = 1.0, 1e-4

    def record_encoding(self, tokens: int, characters: int) -> None:
        """The tokenizer made ``tokens``, special ones and windows included, of ``characters``."""
        self._tokens_encoded = DECAY * self._tokens_encoded + tokens
        self._characters = DECAY * self._characters + characters

    def record_batch(self, tokens: int, seconds: float) -> None:
        """The engine took ``seconds`` for a batch of ``tokens``."""
        self._tokens_run = DECAY * self._tokens_run + tokens
        self._seconds = DECAY * self._seconds + seconds

    def estimate_tokens(self, characters: int) -> int:
        """Tokens of a text of this length, before it is encoded."""
        return 2 + int(characters * self._tokens_encoded / self._characters)

    def estimate_seconds(self, tokens: int) -> float:
        """How many seconds the engine takes for these tokens."""
        return tokens * self._seconds / self._tokens_run


class Work(NamedTuple):
    """How much there is to do for a request."""

    tokens: int
    seconds: float
    """How long the engine takes."""


NO_WORK = Work(0, 0.0)


class Backlog:
    """The accepted work of all models that isn't answered yet, in tokens and estimated seconds.

    The event loop adds and removes work; the scheduler's threads record throughput.
    """

    def __init__(self, limits: Limits, metrics: ServerMetrics) -> None:
        self.tokens, self.seconds = 0, 0.0
        self.usual_seconds = 0.0
        """How long the engine takes for a request, on average over the last ones."""
        self._throughput: defaultdict[str, Throughput] = defaultdict(Throughput)
        self._max_counted = limits.token_budget // 2
        metrics.waiting_tokens.set_function(lambda: self.tokens)

    def throughput(self, model: str) -> Throughput:
        return self._throughput[model]

    def estimate(self, model: str, characters: int) -> Work:
        """What a request of this length adds to the backlog.

        At most half a batch: a large request runs in parts, and others wait for one part only.
        """
        throughput = self._throughput[model]
        tokens = min(throughput.estimate_tokens(characters), self._max_counted)
        return Work(tokens, throughput.estimate_seconds(tokens))

    def add(self, tokens: int, seconds: float) -> None:
        """Adds the work of a request; negative amounts remove it."""
        if tokens > 0:
            self.usual_seconds = DECAY * self.usual_seconds + (1 - DECAY) * seconds
        self.tokens += tokens
        # Starting from zero when nothing is left keeps rounding errors from adding up.
        self.seconds = self.seconds + seconds if self.tokens else 0.0
