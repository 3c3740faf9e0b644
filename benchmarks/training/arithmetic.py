"""The operations of a training step, and the rate of this machine's matrix products.

Letters of shapes: D model width, F feed-forward width, T tokens of a batch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SECONDS_A_PROBE = 0.03
LARGE = 8192
"""Rows and columns of the product that measures a GPU's peak."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of an encoder that its matrix products depend on."""

    layers: int
    width: int
    feed_forward: int


def needed_operations(lengths: Sequence[int], reads: Sequence[int], shape: Shape) -> float:
    """Floating-point operations that training needs for sequences with these ``lengths``, if the
    new layer reads ``reads`` vectors of each.

    A multiplication and an addition count as two. The count has the matrix products of the
    encoder's layers for real tokens, forward and backward. The backward pass has two products of
    the same size, one for the gradient of each factor, hence 3 × 2 operations a weight and token.
    Padding and recomputation don't count, nor do embeddings, pooler, the new layer and the
    optimizer. For a sequence of n tokens a layer needs

    - 6 n (4 D² + 2 D F) in its linear layers,
    - 12 n² D in attention: n² D multiplications each for scores and mixing, 3 × 2 each.

    The last layer needs keys and values of all n tokens, but queries, attention output and
    feed-forward only of the r that are read (``[CLS]``, the first subwords, the passage):
    6 (2 D² n + (2 D² + 2 D F) r) and 12 n r D.

    MiniLM-L6-H384 has 10.6 million weights in these products, so a token needs 64 million
    operations without attention if all vectors are read, and BERT-Base 510 million:

    >>> minilm = Shape(layers=6, width=384, feed_forward=1536)
    >>> linear = 6 * 6 * (4 * 384**2 + 2 * 384 * 1536)
    >>> round(linear / 1e6), round(6 * 12 * (4 * 768**2 + 2 * 768 * 3072) / 1e6)
    (64, 510)
    >>> needed_operations([10], [10], minilm) == 10 * linear + 10**2 * 12 * 6 * 384
    True

    If only ``[CLS]`` of a long sequence is read, the last layer computes its keys and values: a
    sixth of its linear part, if F = 4 D.

    >>> last = Shape(layers=1, width=384, feed_forward=1536)
    >>> share = needed_operations([512], [1], last) / (512 * linear / 6)
    >>> abs(share - 1 / 6) < 0.01
    True
    """
    d, f = shape.width, shape.feed_forward
    total = 0.0
    for n, r in zip(lengths, reads, strict=True):
        total += (shape.layers - 1) * (6 * n * (4 * d * d + 2 * d * f) + 12 * n * n * d)
        total += 6 * (2 * d * d * n + (2 * d * d + 2 * d * f) * r) + 12 * n * r * d
    return total


@dataclass(frozen=True, slots=True)
class Rate:
    """Operations a second, and operations a CPU second of all threads together."""

    a_second: float
    a_cpu_second: float


class GemmRate:
    """The rate of matrix products, measured several times during a run.

    On a CPU the products are those of the model's linear layers, T × (D → 3D, D → D, D → F,
    F → D), with each kernel of torch; a probe keeps the fastest of the four. On CUDA it is
    one large square product. The rate of a kernel is the median of its probes: the training steps
    had the same share of a busy machine.
    """

    def __init__(self, shape: Shape, tokens: int, device: str, dtype: torch.dtype) -> None:
        d, f = shape.width, shape.feed_forward
        sizes = [(tokens, d, 3 * d), (tokens, d, d), (tokens, d, f), (tokens, f, d)]
        if device == "cuda":
            sizes = [(LARGE, LARGE, LARGE)]
        self.device = device
        self.factors = [
            (
                torch.randn(rows, inner, device=device, dtype=dtype),
                torch.randn(outer, inner, device=device, dtype=dtype),
            )
            for rows, inner, outer in sizes
        ]
        self.kernels = kernels(device)
        self.probes: dict[str, list[Rate]] = {name: [] for name in self.kernels}

    def probe(self) -> None:
        for name, kernel in self.kernels.items():
            rates = [self._rate(kernel, x, weight) for x, weight in self.factors]
            self.probes[name].append(
                Rate(max(r.a_second for r in rates), max(r.a_cpu_second for r in rates))
            )

    def best(self) -> tuple[str, Rate]:
        """The fastest kernel and its rate."""
        rates = {
            name: Rate(
                statistics.median(rate.a_second for rate in probes),
                statistics.median(rate.a_cpu_second for rate in probes),
            )
            for name, probes in self.probes.items()
        }
        name = max(rates, key=lambda name: rates[name].a_second)
        return name, rates[name]

    @torch.no_grad()
    def _rate(self, kernel: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor) -> Rate:
        kernel(x, weight)
        self._wait()
        times: list[float] = []
        cpu_started = time.process_time()
        while sum(times) < SECONDS_A_PROBE or len(times) < 3:
            started = time.perf_counter()
            kernel(x, weight)
            self._wait()
            times.append(time.perf_counter() - started)
        cpu_time = (time.process_time() - cpu_started) / len(times)
        operations = 2 * x.shape[0] * x.shape[1] * weight.shape[0]
        return Rate(operations / statistics.median(times), operations / cpu_time)

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def kernels(device: str) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """torch's kernels for a product with a transposed weight. ``F.linear`` uses the BLAS library
    that torch was built with; oneDNN is more than twice as fast as MKL on some CPUs."""
    found: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"F.linear": F.linear}
    if device == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise"):

        def one_dnn(x: Tensor, weight: Tensor) -> Tensor:
            return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")

        found["oneDNN"] = one_dnn
    return found
