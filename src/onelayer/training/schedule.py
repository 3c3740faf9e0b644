"""The schedule of a run, as far as the user leaves it open: what the layer reads of a text, steps
of contrast, practice, batch size, epochs, and the learning rate."""

from __future__ import annotations

import math
from dataclasses import replace

from onelayer.base.errors import UsageError
from onelayer.checkpoint.compare_layer import gives_comparison
from onelayer.checkpoint.mean_layer import gives_mean, is_tuned, reads_mean
from onelayer.checkpoint.read import Description
from onelayer.nn.heads import Head
from onelayer.recipe import Read, Recipe
from onelayer.tokens.encodings import Encodings
from onelayer.training.folds import MAX_ROWS_FOR_FOLDS
from onelayer.training.sampler import CONTRAST_BATCH

BATCH_SIZE = 32
"""Examples of a step, unless few rows need smaller steps."""
MIN_STEPS = 600
"""Steps that a run should have. With few rows it gets more epochs, until there are as many."""
MIN_EPOCHS, MAX_EPOCHS = 3, 20
"""Bounds of the number of epochs that is chosen. With more a model learns the rows by heart."""
FEW_EXAMPLES = 8_000
"""Up to this many texts, contrast and a layer fitted in closed form are better than epochs."""
FEW_RATED_PAIRS = 4_000
"""Below this many pairs with numbers, their texts are compared. On 1,000 and 3,000 pairs of STS-B
that was better than epochs from ``[CLS]``, and took less time for 3,000; more were not tried."""


def with_schedule(recipe: Recipe, head: Head, base: Description, encodings: Encodings) -> Recipe:
    """The recipe with its whole schedule. Raises UsageError for choices that don't fit the task."""
    if not head.pooled and recipe.read is not None:
        raise UsageError(
            f"--read {recipe.read}: {recipe.task} reads the vectors of tokens, not of a text",
            hint="leave it out",
        )
    if head.alike is None and recipe.contrast:
        raise UsageError(
            f"--contrast {recipe.contrast}: texts of {recipe.task} have no labels in common",
            hint="leave it out; it is for classify and regress",
        )
    if recipe.freeze == "encoder" and recipe.contrast:
        raise UsageError(
            f"--freeze encoder: --contrast {recipe.contrast} trains nothing else",
            hint="leave one of them out",
        )
    if recipe.practice and not (head.few_rows and head.few_rows.practice):
        raise UsageError(
            f"--practice {recipe.practice:g}: {recipe.task} has nothing to practise on",
            hint="leave it out; it is for answer and choose",
        )
    n_examples = encodings.n_examples
    if recipe.read in ("mean", "both") and is_tuned(base):
        raise UsageError(
            f"--read {recipe.read}: {recipe.model} is fine-tuned already, to what its layer reads",
            hint="leave it out",
        )
    if recipe.read == "mean" and not gives_mean(base.config):
        raise UsageError(
            f"--read mean: one more layer of {base.config.family.title} doesn't give the mean",
            hint="leave it out",
        )
    if recipe.read == "both":
        _check_both(recipe, head, base, encodings)
    read = recipe.read or _read(recipe, head, base, encodings)
    contrast, epochs = recipe.contrast, recipe.epochs
    if contrast is None:
        contrasts = read == "mean" and head.alike is not None and epochs is None
        contrasts = contrasts and recipe.freeze != "encoder"
        contrast = _contrast(n_examples) if contrasts else 0
    few = head.few_rows if head.few_rows and n_examples <= head.few_rows.examples else None
    batch_size = recipe.batch_size or (few.batch_size if few else BATCH_SIZE)
    practice = recipe.practice
    if practice is None:
        practice = few.practice if few and n_examples <= few.practice_examples else 0.0
    if epochs is None:
        steps = few.steps if few else MIN_STEPS
        epochs = _epochs_after(n_examples) if contrast else _epochs(n_examples, batch_size, steps)
        if read == "both":
            epochs = 0  # on 320 pairs of STS-B three epochs took back five of 77 points
    if not epochs and not contrast and read != "both":
        hint = "leave it out, or add --contrast 30"
        raise UsageError("--epochs 0: nothing is trained", hint=hint)
    # 3e-5 is usual for BERT-base, which is 768 wide. Narrower models need a higher rate.
    usual = float(f"{3e-5 * 768 / base.config.hidden_size:.2g}")
    times = few.lr if few and not contrast else 1
    return replace(
        recipe,
        read=read,
        contrast=contrast,
        practice=practice,
        batch_size=batch_size,
        epochs=epochs,
        lr=recipe.lr or float(f"{times * usual:.2g}"),
    )


