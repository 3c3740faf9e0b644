"""Training steps on a GPU: compiled, recorded once for each shape of a batch, and replayed.

A step of a small batch is hundreds of short kernels, and launching them takes several times as long
as computing them. A CUDA graph launches all of them at once, but for one shape only. So batches are
brought into few shapes (``nn/batch_shapes.py``). The first batch of a shape is computed as usual,
which compiles what it needs; the second one is recorded; all others are replays.

Two kinds of work are recorded: the forward and backward pass of a micro-batch, which adds to the
gradients, and the optimizer's step. Between them gradients can be summed over processes.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.attention import activate_flash_attention_impl

from onelayer.nn.batch_shapes import Shape, bucketed, shape_of
from onelayer.nn.encoder import Layer
from onelayer.nn.exact_attention import fits_exact
from onelayer.nn.heads import Head
from onelayer.nn.model import Model
from onelayer.nn.packed import Packed
from onelayer.training.optimizer import TorchAdamW
from onelayer.training.ranks import ALONE, Ranks

MAX_GRAPHS = 64
"""Shapes that are recorded, at most; other batches are launched as usual. The graphs' tensors share
their memory, as only one graph runs at a time."""

Work = Callable[[], None]


@dataclass(frozen=True, slots=True)
class GpuBatch:
    """The batch of a step, ready for a GPU."""

    parts: list[Packed]
    """Its micro-batches, pinned and in shapes that many have."""
    weight: float
    """What the sum of the losses is divided by."""
    tokens: int
    """Real tokens."""


class GpuSteps:
    """Makes the steps of one model with one optimizer on a GPU, as `update_weights` does it on any
    device."""

    def __init__(
        self,
        network: Model,
        head: Head,
        optimizer: TorchAdamW,
        max_norm: float,
        class_weights: Tensor | None,
        ranks: Ranks = ALONE,
    ) -> None:
        """The optimizer's state must not be replaced after the first step."""
        self._network, self._head = network, head
        self._optimizer, self._max_norm, self._ranks = optimizer, max_norm, ranks
        (self._device,) = {parameter.device for parameter in optimizer.parameters}
        self._class_weights = class_weights
        # A batch's weight is known before it is on the GPU: reading it there would have to wait.
        self._class_weights_here = None if class_weights is None else class_weights.cpu()
        # What a graph reads and writes besides the batch, so it has to stay where it is.
        self._share = torch.zeros((), device=self._device)
        self._loss = torch.zeros((), device=self._device)
        self._recorder = Recorder(self._device)
        self._records = not attends_by_runs(network)
        self._passes: dict[Shape, RecordedPass] = {}
        self._seen: set[Shape] = set()
        self._recorded_step: RecordedWork | None = None
        self._n_steps = 0
        # A thread begins with the first GPU, which may be another process's.
        self._thread = ThreadPoolExecutor(1, initializer=self._recorder.enter_thread)
        self._ahead: tuple[int, Future[GpuBatch]] | None = None

    def prepare(self, parts: Sequence[Packed]) -> GpuBatch:
        """The micro-batches of a step as this class takes them. It needs no GPU."""
        full = list(parts)
        if self._records:
            full = [bucketed(part, self._head.blank[1]) for part in parts]
        return GpuBatch(
            full if self._device.type == "cpu" else [part.pinned() for part in full],
            sum(self._head.weight(part, self._class_weights_here) for part in parts),
            sum(len(part.ids_T) for part in parts),
        )

    def prepared(self, parts_of: Callable[[int], Sequence[Packed]], step: int) -> GpuBatch:
        """The batch of a step. While that step runs, a thread prepares the one that follows.

        Parameters
        ----------
        parts_of
            Gives the micro-batches of a step, a function of its number. It is asked for one step
            after the last, too.
        step
            Counts from 0.
        """
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == step:
            batch = ahead[1].result()
        else:
            batch = self.prepare(parts_of(step))
        following = self._thread.submit(lambda: self.prepare(parts_of(step + 1)))
        self._ahead = step + 1, following
        return batch

    def update_weights(self, batch: GpuBatch) -> float:
        """One step; returns this process's part of the batch's loss."""
        (weight,) = self._ranks.total(batch.weight)
        if weight == 0:
            return 0.0
        with self._recorder.stream():
            self._share.fill_(1.0 / weight)
            self._loss.zero_()
            for part in batch.parts:
                self._add_gradient(part)
            self._optimizer.sum_gradients(self._ranks)
            self._optimizer.send_lr()
            self._make_step()
            return float(self._loss)  # the only place where the CPU waits

    def _add_gradient(self, part: Packed) -> None:
        shape = shape_of(part)
        if shape in self._passes:
            self._passes[shape].replay(part)
        elif self._records and shape in self._seen and len(self._passes) < MAX_GRAPHS:
            there = replace(part.to(self._device), runs=())
            graph = self._record(lambda: self._forward_and_backward(there))
            self._passes[shape] = RecordedPass(graph, there)
            graph.replay()
        else:
            self._seen.add(shape)
            self._forward_and_backward(part.to(self._device))

    def _record(self, work: Work) -> RecordedWork:
        if self._ahead is not None:
            wait([self._ahead[1]])  # no other thread may talk to the GPU meanwhile
        return self._recorder.record(work)

    def _forward_and_backward(self, batch: Packed) -> None:
        logits = self._network(batch)
        loss = self._head.total_loss(logits, batch, self._class_weights) * self._share
        loss.backward()
        self._loss.add_(loss.detach())

    def _make_step(self) -> None:
        # The first step makes the optimizer's state, and must not be recorded.
        if self._recorded_step is None and self._n_steps > 0:
            self._recorded_step = self._record(
                lambda: self._optimizer.step_in_place(self._max_norm)
            )
        if self._recorded_step is None:
            self._optimizer.step_in_place(self._max_norm)
        else:
            self._recorded_step.replay()
        self._n_steps += 1


