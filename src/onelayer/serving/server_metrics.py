"""Metrics for Prometheus. Labels are routes and models only: text of callers never becomes one."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MEDIA_TYPE = CONTENT_TYPE_LATEST

SECONDS_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
SHARE_BUCKETS = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)


@dataclass(slots=True)
class RequestTally:
    """Requests of a model that ended in one way."""

    count: int = 0
    seconds: float = 0.0
    last: float = 0.0
    """When the last one ended, in seconds since 1970."""


class ServerMetrics:
    """All metrics of a server. Each server has a registry of its own, also two in one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.tallies: defaultdict[tuple[str, bool], RequestTally] = defaultdict(RequestTally)
        """By model, and whether its requests were answered or failed."""
        self._of_route = cache(self._children_of_route)
        self._of_model = cache(self._children_of_model)

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"onelayer_{name}", what, labels, registry=registry)

        def gauge(name: str, what: str) -> Gauge:
            return Gauge(f"onelayer_{name}", what, registry=registry)

        def histogram(
            name: str, what: str, *labels: str, buckets: tuple[float, ...] = SECONDS_BUCKETS
        ) -> Histogram:
            return Histogram(f"onelayer_{name}", what, labels, buckets=buckets, registry=registry)

        self.requests = counter("requests", "Requests answered.", "route", "model", "status")
        self.left = counter("callers_left", "Callers who disconnected before their answer.")
        self.in_flight = gauge("requests_in_flight", "Requests not yet answered.")
        self.latency = histogram(
            "request_seconds", "From a request's headers to its answer.", "route", "model"
        )
        self.texts = counter("texts", "Inputs predicted.", "model")
        self.tokens = counter("tokens", "Tokens of these inputs.", "model")
        self.waiting_tokens = gauge("waiting_tokens", "Tokens that are queued or running.")
        self.queue = histogram("queue_seconds", "From a request to its first batch.", "model")
        self.batch_seconds = histogram(
            "batch_seconds", "From the start of a batch to its logits.", "model"
        )
        self.batch_fill = histogram(
            "batch_fill",
            "Tokens of a batch as a share of the budget.",
            "model",
            buckets=SHARE_BUCKETS,
        )

    def count_answer(self, route: str, model: str, status: int, seconds: float) -> None:
        requests, latency, tally = self._of_route(route, model, status)
        requests.inc()
        latency.observe(seconds)
        tally.count += 1
        tally.seconds += seconds
        tally.last = time.time()

    def count_predictions(self, model: str, texts: int, tokens: int, waited: float) -> None:
        n_texts, n_tokens, queue = self._of_model(model)
        n_texts.inc(texts)
        n_tokens.inc(tokens)
        queue.observe(waited)

    # Looking up a metric by its labels takes longer than counting, so the results are cached.

    def _children_of_route(
        self, route: str, model: str, status: int
    ) -> tuple[Counter, Histogram, RequestTally]:
        requests, latency = self.requests.labels(route, model, status), self.latency
        return requests, latency.labels(route, model), self.tallies[model, status < 400]

    def _children_of_model(self, model: str) -> tuple[Counter, Counter, Histogram]:
        return self.texts.labels(model), self.tokens.labels(model), self.queue.labels(model)

    def figure(self, name: str, model: str) -> float:
        """A metric of a model by its full name in the exposition; 0 before its first request."""
        return self.registry.get_sample_value(name, {"model": model}) or 0.0

    def exposition(self) -> bytes:
        return generate_latest(self.registry)