def method_of(recipe: Recipe) -> list[str]:
    """What else than epochs the schedule of a completed recipe has, in words."""
    found = []
    if recipe.read == "mean":
        found.append(
            "the layer reads the mean of all token vectors, through one more layer of BERT"
        )
    if recipe.read == "both":
        found.append(
            "the model first learns from itself to keep the two texts of a pair apart, without "
            "labels; the layer reads a comparison of their means, through one more layer of BERT, "
            "and is fitted in closed form"
        )
    if recipe.contrast:
        together = "whose numbers are near" if recipe.task == "regress" else "of one label"
        found.append(
            f"{recipe.contrast} steps draw texts {together} together; then the weights are "
            "averaged with the pretrained ones, or are these again if that failed, and the layer "
            "is fitted in closed form"
        )
    if recipe.practice:
        found.append(
            f"{recipe.practice:.0%} of the steps also practise on examples made of the rows' texts"
        )
    return found


def steps_of(recipe: Recipe, n_examples: int) -> int:
    """The steps of a run whose schedule has no open choices."""
    assert recipe.epochs is not None, "a completed plan has no open choices"
    assert recipe.batch_size is not None
    return (recipe.contrast or 0) + round(recipe.epochs * math.ceil(n_examples / recipe.batch_size))


def _read(recipe: Recipe, head: Head, base: Description, encodings: Encodings) -> Read | None:
    """Few single texts: the mean, where the base was pretrained to it or has no pooler for
    ``[CLS]``. Few pairs, fewer with labels than with numbers: both means, compared; not where the
    user wants epochs, or weights to stay as they are.

    The mean of a pair tells what both are about, and not what they are to each other. With many
    rows ``[CLS]`` learns as much, and reading it takes less time.
    """
    if not head.pooled:
        return None
    if encodings.n_examples > FEW_EXAMPLES or not reads_mean(base):
        return "cls"
    if not encodings.has_pairs:
        return "mean"
    chooses = head.form == "MultipleChoice"
    if recipe.epochs is not None or recipe.freeze != "none" or chooses:
        return "cls"
    few = len(encodings) < (FEW_RATED_PAIRS if head.squared else MAX_ROWS_FOR_FOLDS)
    return "both" if few and _why_not_both(base, encodings) is None else "cls"


def _check_both(recipe: Recipe, head: Head, base: Description, encodings: Encodings) -> None:
    if head.form == "MultipleChoice":
        raise UsageError(
            "--read both: an option is chosen among others, not compared with its context",
            hint="leave it out",
        )
    if problem := _why_not_both(base, encodings):
        raise UsageError(f"--read both: {problem}", hint="leave it out")
    if recipe.contrast:
        raise UsageError(
            f"--read both: --contrast {recipe.contrast} needs single texts",
            hint="leave one of them out",
        )
    if recipe.freeze != "none":
        raise UsageError(
            f"--read both: it teaches layers that --freeze {recipe.freeze} keeps as they are",
            hint="leave one of them out",
        )


def _why_not_both(base: Description, encodings: Encodings) -> str | None:
    """Why the two texts of a row can't be compared; None if they can."""
    if not (encodings.second_at < encodings.lengths).all():
        return "not every row has two texts"
    if base.tokenizer.template.second_segment != 1 or not gives_comparison(base.config):
        return "this kind of model doesn't tell the two texts of a pair apart"
    return None


def _contrast(n_examples: int) -> int:
    """Twenty epochs up to 60 steps, then five up to 320. With fewer, emotions are told apart less
    well; with more, eight rows a label gain nothing, and each fold costs as many."""
    steps_per_epoch = n_examples / CONTRAST_BATCH
    return math.ceil(max(30, min(60, 20 * steps_per_epoch), min(320, 5 * steps_per_epoch)))


def _epochs_after(n_examples: int) -> float:
    """None while the rows are cross-validated. With more there are dev rows to tell whether epochs
    are better than the contrast before them: they are where a text's topic says nothing (CoLA)."""
    return 0 if n_examples < MAX_ROWS_FOR_FOLDS else MIN_EPOCHS


def _epochs(n_examples: int, batch_size: int, steps: int) -> float:
    epochs = math.ceil(steps / math.ceil(n_examples / batch_size))
    return min(MAX_EPOCHS, max(MIN_EPOCHS, epochs))
