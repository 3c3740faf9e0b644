"""A layer that learns another model's answers: the loss is a divergence, 0 where both agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Categorical, kl_divergence

from onelayer.nn.batch_shapes import bucketed
from onelayer.nn.heads import HEADS
from onelayer.nn.packed import Packed, pack
from support.encodings import LENGTHS, random_encodings

WIDTHS = {"value": 1, "span": 2, "option": 1}


def answered(head: str, seed: int = 0) -> tuple[Packed, torch.Tensor]:
    """A batch whose targets are logits of a teacher, and the logits of a student."""
    encodings = random_encodings(head, LENGTHS)
    shape = len(encodings.reads), WIDTHS.get(head, 3)
    rng = np.random.default_rng(seed)
    taught, own = (rng.normal(size=shape, scale=2).astype(np.float32) for _ in range(2))
    batch = pack(replace(encodings, targets=taught), np.arange(encodings.n_examples))
    return batch, torch.from_numpy(own)


def expected(head: str, batch: Packed, logits: torch.Tensor) -> torch.Tensor:
    """The sum of divergences, by torch's distributions."""
    gold = batch.gold
    if head == "value":
        return (gold - logits).square().sum()
    if head == "labels":
        return kl_divergence(Bernoulli(logits=gold), Bernoulli(logits=logits)).sum()
    if head in ("span", "option"):
        groups = zip(gold.split(batch.groups), logits.split(batch.groups), strict=True)
        total = sum(
            kl_divergence(Categorical(logits=p.T), Categorical(logits=q.T)).sum() for p, q in groups
        )
        return torch.as_tensor(total)
    return kl_divergence(Categorical(logits=gold), Categorical(logits=logits)).sum()


@pytest.mark.parametrize("name", HEADS)
def test_loss_is_the_divergence_from_the_teachers_answers(name: str) -> None:
    batch, logits = answered(name)
    head = HEADS[name].taught()
    torch.testing.assert_close(head.loss(logits, batch, None), expected(name, batch, logits))


@pytest.mark.parametrize("name", HEADS)
def test_equal_answers_have_no_loss(name: str) -> None:
    batch, _ = answered(name)
    loss = HEADS[name].taught().loss(batch.gold.clone(), batch, None)
    assert abs(float(loss)) < 1e-4


@pytest.mark.parametrize("name", HEADS)
def test_filled_batch_has_the_loss_of_its_own_reads(name: str) -> None:
    """A GPU gets batches of few shapes; what fills them has no part in the loss."""
    batch, logits = answered(name)
    head = HEADS[name].taught()
    filled = bucketed(batch, head.blank[1])
    more = torch.ones(len(filled.reads_R), logits.shape[1])
    more[: len(logits)] = logits
    torch.testing.assert_close(head.total_loss(more, filled, None), head.loss(logits, batch, None))
