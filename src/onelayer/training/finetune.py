"""One call from a labelled file to a run directory: what is decided before the first step."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.base import digest
from onelayer.base.errors import UsageError
from onelayer.checkpoint import read as checkpoints
from onelayer.checkpoint.build import Built, build, with_positions
from onelayer.checkpoint.read import Checkpoint
from onelayer.checkpoint.source import resolve
from onelayer.data.layout import Layout
from onelayer.evaluation.report.write_report import NAME, write_report
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor, is_run
from onelayer.recipe import Recipe
from onelayer.tasks import TASKS, AnyTask
from onelayer.tasks.labelled import open_labelled, read_labelled
from onelayer.tokens.encodings import Encodings
from onelayer.training.dataset import Data, Source, read_data
from onelayer.training.loop import Reporter
from onelayer.training.optimizer import freeze
from onelayer.training.precision import quicker_precision, remarks_on_paths
from onelayer.training.progress import Silent
from onelayer.training.resume import (
    Saved,
    States,
    differences,
    is_unfinished,
    open_run,
    refuse_taken,
)
from onelayer.training.run import Files, Run, Said
from onelayer.training.several import Several, close_several, open_several

Show = Callable[[Predictor], None]

MIN_STEPS = 600
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
    data, layout, folder = _read(train_file, dev, recipe, said)
    files, prepared = Files.of(train_file, dev), said.remarks

    def show(predictor: Predictor) -> None:
        _show(predictor, data.dev, files, said)

    def one(
        recipe: Recipe,
        out: str | Path | None,
        resume: bool | None = None,
        show: Show = lambda _: None,
    ) -> Predictor:
        said = Said(reporter or Silent(), list(prepared))
        identity = _identity(data.key, dev, recipe, folder)
        states, saved = open_run(train_file, out, identity, resume, said.reporter.say)
        try:
            predictor = _run(files, data, layout, recipe, said, show, states, saved).train()
        finally:
            states.release()
        _say_pooling(predictor, data.dev, said)
        return predictor

    if recipe.seeds == 1:
        return one(recipe, out, resume, show)
    identity = _identity(data.key, dev, recipe, folder)
    target = open_several(train_file, out, identity, resume)
    try:
        return Several(one, target, said.reporter.say, show).run(recipe)
    except BaseException:
        close_several(target)
        raise


def _read(
    train_file: str | Path, dev: str | Path | None, recipe: Recipe, said: Said
) -> tuple[Data, Layout, Path]:
    """The rows, how the file's columns are read, and where the pretrained model lies."""
    kind, layout, table = open_labelled(train_file, recipe, said.say)
    dev_rows = None
    if dev is not None:
        _, _, dev_rows = read_labelled(dev, recipe, said.say, kind=kind, layout=layout)
    # Its weights are not kept: each run has a copy of its own.
    checkpoint = _checkpoint(recipe)
    if recipe.positions is not None:
        said.say(f"{recipe.positions} positions, interpolated between the trained ones")
    limit = checkpoint.config.max_position_embeddings
    _check_length(recipe, kind, limit)
    source = Source(kind, layout, table, recipe, checkpoint.tokenizer, limit, splits=dev is None)
    data = read_data(source, said.say, said.reporter)
    if dev_rows is not None:
        said.say(f"{len(data.encodings):,} rows to train on, {len(dev_rows):,} dev rows")
        data = replace(data, dev=dev_rows)
        for row in dev_rows:
            data.seen.see(kind.texts(row))
    return data, layout, checkpoint.folder


def _checkpoint(recipe: Recipe) -> Checkpoint:
    checkpoint = checkpoints.read(resolve(recipe.model))
    return checkpoint if recipe.positions is None else with_positions(checkpoint, recipe.positions)


