"""The schedule of a run, as far as the user leaves it open: what the layer reads of a text, steps
of contrast, epochs, and the learning rate."""

from __future__ import annotations

import math
from dataclasses import replace

from onelayer.base.errors import UsageError
from onelayer.checkpoint.mean_layer import pools_mean
from onelayer.checkpoint.read import Description
from onelayer.nn.heads import Head
from onelayer.recipe import Read, Recipe
from onelayer.training.sampler import CONTRAST_BATCH

MIN_STEPS = 600
"""Steps that a run should have. With few rows it gets more epochs, until there are as many."""
MIN_EPOCHS, MAX_EPOCHS = 3, 20
"""Bounds of the number of epochs that is chosen. With more a model learns the rows by heart."""
FEW_EXAMPLES = 400
"""Up to this many, contrast and a layer fitted in closed form are better than epochs."""
CONTRAST_EPOCHS = 20
MIN_CONTRAST, MAX_CONTRAST = 40, 80
"""Bounds of the number of steps of contrast that is chosen."""


def with_schedule(recipe: Recipe, head: Head, base: Description, n_examples: int) -> Recipe:
    """The recipe with its whole schedule. Raises UsageError for choices that don't fit the task."""
    if not head.pooled and recipe.read is not None:
        raise UsageError(
            f"--read {recipe.read}: {recipe.task} reads the vectors of tokens, not of a text",
            hint="leave it out",
        )
    if head.alike is None and recipe.contrast:
        raise UsageError(
            f"--contrast {recipe.contrast}: texts of {recipe.task} have no classes in common",
            hint="leave it out; it is for classify",
        )
    read = recipe.read or _read(head, base)
    contrast = recipe.contrast
    if contrast is None:
        is_few = n_examples <= FEW_EXAMPLES and recipe.epochs is None
        contrasts = is_few and head.alike is not None and read == "mean"
        contrast = _contrast(n_examples) if contrasts else 0
    epochs = recipe.epochs
    if epochs is None:
        epochs = 0 if contrast else _epochs(n_examples, recipe.batch_size)
    if not epochs and not contrast:
        raise UsageError(
            "--epochs 0: nothing is trained", hint="leave it out, or add --contrast 40"
        )
    # 3e-5 is usual for BERT-base, which is 768 wide. Narrower models need a higher rate.
    usual = float(f"{3e-5 * 768 / base.config.hidden_size:.2g}")
    lr = recipe.lr or (4 * usual if contrast else usual)
    return replace(recipe, read=read, contrast=contrast, epochs=epochs, lr=lr)


def _read(head: Head, base: Description) -> Read | None:
    if not head.pooled:
        return None
    return "mean" if pools_mean(base.folder) else "cls"


def _contrast(n_examples: int) -> int:
    steps = math.ceil(CONTRAST_EPOCHS * n_examples / CONTRAST_BATCH)
    return min(MAX_CONTRAST, max(MIN_CONTRAST, steps))


def _epochs(n_examples: int, batch_size: int) -> float:
    epochs = math.ceil(MIN_STEPS / math.ceil(n_examples / batch_size))
    return min(MAX_EPOCHS, max(MIN_EPOCHS, epochs))
