"""The one new layer of each task, and its loss.

A head reads R vectors of the batch and gives each C numbers. Its loss is a *sum*, its ``weight``
the number that the sum is to be divided by: a batch that is worked through in several
micro-batches thereby has exactly the gradient of the whole. `uniform` and `divergence`, which
training may add to the loss, are sums to be divided by the same number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from onelayer.nn.packed import Packed

IGNORED = -100
"""The target of a vector that is read but not learned from."""


Sum = Callable[[Tensor, Packed, Tensor | None], Tensor]
"""(logits (R, C), batch, class weights) -> a sum over the batch."""


@dataclass(frozen=True, slots=True)
class Head:
    """How a layer is fed and judged."""

    architecture: str
    """The class of transformers that holds the same layer, written into ``config.json``."""
    pooled: bool
    """Whether the layer reads ``[CLS]`` through BERT's pooler."""
    dropped: bool
    """Whether dropout is applied to what the layer reads, as in transformers."""
    loss: Sum
    weight: Callable[[Packed, Tensor | None], float]
    """(batch, class weights) -> what a sum is divided by."""
    divergence: Sum
    """How far apart two passes are, for R-Drop; of a batch that holds each example twice."""
    uniform: Sum | None = None
    """The loss if every choice were as right as any other, for label smoothing; None where no
    choice is made."""
    prior: tuple[float, ...] | None = None
    """The biases that a new layer begins with; by default zeros, as in BERT."""


def _label_loss(logits: Tensor, batch: Packed, class_weights: Tensor | None) -> Tensor:
    return F.cross_entropy(
        logits, batch.gold, weight=class_weights, ignore_index=IGNORED, reduction="sum"
    )


def _label_weight(batch: Packed, class_weights: Tensor | None) -> float:
    learned = batch.gold[batch.gold != IGNORED]
    return float(len(learned) if class_weights is None else class_weights[learned].sum())


def _multi_label_loss(logits: Tensor, batch: Packed, class_weights: Tensor | None) -> Tensor:
    return F.binary_cross_entropy_with_logits(
        logits, batch.gold.to(logits.dtype), pos_weight=class_weights, reduction="sum"
    )


def _label_uniform(logits: Tensor, batch: Packed, class_weights: Tensor | None) -> Tensor:
    """Each class by its weight, as PyTorch smooths."""
    log_p_RC = logits[batch.gold != IGNORED].log_softmax(dim=1)
    weighted_RC = log_p_RC if class_weights is None else log_p_RC * class_weights
    return -weighted_RC.sum() / logits.shape[1]


