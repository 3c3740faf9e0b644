"""Which neurons of a model's layers matter most for its answers, measured on some of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from onelayer.engines.torch_engine import TorchEngine
from onelayer.nn.encoder import FeedForward
from onelayer.nn.model import Model
from onelayer.tokens.encodings import Encodings, Ints


def neurons_left(model: Model, sample: Encodings, share: float) -> list[Ints]:
    """The neurons that stay in the feed-forward half of each layer: their numbers, ascending.

    A neuron counts by the mean square of what it adds to the layer's output: its value times the
    length of its column of the second matrix.

    Parameters
    ----------
    model
        The trained model.
    sample
        Some of its rows.
    share
        How many of them stay; rounded up to a multiple of 64, which kernels compute at once.
    """
    downs = [one.down for one in model.encoder.modules() if isinstance(one, FeedForward)]
    with _squares_of_inputs(downs) as squares:
        TorchEngine(model).logits(sample)
    n = downs[0].in_features
    kept = min(n, -(-round(share * n) // 64) * 64)
    found: list[Ints] = []
    for down, square_F in zip(downs, squares, strict=True):
        adds_F = square_F * down.weight.detach().cpu().square().sum(dim=0)
        found.append(np.sort(np.argsort(-adds_F.numpy(), kind="stable")[:kept]))
    return found


@contextmanager
def _squares_of_inputs(modules: Sequence[nn.Linear]) -> Iterator[list[Tensor]]:
    """Sums, while the ``with`` block runs, the squares of each module's inputs: (F,)."""
    sums = [torch.zeros(module.in_features) for module in modules]

    def hook(total: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            total.add_(inputs[0].detach().float().square().sum(dim=0).cpu())

        return add

    handles = [
        module.register_forward_pre_hook(hook(total))
        for module, total in zip(modules, sums, strict=True)
    ]
    try:
        yield sums
    finally:
        for handle in handles:
            handle.remove()
