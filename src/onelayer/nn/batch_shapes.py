"""Batches of few shapes, so that a GPU can replay a recorded step instead of launching it again.

A batch gets more sequences, of tokens that no read of an example depends on, and more reads, which
have no part in the loss. So its loss and its gradients are the batch's own.
"""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import groupby

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from onelayer.nn.packed import Packed

LEAST_TOKENS, LEAST_SEQUENCES = 64, 8
"""Tokens and sequences are rounded up to a multiple of these. If they grow, more is computed for
nothing in small batches; if they shrink, there are more shapes."""
SHARE_OF_TOKENS, SHARE_OF_SEQUENCES = 16, 4
"""Above that, numbers are rounded up to a multiple of this share of the power of two below them:
at most a sixteenth of the tokens is added. A sequence more may cost a single token."""
LEAST_LONGEST = 512
"""Tokens of the longest sequence, as attention is told. A larger number hardly costs time, but
it is a part of the shape."""

Shape = tuple[tuple[int, ...] | int | None, ...]
"""The sizes of all tensors of a batch, and its longest sequence."""


def bucketed(batch: Packed, blank_target: float) -> Packed:
    """The batch in a shape that many batches share.

    Parameters
    ----------
    batch
        A batch on the CPU.
    blank_target
        The target of an added read; see ``Head.blank``.
    """
    tokens, sequences = len(batch.ids_T), len(batch.cu_seqlens) - 1
    all_sequences = _rounded(sequences + 1, LEAST_SEQUENCES, SHARE_OF_SEQUENCES)
    added = all_sequences - sequences
    # Each added sequence has a token at least: attention without keys is not defined everywhere.
    all_tokens = _rounded(tokens + added, LEAST_TOKENS, SHARE_OF_TOKENS)
    spare = all_tokens - tokens
    lengths = [spare // added + (i < spare % added) for i in range(added)]
    ends = tokens + torch.tensor(lengths).cumsum(0)

    reads, reads_S = len(batch.reads_R), batch.only_reads_S
    # A read of every token would be the most that there is; the layer that reads is small.
    all_reads = all_sequences if reads_S is not None else max(all_tokens, _power_of_two(reads))
    last = all_tokens - 1 if reads_S is None else all_sequences - 1
    # By numpy: torch would wake all its threads for it.
    group_ids = torch.from_numpy(np.repeat(np.arange(len(batch.groups)), batch.groups))
    targets = batch.targets
    return replace(
        batch,
        ids_T=F.pad(batch.ids_T, (0, spare)),
        segment_ids_T=F.pad(batch.segment_ids_T, (0, spare)),
        position_ids_T=F.pad(batch.position_ids_T, (0, spare)),
        cu_seqlens=torch.cat([batch.cu_seqlens, ends.to(batch.cu_seqlens.dtype)]),
        runs=(*batch.runs, *((len(list(run)), length) for length, run in groupby(lengths))),
        longest=_power_of_two(max(batch.longest, *lengths, LEAST_LONGEST)),
        only_reads_S=None if reads_S is None else F.pad(reads_S, (0, added), value=all_tokens - 1),
        reads_R=F.pad(batch.reads_R, (0, all_reads - reads), value=last),
        targets=None if targets is None else _longer(targets, all_reads, blank_target),
        is_real_R=torch.arange(all_reads) < reads,
        # There are no more groups than reads, so this number is free for the added reads, if any.
        group_ids_R=F.pad(group_ids, (0, all_reads - reads), value=len(batch.groups)),
    )


def shape_of(batch: Packed) -> Shape:
    """What two batches have to share to be computed by the same kernels: then only the numbers in
    their tensors differ."""
    values = (getattr(batch, field.name) for field in fields(batch))
    sizes = (tuple(x.shape) if isinstance(x, Tensor) else None for x in values)
    return (*sizes, batch.longest)


def _longer(targets: Tensor, reads: int, blank: float) -> Tensor:
    """(R, ...) targets with as many blank ones as are missing."""
    added = targets.new_full((reads - len(targets), *targets.shape[1:]), blank)
    return torch.cat([targets, added])


def _rounded(n: int, least: int, share: int) -> int:
    step = max(least, (1 << (n.bit_length() - 1)) // share)
    return -(-n // step) * step


def _power_of_two(n: int) -> int:
    return 1 << (n - 1).bit_length()
