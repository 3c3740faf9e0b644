"""The supervised contrastive loss (Khosla et al., 2020): texts with the same label, or with numbers
that are near, are drawn together, others are pushed apart.

With few rows a new layer alone can separate them without any help from the encoder, and then the
encoder learns nothing. This loss has no layer that could do the work for it.

Shape suffixes: R vectors of a batch, D model width, C outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

TEMPERATURE = 0.1
"""Cosines are divided by it. If it shrinks, only the nearest texts count."""
NEAR = 0.5
"""How far apart two numbers may be, in standard deviations of all, to be alike. If it grows, texts
whose numbers differ are drawn together; if it shrinks, few texts have any like them."""


def contrast(x_RD: Tensor, alike_RR: Tensor) -> Tensor:
    """The mean cross-entropy of finding, among a batch's other texts, those that are alike.

    Parameters
    ----------
    x_RD
        The vectors that the output layer reads.
    alike_RR
        How alike two targets are, from 0 to 1. A row that is like no other has no part.
    """
    z_RD = F.normalize(x_RD, dim=1)
    itself = torch.eye(len(z_RD), dtype=torch.bool, device=z_RD.device)
    # A number instead of infinity: zero times infinity, below, would not be a number.
    cosines_RR = (z_RD @ z_RD.T / TEMPERATURE).masked_fill(itself, -1e9)
    wanted_RR = alike_RR.to(z_RD.dtype).masked_fill(itself, 0.0)
    sums_R = wanted_RR.sum(dim=1)
    losses_R = -(wanted_RR * cosines_RR.log_softmax(dim=1)).sum(dim=1) / sums_R.clamp_min(1e-9)
    return losses_R.sum() / (sums_R > 0).sum().clamp_min(1)


def same_class(targets_R: Tensor) -> Tensor:
    """(R,) class numbers -> (R, R): 1 where they are equal."""
    return (targets_R[:, None] == targets_R[None]).float()


def shared_classes(targets_RC: Tensor) -> Tensor:
    """(R, C) whether a row has a class -> (R, R): the share of two rows' classes that both have
    (Jaccard's index)."""
    t_RC = targets_RC.float()
    both_RR = t_RC @ t_RC.T
    counts_R = t_RC.sum(dim=1)
    return both_RR / (counts_R[:, None] + counts_R[None] - both_RR).clamp_min(1.0)


def near(targets_R: Tensor) -> Tensor:
    """(R,) numbers of mean 0 and deviation 1 -> (R, R): a bell curve of their distance."""
    distance_RR = targets_R[:, None] - targets_R[None]
    return (-0.5 * (distance_RR / NEAR).square()).exp()
