"""The engine of models that were not exported, in PyTorch."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from onelayer.base.errors import UsageError
from onelayer.base.machine import give_memory_back
from onelayer.nn.model import Model
from onelayer.nn.packed import pack
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings, Ints, counts, ragged, segment_means
from onelayer.tokens.packing import micro_batches


def best_device() -> torch.device:
    """The GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _compute_on_one_thread() -> None:
    """In a child of a fork: PyTorch's other threads exist in the parent only, and it would wait for
    them forever."""
    torch.set_num_threads(1)


os.register_at_fork(after_in_child=_compute_on_one_thread)


@contextmanager
def computing_on(n: int | None) -> Iterator[None]:
    """PyTorch computes on ``n`` threads inside, and then on as many as before; None changes
    nothing."""
    before = torch.get_num_threads()
    if n in (None, before):
        yield
        return
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class TorchEngine:
    """Runs a model in micro-batches of at most ``token_budget`` tokens, which bounds the memory.
    ``threads`` compute on a CPU, by default as many as the process has set."""

    name = "torch"

    def __init__(self, model: Model, token_budget: int = 8192, threads: int | None = None) -> None:
        self.model = model
        self.token_budget = token_budget
        self.threads = threads
        self._process = os.getpid()

    def logits(self, encodings: Encodings) -> Logits:
        """(R, C) fp32 logits, in the order of the reads."""
        with computing_on(self.threads):
            return self._run(encodings, None)

    def logits_and_vectors(self, encodings: Encodings) -> tuple[Logits, NDArray[np.float32]]:
        """(R, C) fp32 logits, and (E, D) the mean of what the output layer reads of each example.
        The vectors of a batch are averaged before the next one is run, which bounds the memory."""
        width = self.model.head.in_features
        vectors = np.empty((encodings.n_examples, width), dtype=np.float32)
        with computing_on(self.threads):
            return self._run(encodings, vectors), vectors

    @torch.inference_mode()
    def _run(self, encodings: Encodings, vectors: NDArray[np.float32] | None) -> Logits:
        was_training = self.model.training
        self.model.eval()
        device = self.model.head.weight.device
        if device.type != "cpu" and self._process != os.getpid():
            raise UsageError(
                "a forked process can't compute on its parent's GPU",
                hint="use multiprocessing's start method spawn, and load the model there",
            )
        logits = np.empty((len(encodings.reads), self.model.head.out_features), dtype=np.float32)
        reads_before = encodings.cu_reads[encodings.cu_examples]
        lengths = encodings.example_lengths(np.arange(encodings.n_examples))
        running: tuple[Ints, Tensor] | None = None
        for examples in micro_batches(lengths, self.token_budget):
            batch = pack(encodings, examples).to(device)
            n_reads = counts(reads_before, examples)
            rows = ragged(reads_before[examples], n_reads)
            if vectors is None:
                # A GPU has its next batch before the CPU waits for the logits of this one.
                following = rows, self.model(batch)
                if running is not None:
                    logits[running[0]] = running[1].float().cpu().numpy()
                running = following
                continue
            x_RD = self.model.vectors(batch)
            logits[rows] = self.model.head(x_RD).float().cpu().numpy()
            vectors[examples] = segment_means(x_RD.float().cpu().numpy(), n_reads)
        if running is not None:
            logits[running[0]] = running[1].float().cpu().numpy()
        self.model.train(was_training)
        give_memory_back()
        return logits
