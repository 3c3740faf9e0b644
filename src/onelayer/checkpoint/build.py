"""Builds a task's model from a checkpoint, and gives its weights for saving."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from onelayer.checkpoint.read import Checkpoint, extend_positions
from onelayer.nn.heads import HEADS, Head
from onelayer.nn.model import Model
from onelayer.tasks import AnyTask
from onelayer.tasks.protocol import Unit


@dataclass(frozen=True, slots=True)
class Built:
    """A model for a task, and which parts of it are the checkpoint's."""

    model: Model
    kept_head: bool
    kept_pooler: bool
    pooler: str | None
    """The name in files of the dense layer that the output layer reads through, if it does."""
    other_head: bool
    """Whether the checkpoint has an output layer for something else."""
    left_out: Sequence[str]
    """The checkpoint's tensors that only pretraining used."""


def build_model(
    checkpoint: Checkpoint,
    task: AnyTask,
    *,
    seed: int = 0,
    prior: Sequence[float] | None = None,
) -> Built:
    """Builds the encoder with its pretrained weights, and the task's output layer.

    The checkpoint's layer is kept if it is for the same labels, in any order. Otherwise a new one
    is drawn, as the config's ``initializer_range`` says.

    Parameters
    ----------
    checkpoint
        The pretrained or fine-tuned model.
    task
        Its labels, its head, and the unit of its numbers.
    seed
        Decides the new layer's weights.
    prior
        The new layer's initial biases; by default those of the head.
    """
    head = HEADS[task.head]
    family = checkpoint.config.family
    target = family.classes[family.class_for(head.form)]
    model = Model(
        checkpoint.config,
        head,
        pooler_shape=target.pooler_shape if target.pooler else None,
        n_outputs=len(task.outputs),
        head_dropout=checkpoint.config.head_dropout,
    )
    state = {
        name if name.startswith("pooler.") else f"encoder.{name}": tensor
        for name, tensor in pretrained_state(checkpoint, head).items()
    }
    generator = torch.Generator().manual_seed(seed)
    std = checkpoint.config.initializer_range
    kept_pooler = not target.pooler or "pooler.weight" in state
    if not kept_pooler:
        assert model.pooler is not None
        new = {f"pooler.{name}": tensor for name, tensor in model.pooler.state_dict().items()}
        new["pooler.weight"].normal_(0.0, std, generator=generator)
        if "pooler.bias" in new:
            new["pooler.bias"].zero_()
        state |= new
    kept = _matching_head(checkpoint, task)
    if kept is None:
        width, n_outputs = checkpoint.config.hidden_size, len(task.outputs)
        drawn = torch.empty(n_outputs, width).normal_(0.0, std, generator=generator)
        prior = prior or head.prior or (0.0,) * n_outputs
        state |= {"head.weight": drawn, "head.bias": torch.tensor(prior)}
    else:
        state |= kept
    model.load_state_dict(state)
    other_head = kept is None and bool(checkpoint.head)
    return Built(
        model,
        kept_head=kept is not None,
        kept_pooler=kept_pooler,
        pooler=target.pooler,
        other_head=other_head,
        left_out=checkpoint.left_out,
    )


def pretrained_state(checkpoint: Checkpoint, head: Head) -> dict[str, Tensor]:
    """The checkpoint's weights that a model with this head starts from, by the names of
    `state_of`."""
    family = checkpoint.config.family
    pooler = family.classes[family.class_for(head.form)].pooler or ""
    return checkpoint.encoder | checkpoint.poolers.get(pooler.removeprefix(family.prefix), {})


def _matching_head(checkpoint: Checkpoint, task: AnyTask) -> dict[str, Tensor] | None:
    """The checkpoint's layer with outputs in the task's order; None if it is for something else."""
    head = HEADS[task.head]
    if not checkpoint.head or checkpoint.form != head.form:
        return None
    weight, bias = checkpoint.head["head.weight"], checkpoint.head["head.bias"]
    if len(bias) != len(task.outputs):
        return None
    problem = checkpoint.problem_type or HEADS["label"].problem_type
    if head.problem_type and problem != head.problem_type:
        return None
    if not head.named:
        # The layer in files gives numbers in the labels' unit; training needs mean 0, deviation 1.
        mean, deviation = task.unit
        return {"head.weight": weight / deviation, "head.bias": (bias - mean) / deviation}
    order = _order(checkpoint.labels, task.outputs)
    return None if order is None else {"head.weight": weight[order], "head.bias": bias[order]}


def _order(theirs: Sequence[str] | None, ours: Sequence[str]) -> list[int] | None:
    """The position of each of our labels among theirs; None if the labels differ."""
    if theirs is None or sorted(theirs) != sorted(ours):
        return None
    return [theirs.index(label) for label in ours]


@contextmanager
def as_saved(model: Model, task: AnyTask) -> Iterator[AnyTask]:
    """Changes the model, during the ``with`` block, to the form that is saved. Yields the task that
    decodes this form.

    A regression is trained on numbers of mean 0 and deviation 1. In files, mean and deviation are
    part of its output layer, so that every reader gets numbers in the labels' unit.
    """
    if task.unit == Unit():
        yield task
        return
    weight, bias = model.head.weight.detach(), model.head.bias.detach()
    learned = weight.clone(), bias.clone()
    mean, deviation = task.unit
    weight.mul_(deviation)
    bias.mul_(deviation).add_(mean)
    try:
        yield task.without_unit()
    finally:
        weight.copy_(learned[0])
        bias.copy_(learned[1])


def named_outputs(task: AnyTask) -> list[str] | None:
    """The outputs' names for ``config.json`` and the model card; None if they have none."""
    return list(task.outputs) if HEADS[task.head].named else None


def state_of(model: Model) -> dict[str, Tensor]:
    """The model's weights by the names that ``checkpoint.weights`` uses."""
    return {
        name.removeprefix("encoder."): tensor.detach()
        for name, tensor in model.state_dict().items()
    }


def with_positions(checkpoint: Checkpoint, n: int) -> Checkpoint:
    """The checkpoint with ``n`` positions, those between the trained ones interpolated."""
    name = "embeddings.position.weight"
    first = checkpoint.config.bricks.first_position
    config = replace(checkpoint.config, max_position_embeddings=first + n)
    unused, trained = checkpoint.encoder[name].tensor_split([first])
    positions = torch.cat([unused, extend_positions(trained, n)])
    return replace(checkpoint, config=config, encoder={**checkpoint.encoder, name: positions})
