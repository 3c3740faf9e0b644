"""The new output layer of each kind of task, and its loss.

A head reads R vectors of the batch and gives C numbers for each. Its loss is a *sum*, and
``weight`` the number to divide the sum by. So a batch that is computed in several micro-batches
has exactly the gradient of the whole batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from onelayer.nn.contrast import near, same_class, shared_classes
from onelayer.nn.packed import Packed

IGNORED = -100
"""The target of a vector that is read but has no part in the loss."""


Targets = NDArray[np.generic]
Floats = NDArray[np.float64]
Sum = Callable[[Tensor, Packed, Tensor | None], Tensor]
"""(logits (R, C), batch, class weights) -> a sum over the batch."""


@dataclass(frozen=True, slots=True)
class FewRows:
    """How a layer learns best from few training examples."""

    lr: float
    """The peak learning rate, as a multiple of the usual one."""
    practice: float = 0.0
    """The share of the steps that also practise on examples made of the rows' texts."""
    practice_examples: int = 100
    """With more examples there is no practice: it takes as long as they do."""
    steps: int = 600
    """Steps that a run should have."""
    batch_size: int = 8
    """Labelled examples of a step. With fewer, an epoch has more steps for the same tokens."""
    examples: int = 1000
    """Up to this many are few."""


@dataclass(frozen=True, slots=True)
class Head:
    """What an output layer reads, and its loss."""

    form: str
    """The part after ``For`` in the names of transformers' classes with this layer."""
    pooled: bool
    """Whether the layer reads ``[CLS]`` through BERT's pooler."""
    dropped: bool
    """Whether dropout is applied to what the layer reads, as in transformers."""
    loss: Sum
    weight: Callable[[Packed, Tensor | None], float]
    """(batch, class weights) -> what the loss's sum is divided by."""
    divergence: Sum
    """The loss of a batch whose targets are another model's (R, C) logits: 0 where they agree."""
    problem_type: str | None = None
    """transformers' name for the loss, where its class has several losses."""
    classes: Literal["one", "several"] | None = None
    """Whether a read vector has one class or several; None if the task has no classes."""
    balance: Callable[[Targets, int], Floats] | None = None
    """(targets, number of outputs) -> weights (C,) that make all classes count the same; None if
    the task has no classes."""
    alike: Callable[[Tensor], Tensor] | None = None
    """Targets of R texts -> (R, R) from 0 to 1, how alike two are, for `contrast`; None if the
    targets aren't those of single texts."""
    named: bool = False
    """Whether the outputs have names, which ``config.json`` and the model card list."""
    prior: tuple[float, ...] | None = None
    """The initial biases of a new layer; by default zeros, as in BERT."""
    frequencies: Callable[[Targets, int], Floats] | None = None
    """(targets, number of outputs) -> initial biases (C,) that say how frequent each class is; None
    if the layer learns that soon enough from zeros."""
    few_rows: FewRows | None = None
    """None if few rows are learned from as many are."""
    squared: bool = False
    """Whether the loss is the squared error."""
    blank: tuple[float, float] = (0.0, 0.0)
    """A logit and a target that have no loss together: those of a read that only fills a batch."""

    def taught(self) -> Head:
        """The same layer for targets (R, C) that are the logits of a trained model: it learns to
        answer as that model does (Hinton et al., 2015, at temperature 1)."""
        among_reads = self.weight is _examples
        weight = _examples if among_reads else _reads
        return replace(self, loss=self.divergence, weight=weight, blank=(0.0, 0.0))

    def total_loss(self, logits: Tensor, batch: Packed, class_weights: Tensor | None) -> Tensor:
        """The loss's sum over a batch's own reads."""
        if batch.is_real_R is not None:
            logits = logits.where(batch.is_real_R[:, None], self.blank[0])
        return self.loss(logits, batch, class_weights)


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