def _run(
    files: Files,
    data: Data,
    layout: Layout,
    recipe: Recipe,
    said: Said,
    show: Show,
    states: States,
    saved: Saved | None,
) -> Run:
    """All that is left to decide before the first step."""
    task, checkpoint = data.task, _checkpoint(recipe)
    recipe = Recipe.from_json(saved.recipe) if saved else _settle(recipe, data, checkpoint, said)
    said.say(task.summary)
    # With labels, too: one that only dev has is refused now, not after the first epoch.
    dev_encodings = task.encode(data.dev, checkpoint.tokenizer, labelled=True)
    _say_read(data.encodings, said)
    prior = _prior(data.encodings, recipe)
    built = _built(checkpoint, task, recipe, recipe.seed, prior)
    _say_built(built, checkpoint, task, said)
    for remark in remarks_on_paths(checkpoint.config, recipe.precision or "fp32"):
        said.say(remark)
    if saved:
        _say_resumed(saved, said)
    checkpoint = replace(checkpoint, encoder={}, head={})  # the model has its own copy of them
    return Run(
        target=states.target,
        files=files,
        recipe=recipe,
        layout=layout,
        data=data,
        dev_encodings=dev_encodings,
        checkpoint=checkpoint,
        task=task,
        built=built,
        rebuild=lambda seed: _built(_checkpoint(recipe), task, recipe, seed, prior),
        said=said,
        show=show,
        states=states,
        saved=saved,
    )


def _built(
    checkpoint: Checkpoint, task: AnyTask, recipe: Recipe, seed: int, prior: list[float] | None
) -> Built:
    built = build(checkpoint, task, seed=seed, prior=prior)
    freeze(built.model, recipe.freeze)
    return built


def _identity(key: str, dev: str | Path | None, recipe: Recipe, model: Path) -> str:
    """A digest of a command: of its data, recipe and model."""
    weights = sorted(path for path in model.iterdir() if path.suffix in (".safetensors", ".bin"))
    files = [(path.name, digest.of_file(path)) for path in (model / "config.json", *weights)]
    parts = [key, dev and digest.of_file(dev), recipe.to_json(), files]
    return digest.of_text(json.dumps(parts))


def _check_length(recipe: Recipe, kind: type[AnyTask], limit: int) -> None:
    if recipe.max_length is not None and recipe.max_length > limit:
        raise UsageError(
            f"--max-length {recipe.max_length}: the model has {limit} positions",
            hint=f"--positions {recipe.max_length} extends it",
        )
    if recipe.long == "truncate" and not kind.may_truncate:
        others = " and ".join(name for name, other in TASKS.items() if other.may_truncate)
        raise UsageError(
            f"--long truncate: {kind.name} has one way to read long texts",
            hint=f"leave it out; it is for {others}",
        )


def _settle(recipe: Recipe, data: Data, checkpoint: Checkpoint, said: Said) -> Recipe:
    """Fills in what the user left open, and says so once."""
    chosen: dict[str, Any] = {"task": data.task.name}
    if recipe.epochs is None:
        steps_per_epoch = math.ceil(data.encodings.n_examples / recipe.batch_size)
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


def _prior(encodings: Encodings, recipe: Recipe) -> list[float] | None:
    """The log-odds of each label where a row may have several: biases that a new layer begins
    with. From zeros, all logits are first pushed down through the pooler, which small models don't
    soon recover from: after an epoch of 10,000 goemotions rows the micro F1 was 0.00, and 0.44 from
    here (all labels at 0.5)."""
    targets = encodings.targets
    if targets is None or targets.dtype != np.bool_ or recipe.class_weights:
        return None  # weighted, labels are as frequent as not
    present = (targets.sum(axis=0) + 1.0) / (len(targets) + 2.0)
    return list(np.log(present / (1.0 - present)).tolist())


def _say_read(encodings: Encodings, said: Said) -> None:
    if encodings.n_examples > len(encodings):
        said.say(f"{len(encodings):,} rows are read in {encodings.n_examples:,} windows")
    if encodings.cut.tokens:
        said.say(f"warning: {encodings.cut}")


def _say_pooling(predictor: Predictor, dev: Sequence[Any], said: Said) -> None:
    """How the dev rows had long texts read, and what that leaves unread of them."""
    task = predictor.task
    if task.decided_on_dev is None:
        return
    said.reporter.say(task.decided_on_dev)
    cut = task.encode(dev, predictor.tokenizer, labelled=False).cut
    if cut.tokens:
        said.reporter.say(f"warning: on dev {cut}")


def _show(predictor: Predictor, dev: Sequence[Any], files: Files, said: Said) -> None:
    """Writes the report on the dev rows. No run is lost for a picture that can't be drawn."""
    assert predictor.path is not None
    file = files.dev.name if files.dev else f"{files.train.name}, kept as dev"
    try:
        write_report(predictor, dev, file, predictor.path / NAME)
    except Exception as error:
        said.reporter.say(f"warning: no {NAME}: {error}")


def _say_built(built: Built, checkpoint: Checkpoint, task: AnyTask, said: Said) -> None:
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
