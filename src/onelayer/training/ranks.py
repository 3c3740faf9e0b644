"""The processes of one training: those that ``torchrun`` starts, or this one alone.

Each process has a rank, from 0. Rank 0 is an ordinary training: it decides, scores, saves and
prints. The others follow its messages: they hold the same weights, compute their share of each
batch and make the same steps with the sum of all gradients. So whatever a training does between two
steps needs no second version for several processes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from onelayer.base.errors import UsageError
from onelayer.tokens.encodings import Ints

LONGEST_WAIT = timedelta(days=1)
"""Of a process for another one. While rank 0 reads a large file or scores, the others wait. If a
process ends early, torchrun ends the others, so this need not find that out."""


@dataclass(frozen=True, slots=True)
class Planned:
    """Rank 0 has read the files: the others can read them, too, from its cache."""

    identity: str
    """``Plan.identity``, which has to be the same everywhere."""


@dataclass(frozen=True, slots=True)
class NewFit:
    """A model is made; the weights follow."""

    recipe: dict[str, Any]
    attempt: int


@dataclass(frozen=True, slots=True)
class NewState:
    """Tensors follow, in this order: the state of the fit before its next step."""

    tensors: dict[str, tuple[tuple[int, ...], torch.dtype]]


@dataclass(frozen=True, slots=True)
class Step:
    """All make this step; steps count from 0."""

    step: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The training is over."""

    path: Path | None
    """The run's directory; None if it failed."""


Message = Planned | NewFit | NewState | Step | Finished


@dataclass(frozen=True, slots=True)
class Ranks:
    """This process among those of the training."""

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether other processes follow this one."""
        return self.count > 1 and self.rank == 0

    @property
    def follows(self) -> bool:
        return self.rank > 0

    def send(self, message: Message) -> None:
        """Tells the other processes, if this one leads any."""
        if self.leads:
            dist.broadcast_object_list([message], src=0)

    def receive(self) -> Message:
        """The next message of rank 0."""
        box: list[Any] = [None]
        dist.broadcast_object_list(box, src=0)
        message: Message = box[0]
        return message

    def send_state(self, state: dict[str, Tensor]) -> None:
        """Gives the other processes the state of a fit."""
        if self.leads:
            tensors = {name: (tuple(x.shape), x.dtype) for name, x in state.items()}
            self.send(NewState(tensors))
            for tensor in state.values():
                dist.broadcast(tensor.contiguous(), src=0)

    def receive_state(self, described: NewState) -> dict[str, Tensor]:
        """What `send_state` has given."""
        found = {}
        for name, (shape, dtype) in described.tensors.items():
            found[name] = torch.empty(shape, dtype=dtype)
            dist.broadcast(found[name], src=0)
        return found

    def share(self, lengths: Ints) -> Ints:
        """The positions of the examples of a batch that this process computes.

        Parameters
        ----------
        lengths
            (E,) tokens of each example. They are dealt out by length, so shares are of like size.
        """
        if self.count == 1:
            return np.arange(len(lengths))
        return np.sort(np.argsort(-lengths, kind="stable")[self.rank :: self.count])

    def total(self, *values: float) -> tuple[float, ...]:
        """The sums of numbers over all processes."""
        if self.count == 1:
            return values
        sums = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(sums)
        return tuple(sums.tolist())

    def sum_gradients(self, parameters: Sequence[Tensor]) -> None:
        """Replaces each gradient by the sum over all processes. One that has none adds zeros."""
        if self.count == 1:
            return
        dense = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            if parameter.grad.is_sparse:
                dist.all_reduce(parameter.grad)
            else:
                dense.append(parameter.grad)
        # One long message instead of two hundred short ones.
        together = torch.cat([gradient.flatten() for gradient in dense])
        dist.all_reduce(together)
        parts = together.split([gradient.numel() for gradient in dense])
        torch._foreach_copy_(
            dense, [part.view_as(gradient) for part, gradient in zip(parts, dense, strict=True)]
        )


ALONE = Ranks()

_current = ALONE


def current_ranks() -> Ranks:
    """The processes of the training that is running."""
    return _current


@contextmanager
def joined_ranks() -> Iterator[Ranks]:
    """Joins the processes that ``torchrun`` has started, for one training; `ALONE` without it.

    Raises UsageError if there are fewer GPUs than processes on this machine.
    """
    global _current
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1 or _current is not ALONE:
        yield _current
        return
    backend = "gloo"
    if torch.cuda.is_available():
        here, gpus = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
        if here > gpus:
            hint = f"--nproc-per-node {gpus}"
            noun = "GPU" if gpus == 1 else "GPUs"
            raise UsageError(f"{here} processes for {gpus} {noun} of this machine", hint=hint)
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=LONGEST_WAIT)
    _current = Ranks(dist.get_rank(), dist.get_world_size())
    try:
        yield _current
    finally:
        _current = ALONE
        dist.destroy_process_group()
