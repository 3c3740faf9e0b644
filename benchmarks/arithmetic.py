"""What a training step has to compute, and how fast this machine multiplies matrices.

Letters of shapes: D model width, F feed-forward width, T tokens of a batch.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

SECONDS_A_PROBE = 0.03
LARGE = 8192
"""Rows and columns of the product that a GPU's peak is measured with."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of an encoder that its matrix products depend on."""

    layers: int
    width: int
    feed_forward: int


def needed_operations(lengths: Iterable[int], shape: Shape, *, cls_only: bool) -> float:
    """Floating-point operations that training needs for sequences of these lengths.

    A multiplication and an addition count as two. Counted are the matrix products of the encoder's
    layers for real tokens, forward and backward: each has two products of its own size on the way
    back, one for the gradient of either factor, hence 3 × 2 operations a weight and token. Padding
    and recomputation don't count, nor do embeddings, pooler, the new layer and the optimizer. For
    a sequence of n tokens a layer needs

    - 6 n (4 D² + 2 D F) in its linear layers,
    - 12 n² D in attention: n² D multiplications each for scores and mixing, 3 × 2 each.

    With ``cls_only`` (the new layer reads ``[CLS]`` alone) the last layer needs keys and values of
    all tokens, and queries, attention output and feed-forward of the first one:
    6 (2 D² n + 2 D² + 2 D F) and 12 n D.

    MiniLM-L6-H384 has 10.6 million weights in these products, so a token needs 64 million
    operations besides attention, and BERT-Base 510 million:

    >>> minilm = Shape(layers=6, width=384, feed_forward=1536)
    >>> linear = 6 * 6 * (4 * 384**2 + 2 * 384 * 1536)
    >>> attention = 12 * 6 * 384
    >>> needed_operations([1], minilm, cls_only=False) == linear + attention
    True
    >>> round(linear / 1e6), round(6 * 12 * (4 * 768**2 + 2 * 768 * 3072) / 1e6)
    (64, 510)

    A sequence of one token is all ``[CLS]``, so nothing is saved; of a long one, what the last
    layer needs for keys and values remains of its linear part, a sixth where F = 4 D:

    >>> needed_operations([1], minilm, cls_only=True) == linear + attention
    True
    >>> one = Shape(layers=1, width=384, feed_forward=1536)
    >>> share = needed_operations([512], one, cls_only=True) / (512 * linear / 6)
    >>> abs(share - 1 / 6) < 0.01
    True
    """
    d, f = shape.width, shape.feed_forward
    whole = shape.layers - cls_only
    total = 0.0
    for n in lengths:
        total += whole * (6 * n * (4 * d * d + 2 * d * f) + 12 * n * n * d)
        if cls_only:
            total += 6 * (2 * d * d * n + 2 * d * d + 2 * d * f) + 12 * n * d
    return total


class GemmRate:
    """The rate of matrix products, in operations a second, probed now and then during a run.

    On a CPU the products are those of the model's linear layers, T × (D → 3D, D → D, D → F,
    F → D), through each kernel that torch has; a probe keeps the fastest of the four. On CUDA it is
    one large square product. The rate of a kernel is the median of its probes, as the steps beside
    which they were taken had the same share of a busy machine.
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
        self.probes: dict[str, list[float]] = {name: [] for name in self.kernels}

    def probe(self) -> None:
        for name, kernel in self.kernels.items():
            rates = [self._rate(kernel, x, weight) for x, weight in self.factors]
            self.probes[name].append(max(rates))

    def best(self) -> tuple[str, float]:
        """The fastest kernel and its rate."""
        rates = {name: statistics.median(probes) for name, probes in self.probes.items()}
        name = max(rates, key=rates.__getitem__)
        return name, rates[name]

    @torch.no_grad()
    def _rate(self, kernel: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor) -> float:
        kernel(x, weight)
        self._wait()
        times: list[float] = []
        while sum(times) < SECONDS_A_PROBE or len(times) < 3:
            started = time.perf_counter()
            kernel(x, weight)
            self._wait()
            times.append(time.perf_counter() - started)
        operations = 2 * x.shape[0] * x.shape[1] * weight.shape[0]
        return operations / statistics.median(times)

    def _wait(self) -> None:
        if self.device == "cuda":
            torch.cuda.synchronize()


def kernels(device: str) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
    """The ways of torch to multiply by a transposed weight. ``F.linear`` takes the BLAS library
    that torch was built with; oneDNN is more than twice as fast as MKL on some CPUs."""
    found: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"F.linear": F.linear}
    if device == "cpu" and hasattr(torch.ops.mkldnn, "_linear_pointwise"):

        def one_dnn(x: Tensor, weight: Tensor) -> Tensor:
            return torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")

        found["oneDNN"] = one_dnn
    return found
