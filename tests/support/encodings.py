"""Random encodings, and encodings in the form that transformers takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from onelayer.nn.heads import IGNORED
from onelayer.tokens.encodings import Encodings, EncodingsBuilder

LENGTHS = [7, 4, 9, 4, 7, 12, 4, 5, 9]
"""Sequence lengths: ragged, unordered, most of them repeated."""
N_OPTIONS = 3


def random_encodings(head: str, lengths: Sequence[int], seed: int = 0) -> Encodings:
    """Sequences of random tokens, with the read positions and targets of the head's task."""
    rng = np.random.default_rng(seed)
    builder = EncodingsBuilder()
    for i, length in enumerate(lengths):
        if head != "option" or i % N_OPTIONS == 0:
            builder.start_row()
        first = int(rng.integers(1, length))
        reads = {
            "tags": sorted(rng.choice(length, size=length // 2, replace=False).tolist()),
            "span": [0, *range(first, length)],
            "three-way": list(range(first, length)),
        }.get(head, [0])
        builder.add(rng.integers(5, 90, size=length).tolist(), first, reads)
    encodings = builder.build(examples_are_rows=head == "option")
    return replace(encodings, targets=random_targets(head, encodings, rng))


def random_targets(
    head: str, encodings: Encodings, rng: np.random.Generator
) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    n = len(encodings.reads)
    if head == "labels":
        return rng.random((n, 3)) < 0.5
    if head == "value":
        return rng.normal(size=n).astype(np.float32)
    if head == "three-way":  # two annotators, who may differ
        votes = np.eye(3, dtype=np.float32)[rng.integers(3, size=(2, n))]
        return np.asarray(votes.mean(axis=0), dtype=np.float32)
    if head in ("span", "option"):
        bounds = encodings.cu_reads[encodings.cu_examples]
        columns = 2 if head == "span" else 1
        targets = np.zeros((n, columns), dtype=np.float32)
        for column in range(columns):
            targets[rng.integers(bounds[:-1], bounds[1:]), column] = 1.0
        return targets if head == "span" else targets[:, 0]
    targets = rng.integers(3, size=n)
    if head == "tags":
        targets[::4] = IGNORED
    return targets


def padded(
    encodings: Encodings, examples: np.ndarray
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Some examples as a padded batch for transformers, and their targets."""
    starts, ends = encodings.cu_seqlens[examples], encodings.cu_seqlens[examples + 1]
    ids = [
        torch.from_numpy(encodings.ids[start:end].astype(np.int64))
        for start, end in zip(starts, ends, strict=True)
    ]
    assert encodings.targets is not None
    inputs = {
        "input_ids": pad_sequence(ids, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(x) for x in ids], batch_first=True),
    }
    return inputs, torch.from_numpy(encodings.targets[examples])
