"""One call from a labelled file to a run directory: what is decided before the first step."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

from onelayer import digest
from onelayer.checkpoint import load as checkpoints
from onelayer.checkpoint.build import Built, build, with_positions
from onelayer.checkpoint.load import Checkpoint
from onelayer.checkpoint.source import resolve
from onelayer.errors import UsageError
from onelayer.recipe import Recipe
from onelayer.runtime.load import load
from onelayer.runtime.predictor import Predictor, is_run
from onelayer.tasks import Task
from onelayer.tasks.base import Layout
from onelayer.tasks.files import open_labelled, read_labelled
from onelayer.text.encoding import Encodings
from onelayer.train.data import Data, Source, read_data
from onelayer.train.loop import Reporter
from onelayer.train.optimizer import freeze
from onelayer.train.precision import quicker_precision, remark_on_paths
from onelayer.train.progress import Silent
from onelayer.train.resume import (
    Saved,
    States,
    differences,
    is_unfinished,
    open_run,
    refuse_taken,
)
from onelayer.train.run import Run, Said

MIN_STEPS = 300
MOST_EPOCHS = 20


def finetune(
    train_file: str | Path,
    *,
    dev: str | Path | None = None,
    out: str | Path | None = None,
    recipe: Recipe | None = None,
    resume: bool | None = None,
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
    resume
        Whether to go on with an unfinished run of the same data, recipe and model: True insists,
        False begins anew; by default where there is one.
    recipe, choices
        A `Recipe`, or its fields as keyword arguments.

    Raises DataError, UsageError and CheckpointError, before anything is written.
    """
    recipe = replace(recipe or Recipe(), **choices)
    said = Said(reporter or Silent())
    if out is not None and not is_unfinished(Path(out)):
        if resume and is_run(out):
            said.reporter.say(f"{out} is finished: there is nothing left to do")
            return load(out)
        refuse_taken(Path(out))
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
    source = Source(kind, layout, table, recipe, checkpoint.tokenizer, limit, splits=dev is None)
    data = read_data(source, said.say, said.reporter)
    if dev_rows is not None:
        said.say(f"{len(data.encodings):,} rows to train on, {len(dev_rows):,} dev rows")
        data = replace(data, dev=dev_rows)
    identity = _identity(data.key, dev, recipe, checkpoint.folder)
    states, saved = open_run(train_file, out, identity, resume, said.reporter.say)
    try:
        files = Path(train_file), None if dev is None else Path(dev)
        run = _run(files, data, layout, recipe, checkpoint, said, states, saved)
        return run.train()
    finally:
        states.release()


def _run(
    files: tuple[Path, Path | None],
    data: Data,
    layout: Layout,
    recipe: Recipe,
    checkpoint: Checkpoint,
    said: Said,
    states: States,
    saved: Saved | None,
) -> Run:
    """All that is left to decide before the first step."""
    task = data.task
    recipe = Recipe.from_json(saved.recipe) if saved else _settle(recipe, data, checkpoint, said)
    said.say(task.summary)
    # With labels, too: one that only dev has is refused now, not after the first epoch.
    dev_encodings = task.encode(data.dev, checkpoint.tokenizer, labelled=True)
    _say_cut(data.encodings, said)
    built = build(checkpoint, task, seed=recipe.seed)
    _say_built(built, checkpoint, task, said)
    if remark := remark_on_paths(checkpoint.config, recipe.precision or "fp32"):
        said.say(remark)
    freeze(built.model, recipe.freeze)
    if saved:
        _say_resumed(saved, said)
    checkpoint = replace(checkpoint, encoder={}, head={})  # the model has its own copy of them
    return Run(
        target=states.target,
        train_file=files[0],
        dev_file=files[1],
        recipe=recipe,
        layout=layout,
        data=data,
        dev_encodings=dev_encodings,
        checkpoint=checkpoint,
        task=task,
        built=built,
        said=said,
        digests={
            f"{name}_sha256": digest.of_file(path)
            for name, path in zip(("train", "dev"), files, strict=True)
            if path is not None
        },
        states=states,
        saved=saved,
    )


def _identity(key: str, dev: str | Path | None, recipe: Recipe, model: Path) -> str:
    """A digest of a command: of its data, recipe and model."""
    weights = sorted(path for path in model.iterdir() if path.suffix in (".safetensors", ".bin"))
    files = [(path.name, digest.of_file(path)) for path in (model / "config.json", *weights)]
    parts = [key, dev and digest.of_file(dev), recipe.to_json(), files]
    return digest.of_text(json.dumps(parts))


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


def _say_resumed(saved: Saved, said: Said) -> None:
    said.reporter.say(f"goes on after step {saved.step:,}")
    if changed := differences(saved):
        said.reporter.say(f"warning: not as it was, so the last digits may differ: {changed}")
    said.remarks = list(saved.remarks)
