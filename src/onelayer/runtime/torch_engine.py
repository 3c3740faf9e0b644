"""The engine of runs that were not exported."""

from __future__ import annotations

import ctypes
import sys

import numpy as np
import torch

from onelayer.nn.model import Model
from onelayer.nn.packed import pack
from onelayer.tasks.base import Logits
from onelayer.text.encoding import Encodings, counts, ragged
from onelayer.text.packing import micro_batches


def best_device() -> torch.device:
    """A GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class TorchEngine:
    """Runs a model in micro-batches of at most ``token_budget`` tokens."""

    name = "torch"

    def __init__(self, model: Model, token_budget: int = 8192) -> None:
        self.model = model
        self.token_budget = token_budget

    @torch.inference_mode()
    def logits(self, encodings: Encodings) -> Logits:
        was_training = self.model.training
        self.model.eval()
        device = self.model.head.weight.device
        logits = np.empty((len(encodings.reads), self.model.head.out_features), dtype=np.float32)
        reads_before = encodings.cu_reads[encodings.cu_examples]
        lengths = encodings.example_lengths(np.arange(encodings.n_examples))
        for examples in micro_batches(lengths, self.token_budget):
            batch = pack(encodings, examples).to(device)
            rows = ragged(reads_before[examples], counts(reads_before, examples))
            logits[rows] = self.model(batch).float().cpu().numpy()
        self.model.train(was_training)
        _give_back()
        return logits


def _give_back() -> None:
    """Returns freed memory to the system. Batches of ever new shapes leave holes in the heap that
    glibc keeps: the memory of a long evaluation would creep up all the way."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)