def _label_balance(targets: Targets, n_classes: int) -> Floats:
    """n / (classes x count): each class has the same weight in the loss, however rare it is."""
    learned = targets[targets != IGNORED]
    counts = np.bincount(learned.astype(np.int64), minlength=n_classes)
    return np.asarray(len(learned) / (n_classes * np.maximum(counts, 1)))


def _multi_label_balance(targets: Targets, _: int) -> Floats:
    """How often each label is absent for each time it is present: its weight where it is."""
    present = targets.sum(axis=0)
    return np.asarray((len(targets) - present) / np.maximum(present, 1))


def _log_odds(targets: Targets, _: int) -> Floats:
    """Each class's log-odds. With zeros the first steps push all logits down through the pooler,
    and small models need long to recover: on 10,000 rows of goemotions the micro F1 after one epoch
    was 0.00 with zeros, and 0.44 with these (every threshold at 0.5)."""
    # With one added row of each kind (Laplace), so that no class has a bias of infinity.
    present = (targets.sum(axis=0) + 1.0) / (len(targets) + 2.0)
    return np.asarray(np.log(present / (1.0 - present)))


def _log_shares(targets: Targets, n_classes: int) -> Floats:
    """The log of each class's share. Nine words of ten are outside of entities. From zeros, a model
    with few rows needs the whole run to learn that."""
    learned = targets[targets != IGNORED].astype(np.int64)
    counts = np.bincount(learned, minlength=n_classes) + 1.0
    return np.asarray(np.log(counts / counts.sum()))