def _value_loss(logits: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    return F.mse_loss(logits[:, 0], batch.gold, reduction="sum")


def _span_loss(logits: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    """Start and end are each chosen among the tokens read in one window; targets (R, 2) are
    distributions over them, shared by the answers that annotators gave."""
    return _choice_loss(logits, batch.gold, batch.groups) / 2


def _three_way_loss(logits: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    """Each token by itself: neither, start or end. A window's loss is the sum of its tokens'."""
    return -(batch.gold * logits.log_softmax(dim=1)).sum()


def _option_loss(logits: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    return _choice_loss(logits, batch.gold[:, None], batch.groups)


def _choice_loss(logits_RC: Tensor, targets_RC: Tensor, groups: tuple[int, ...]) -> Tensor:
    """Cross-entropy of choosing one of each group's reads, column by column."""
    log_p_RC = torch.cat([group.log_softmax(dim=0) for _, group in _grouped(logits_RC, groups)])
    return -(targets_RC * log_p_RC).sum()


def _span_uniform(logits: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    return _option_uniform(logits, batch, None) / 2


def _option_uniform(logits: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    return _choice_loss(logits, _even(logits, batch.groups), batch.groups)


def _even(logits: Tensor, groups: tuple[int, ...]) -> Tensor:
    """As the logits: what each of a group's reads gets of 1, shared evenly."""
    return torch.cat([group.new_full(group.shape, 1 / n) for n, group in _grouped(logits, groups)])


def _apart(p: Tensor, logits: Tensor) -> Tensor:
    """(R, C) expected values and logits of two passes, one after the other -> (R/2, C).

    R-Drop (Wu et al., 2021, equation 3) adds (KL(p ‖ q) + KL(q ‖ p)) / 2 to the loss of each pass;
    this is what both get together. The normalisers cancel: for a softmax, a sigmoid or a Gaussian
    the two divergences sum to the difference of expected values times that of logits.
    """
    p_1, p_2 = p.chunk(2)
    z_1, z_2 = logits.chunk(2)
    return (p_1 - p_2) * (z_1 - z_2)


def _label_divergence(logits: Tensor, batch: Packed, class_weights: Tensor | None) -> Tensor:
    gold = batch.gold.chunk(2)[0]
    learned = gold != IGNORED
    apart_R = _apart(logits.softmax(dim=1), logits).sum(dim=1)[learned]
    return (apart_R if class_weights is None else apart_R * class_weights[gold[learned]]).sum()


def _multi_label_divergence(logits: Tensor, _batch: Packed, _: Tensor | None) -> Tensor:
    return _apart(logits.sigmoid(), logits).sum()


def _value_divergence(logits: Tensor, _batch: Packed, _: Tensor | None) -> Tensor:
    """A squared error is twice a Gaussian's loss."""
    return 2 * _apart(logits, logits).sum()


def _span_divergence(logits: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    return _option_divergence(logits, batch, None) / 2


def _three_way_divergence(logits: Tensor, _batch: Packed, _: Tensor | None) -> Tensor:
    return _apart(logits.softmax(dim=1), logits).sum()


def _option_divergence(logits: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    p = torch.cat([group.softmax(dim=0) for _, group in _grouped(logits, batch.groups)])
    return _apart(p, logits).sum()


def _grouped(x: Tensor, groups: tuple[int, ...]) -> Iterator[tuple[int, Tensor]]:
    return zip(groups, torch.split(x, list(groups)), strict=True)


def _elements(batch: Packed, _: Tensor | None) -> float:
    return float(batch.gold.numel())


def _examples(batch: Packed, _: Tensor | None) -> float:
    return float(len(batch.groups))


_SEQUENCE = "BertForSequenceClassification"
_TOKENS = "BertForTokenClassification"

HEADS: dict[str, Head] = {
    "label": Head(
        _SEQUENCE,
        True,
        True,
        loss=_label_loss,
        weight=_label_weight,
        divergence=_label_divergence,
        uniform=_label_uniform,
    ),
    "labels": Head(
        _SEQUENCE,
        True,
        True,
        loss=_multi_label_loss,
        weight=_elements,
        divergence=_multi_label_divergence,
    ),
    "value": Head(
        _SEQUENCE, True, True, loss=_value_loss, weight=_elements, divergence=_value_divergence
    ),
    "tags": Head(
        _TOKENS,
        False,
        True,
        loss=_label_loss,
        weight=_label_weight,
        divergence=_label_divergence,
        uniform=_label_uniform,
    ),
    "span": Head(
        "BertForQuestionAnswering",
        False,
        False,
        loss=_span_loss,
        weight=_examples,
        divergence=_span_divergence,
        uniform=_span_uniform,
    ),
    # One token of some 150 begins an answer. From zeros a small learning rate would spend the run
    # on finding that out (Lin et al., 2017, section 4.1, begin their rare class in the same way).
    "three-way": Head(
        _TOKENS,
        False,
        True,
        loss=_three_way_loss,
        weight=_examples,
        divergence=_three_way_divergence,
        prior=(0.0, -5.0, -5.0),
    ),
    "option": Head(
        "BertForMultipleChoice",
        True,
        True,
        loss=_option_loss,
        weight=_examples,
        divergence=_option_divergence,
        uniform=_option_uniform,
    ),
}