class RecordedWork(Protocol):
    """Recorded work, such as a CUDA graph."""

    def replay(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RecordedPass:
    """The forward and backward pass of batches of one shape."""

    graph: RecordedWork
    batch: Packed
    """Its tensors are what the graph reads."""

    def replay(self, batch: Packed) -> None:
        """The pass of another batch of this shape."""
        self.batch.copy_from(batch)
        self.graph.replay()


class Recorder:
    """Records work as CUDA graphs that share their memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        # Work that is recorded must have run on the same stream before.
        self._stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def stream(self) -> torch.cuda.StreamContext:
        """The stream on which all work of training runs, after all that was launched before."""
        self._stream.wait_stream(torch.cuda.current_stream())
        return torch.cuda.stream(self._stream)

    def enter_thread(self) -> None:
        """Call it first in another thread."""
        torch.cuda.set_device(self._device)

    def record(self, work: Work) -> RecordedWork:
        """Records work without doing it. Random numbers differ with each replay."""
        graph = torch.cuda.CUDAGraph()
        # The backward pass runs in a thread of autograd, which may do what it needs.
        with torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        ):
            work()
        return graph


def attends_by_runs(model: Model) -> bool:
    """Whether attention depends on the runs of sequences of equal length, which it computes one by
    one or in a rectangle. They are a part of the shape then, and hardly two batches have the same.

    Whatever reads ``batch.runs`` has to be known here; a recorded pass has none to read.
    """
    if model.encoder.distances is not None:
        return True
    from onelayer.nn.varlen import TAKES_REACH

    for layer in model.encoder.layers:
        if not isinstance(layer, Layer):
            return True
        own = layer.attention
        flash = own.qkv.bf16 and (own.reach is None or TAKES_REACH)
        exact = own.reach is None and fits_exact(own.width, own.n_heads)
        if not (flash or exact):
            return True
    return False


def compiled(model: Model) -> Model:
    """The model for training on a GPU: it shares its weights with ``model``, which evaluation uses,
    and its layers are compiled for batches of any size. All layers have the same code, so that is
    done once."""
    with suppress(ImportError):  # its package may be missing
        activate_flash_attention_impl("FA3")
    if attends_by_runs(model):
        return model  # it would be compiled for each batch again
    shared = {id(parameter): parameter for parameter in model.parameters()}
    network = copy.deepcopy(model, shared)
    for layer in network.encoder.layers:
        assert isinstance(layer, Layer)
        layer.compile(dynamic=True)
        layer.read = torch.compile(layer.read, dynamic=True)  # type: ignore[method-assign]
    return network