def _value_loss(logits: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    return F.mse_loss(logits[:, 0], batch.gold, reduction="sum")


def _span_loss(logits: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    """The mean cross-entropy of choosing start and end among the tokens read in a window. Targets
    (R, 2) are distributions: several annotated answers share the probability."""
    return _choice_loss(logits, batch.gold, batch) / 2


def _three_way_loss(logits: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    """The cross-entropy of each token by itself, which is neither, start or end; a window's loss is
    the sum over its tokens."""
    return -(batch.gold * logits.log_softmax(dim=1)).sum()


def _option_loss(logits: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    return _choice_loss(logits, batch.gold[:, None], batch)


def _choice_loss(logits_RC: Tensor, targets_RC: Tensor, batch: Packed) -> Tensor:
    """The cross-entropy of choosing one read of each group, in each column."""
    # The softmax goes over a group's reads and not over the outputs of a read.
    if batch.group_ids_R is not None:
        return -(targets_RC * log_softmax_of_groups(logits_RC, batch.group_ids_R)).sum()
    log_p_RC = torch.cat([one.log_softmax(dim=0) for one in logits_RC.split(batch.groups)])
    return -(targets_RC * log_p_RC).sum()


def log_softmax_of_groups(logits_RC: Tensor, ids_R: Tensor) -> Tensor:
    """(R, C) the log-softmax over the reads with the same id, in each column. Ids are below R."""
    ids_RC = ids_R[:, None].expand_as(logits_RC)
    # Without its largest logit a group's sum can't overflow.
    largest = torch.full_like(logits_RC, -torch.inf)
    largest = largest.scatter_reduce(0, ids_RC, logits_RC.detach(), "amax")
    shifted_RC = logits_RC - largest.gather(0, ids_RC)
    sums = torch.zeros_like(logits_RC).scatter_add(0, ids_RC, shifted_RC.exp())
    return shifted_RC - sums.gather(0, ids_RC).log()


def _label_divergence(logits_RC: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    """The sum over the reads of the Kullback-Leibler divergence of the probabilities of classes."""
    log_p_RC, log_q_RC = batch.gold.log_softmax(dim=1), logits_RC.log_softmax(dim=1)
    return (log_p_RC.exp() * (log_p_RC - log_q_RC)).sum()


def _multi_label_divergence(logits_RC: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    """The same for classes that are each present or absent."""
    p_RC = batch.gold.sigmoid()
    present_RC = F.logsigmoid(batch.gold) - F.logsigmoid(logits_RC)
    absent_RC = F.logsigmoid(-batch.gold) - F.logsigmoid(-logits_RC)
    return (p_RC * present_RC + (1 - p_RC) * absent_RC).sum()


def _value_divergence(logits: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    return F.mse_loss(logits, batch.gold, reduction="sum")


def _choice_divergence(logits_RC: Tensor, batch: Packed, _: Tensor | None) -> Tensor:
    """The same for the choice of one read of each group, in each column."""
    if batch.group_ids_R is not None:
        log_p_RC = log_softmax_of_groups(batch.gold, batch.group_ids_R)
    else:
        log_p_RC = torch.cat([one.log_softmax(dim=0) for one in batch.gold.split(batch.groups)])
    p_RC = log_p_RC.exp()
    return _choice_loss(logits_RC, p_RC, batch) + (p_RC * log_p_RC).sum()


def _reads(batch: Packed, _: Tensor | None) -> float:
    return float(len(batch.gold))


def _elements(batch: Packed, _: Tensor | None) -> float:
    return float(batch.gold.numel())


def _examples(batch: Packed, _: Tensor | None) -> float:
    return float(len(batch.groups))


_SEQUENCE = "SequenceClassification"
_TOKENS = "TokenClassification"

HEADS: dict[str, Head] = {
    "label": Head(
        _SEQUENCE,
        pooled=True,
        dropped=True,
        loss=_label_loss,
        weight=_label_weight,
        divergence=_label_divergence,
        problem_type="single_label_classification",
        classes="one",
        balance=_label_balance,
        alike=same_class,
        named=True,
        blank=(0.0, IGNORED),
    ),
    "labels": Head(
        _SEQUENCE,
        pooled=True,
        dropped=True,
        loss=_multi_label_loss,
        weight=_elements,
        divergence=_multi_label_divergence,
        problem_type="multi_label_classification",
        classes="several",
        balance=_multi_label_balance,
        alike=shared_classes,
        named=True,
        # Against "no", a logit of 0 would have a loss, and one that is low enough has none.
        blank=(-1e4, 0.0),
        frequencies=_log_odds,
    ),
    "value": Head(
        _SEQUENCE,
        pooled=True,
        dropped=True,
        loss=_value_loss,
        weight=_elements,
        divergence=_value_divergence,
        problem_type="regression",
        alike=near,
        squared=True,
        # On 500 rows of STS-B five epochs of this were as good as twenty of the usual steps.
        few_rows=FewRows(lr=2.0, steps=160, batch_size=16),
    ),
    "tags": Head(
        _TOKENS,
        pooled=False,
        dropped=True,
        loss=_label_loss,
        weight=_label_weight,
        divergence=_label_divergence,
        classes="one",
        balance=_label_balance,
        named=True,
        blank=(0.0, IGNORED),
        frequencies=_log_shares,
        few_rows=FewRows(lr=3.3),
    ),
    "span": Head(
        "QuestionAnswering",
        pooled=False,
        dropped=False,
        loss=_span_loss,
        weight=_examples,
        divergence=_choice_divergence,
        few_rows=FewRows(lr=3.3, practice=2 / 3, steps=200),
    ),
    # One token in about 150 begins an answer. From zeros, a small learning rate would need the
    # whole run to learn that (Lin et al., 2017, section 4.1, do the same for their rare class).
    "three-way": Head(
        _TOKENS,
        pooled=False,
        dropped=True,
        loss=_three_way_loss,
        weight=_examples,
        divergence=_label_divergence,
        named=True,
        prior=(0.0, -5.0, -5.0),
        few_rows=FewRows(lr=3.3, practice=2 / 3, steps=200),
    ),
    "option": Head(
        "MultipleChoice",
        pooled=True,
        dropped=True,
        loss=_option_loss,
        weight=_examples,
        divergence=_choice_divergence,
        few_rows=FewRows(lr=1.7, practice=2 / 3, practice_examples=200, steps=100),
    ),
}
