"""One call from a labelled file to a run directory: what is decided before the first step."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from onelayer.checkpoint import load as checkpoints
from onelayer.checkpoint.build import Built, build, with_positions
from onelayer.checkpoint.load import Checkpoint
from onelayer.checkpoint.source import resolve
from onelayer.errors import Place, UsageError
from onelayer.recipe import Recipe
from onelayer.runtime.predictor import Predictor
from onelayer.tasks import Task
from onelayer.tasks.files import open_labelled, read_labelled
from onelayer.text.encoding import Encodings
from onelayer.train.data import Data, Source, read_data
from onelayer.train.loop import Reporter
from onelayer.train.optimizer import freeze
from onelayer.train.precision import quicker_precision, remark_on_paths
from onelayer.train.progress import Silent
from onelayer.train.run import Run, Said

MIN_STEPS = 300
MOST_EPOCHS = 20


def finetune(
    train_file: str | Path,
    *,
    dev: str | Path | None = None,
    out: str | Path | None = None,
    recipe: Recipe | None = None,
    reporter: Reporter | None = None,
    **choices: Any,
) -> Predictor:
    """Fine-tunes a pretrained BERT on a labelled file and returns the best model, saved.

    Parameters
    ----------
    train_file
        csv, tsv, jsonl, parquet, CoNLL, CoNLL-U or SQuAD JSON.
    dev
        A labelled file that chooses the best checkpoint; by default a tenth of the rows.
    out
        The run's directory, which must not hold anything yet; by default a new one below `runs/`.
    recipe, choices
        A `Recipe`, or its fields as keyword arguments.

    Raises DataError, UsageError and CheckpointError, before anything is written.
    """
    recipe = replace(recipe or Recipe(), **choices)
    said = Said(reporter or Silent())
    target = _target(train_file, out)
    kind, layout, table = open_labelled(train_file, recipe, said.say)
    dev_rows = None
    if dev is not None:
        _, _, dev_rows = read_labelled(dev, recipe, said.say, kind=kind, layout=layout)
    checkpoint = checkpoints.read(resolve(recipe.model))
    if recipe.positions is not None:
        checkpoint = with_positions(checkpoint, recipe.positions)
        said.say(f"{recipe.positions} positions, interpolated between the trained ones")
    limit = checkpoint.config.max_position_embeddings
    _check_length(recipe, limit)
    tokenizer = checkpoint.tokenizer
    source = Source(kind, layout, table, recipe, tokenizer, limit, splits=dev is None)
    data = read_data(source, said.say, said.reporter)
    if dev_rows is not None:
        said.say(f"{len(data.encodings):,} rows to train on, {len(dev_rows):,} dev rows")
        data = replace(data, dev=dev_rows)
        for row in dev_rows:
            data.seen.see(kind.texts(row))
    recipe = _settle(recipe, data, checkpoint, said)
    said.say(data.task.summary)
    # With labels, too: one that only dev has is refused now, not after the first epoch.
    dev_encodings = data.task.encode(data.dev, tokenizer, labelled=True)
    _say_cut(data.encodings, said)
    built = build(checkpoint, data.task, seed=recipe.seed)
    _say_built(built, checkpoint, data.task, said)
    if remark := remark_on_paths(checkpoint.config, recipe.precision or "fp32"):
        said.say(remark)
    freeze(built.model, recipe.freeze)
    checkpoint = replace(checkpoint, encoder={}, head={})  # the model has its own copy of them
    run = Run(target, Path(train_file), recipe, layout, data, checkpoint, data.task, built, said)
    return run.train(data.encodings, dev_encodings)


def _target(train_file: str | Path, out: str | Path | None) -> Path:
    """Where the run goes. Raises UsageError for a place that already holds something."""
    if out is not None:
        target = Path(out)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UsageError(
                "already holds a run" if (target / "config.json").is_file() else "is not empty",
                place=Place(str(out)),
                hint="choose another --out, or remove it first",
            )
        return target
    path = Path(train_file)
    own = path.stem if path.stem not in ("train", "training") else path.absolute().parent.name
    stem = re.sub(r"[^\w.-]+", "-", own).strip("-.") or "run"
    return next(place for n in count(1) if not (place := Path("runs") / f"{stem}-{n}").exists())


def _check_length(recipe: Recipe, limit: int) -> None:
    if recipe.max_length is not None and recipe.max_length > limit:
        raise UsageError(
            f"--max-length {recipe.max_length}: the model has {limit} positions",
            hint=f"--positions {recipe.max_length} extends it",
        )


def _settle(recipe: Recipe, data: Data, checkpoint: Checkpoint, said: Said) -> Recipe:
    """Fills in what the user left open, and says so once."""
    chosen: dict[str, Any] = {"task": data.task.name}
    if recipe.epochs is None:
        steps_per_epoch = math.ceil(len(data.encodings) / recipe.batch_size)
        chosen["epochs"] = min(MOST_EPOCHS, max(3, math.ceil(MIN_STEPS / steps_per_epoch)))
    if recipe.lr is None:
        chosen["lr"] = float(f"{3e-5 * 768 / checkpoint.config.hidden_size:.2g}")
    if recipe.precision is None:
        chosen["precision"] = quicker_precision(checkpoint.config, said.say)
    settled = replace(recipe, **chosen)
    said.say(
        f"model = {recipe.model}, epochs = {settled.epochs:g}, lr = {settled.lr:g}, "
        f"batch size = {settled.batch_size}, seed = {settled.seed}"
    )
    return settled


def _say_cut(encodings: Encodings, said: Said) -> None:
    cut = encodings.cut
    if cut.tokens:
        share = cut.tokens / (cut.tokens + len(encodings.ids))
        said.say(
            f"warning: the length limit cuts {cut.tokens:,} tokens ({share:.1%}) of "
            f"{cut.rows:,} of {len(encodings):,} rows"
        )


def _say_built(built: Built, checkpoint: Checkpoint, task: Task, said: Said) -> None:
    total = sum(p.numel() for p in built.model.parameters())
    new = sum(p.numel() for p in built.model.head.parameters())
    if built.kept_head:
        said.say(f"{total:,} parameters; the checkpoint's output layer has the same labels: kept")
    else:
        shape = f"{checkpoint.config.hidden_size} → {len(task.outputs)}"
        said.say(f"{total:,} parameters, of which {new:,} in one new layer ({shape})")
    if not built.kept_pooler:
        said.say("the checkpoint has no pooler: drawn anew")
    if checkpoint.left_out:
        said.say(f"left out, as only pretraining used it: {len(checkpoint.left_out)} tensors")
    if checkpoint.head and not built.kept_head:
        said.say("the checkpoint's own output layer is for other labels: left out")
