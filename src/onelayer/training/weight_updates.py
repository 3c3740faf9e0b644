"""One step of the optimizer over the micro-batches of a batch, on any device."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from onelayer.nn.contrast import contrast
from onelayer.nn.heads import Head
from onelayer.nn.model import Model
from onelayer.nn.packed import Packed, pack
from onelayer.tokens.encodings import Encodings, Ints
from onelayer.tokens.packing import micro_batches
from onelayer.training.optimizer import Optimizer
from onelayer.training.ranks import ALONE, Ranks


def packed_parts(encodings: Encodings, examples: Ints, token_budget: int) -> list[Packed]:
    """The micro-batches of a batch, of at most ``token_budget`` tokens each."""
    lengths = encodings.example_lengths(examples)
    return [pack(encodings, examples[part]) for part in micro_batches(lengths, token_budget)]


def update_weights(
    network: nn.Module,
    head: Head,
    parts: Sequence[Packed],
    optimizer: Optimizer,
    max_norm: float,
    class_weights: Tensor | None,
    ranks: Ranks = ALONE,
) -> float:
    """One step of the optimizer over the micro-batches of a batch; returns the batch's loss, or its
    part of this process. On a GPU, `GpuSteps` does the same faster."""
    (weight,) = ranks.total(sum(head.weight(part, class_weights) for part in parts))
    if weight == 0:
        return 0.0  # windows whose words all belong to other windows
    device = next(network.parameters()).device

    def loss_of(part: Packed) -> Tensor:
        batch = part.to(device)
        return head.loss(network(batch), batch, class_weights) / weight

    losses = _add_gradients(parts, loss_of, optimizer)
    optimizer.sum_gradients(ranks)
    optimizer.step(max_norm)
    return float(sum(losses))


def draw_together(
    model: Model, head: Head, parts: Sequence[Packed], optimizer: Optimizer, max_norm: float
) -> float:
    """One step of the optimizer on the contrast among the texts of each micro-batch; returns the
    batch's loss. The output layer has no part in it."""
    n_reads = sum(len(part.reads_R) for part in parts)
    device, alike = model.head.weight.device, head.alike
    assert alike is not None, "a plan has contrast only where texts can be alike"

    def loss_of(part: Packed) -> Tensor:
        batch = part.to(device)
        x_RD = model.vectors(batch)
        return contrast(x_RD, alike(batch.gold)) * (len(x_RD) / n_reads)

    losses = _add_gradients(parts, loss_of, optimizer)
    optimizer.step(max_norm)
    return float(sum(losses))


def _add_gradients(
    parts: Sequence[Packed], loss_of: Callable[[Packed], Tensor], optimizer: Optimizer
) -> list[Tensor]:
    """Adds the gradients of micro-batches; returns their losses."""
    losses = []
    for part in parts:
        optimizer.apply_missed_steps(part.ids_T)
        loss = loss_of(part)
        loss.backward()
        losses.append(loss.detach())
    return losses
