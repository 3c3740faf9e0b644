"""What the server counts, for Prometheus. Labels are routes and models, never what was sent."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MEDIA_TYPE = CONTENT_TYPE_LATEST

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
SHARES = (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 1.0)


class Measures:
    """One registry a server, so that two in one process don't share their counts."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(f"onelayer_{name}", what, labels, registry=registry)

        def gauge(name: str, what: str) -> Gauge:
            return Gauge(f"onelayer_{name}", what, registry=registry)

        def histogram(
            name: str, what: str, *labels: str, buckets: tuple[float, ...] = SECONDS
        ) -> Histogram:
            return Histogram(f"onelayer_{name}", what, labels, buckets=buckets, registry=registry)

        self.requests = counter("requests", "Requests answered.", "route", "model", "status")
        self.left = counter("callers_left", "Callers who hung up before their answer.")
        self.in_flight = gauge("requests_in_flight", "Requests not yet answered.")
        self.latency = histogram(
            "request_seconds", "From a request's headers to its answer.", "route", "model"
        )
        self.texts = counter("texts", "Inputs predicted.", "model")
        self.tokens = counter("tokens", "Tokens of these inputs.", "model")
        self.waiting_tokens = gauge("waiting_tokens", "Tokens not yet answered for.")
        self.queue = histogram("queue_seconds", "From a request to its first batch.", "model")
        self.batch_seconds = histogram("batch_seconds", "What a batch took.", "model")
        self.batch_fill = histogram(
            "batch_fill", "Tokens of a batch as a share of the budget.", "model", buckets=SHARES
        )

    def page(self) -> bytes:
        return generate_latest(self.registry)
