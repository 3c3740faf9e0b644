"""One call from a labelled file to a run directory."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import onelayer
from onelayer.checkpoint import load as checkpoints
from onelayer.checkpoint.build import PROBLEM_TYPES, Built, build, state_to_save, with_positions
from onelayer.checkpoint.card import CardFacts, model_card
from onelayer.checkpoint.load import Checkpoint
from onelayer.checkpoint.save import publish, write_checkpoint
from onelayer.checkpoint.source import hub_name, resolve
from onelayer.errors import Place, UsageError
from onelayer.metrics import Scorer, intervals
from onelayer.nn.heads import HEADS, IGNORED
from onelayer.plain import finite
from onelayer.recipe import Recipe
from onelayer.runtime.load import load
from onelayer.runtime.predictor import Predictor
from onelayer.runtime.torch_engine import TorchEngine
from onelayer.tasks import Task, task_to_json
from onelayer.text.coverage import coverage
from onelayer.text.encoding import Encodings
from onelayer.train.data import Data, read_data
from onelayer.train.loop import History, Reporter, train
from onelayer.train.optimizer import freeze
from onelayer.train.progress import Silent

MIN_STEPS = 300
MOST_EPOCHS = 20
COVERAGE_SAMPLE = 500


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
    said = _Said(reporter or Silent())
    target = _target(train_file, out)
    data = read_data(train_file, dev, recipe, said.say)
    checkpoint = checkpoints.read(resolve(recipe.model))
    if recipe.positions is not None:
        checkpoint = with_positions(checkpoint, recipe.positions)
        said.say(f"{recipe.positions} positions, interpolated between the trained ones")
    recipe = _settle(recipe, data, checkpoint, said)
    task = data.kind.fit(
        data.train, checkpoint.tokenizer, recipe, checkpoint.config.max_position_embeddings
    )
    _warn_of_vocabulary(data, checkpoint, said)
    encodings = task.encode(data.train, checkpoint.tokenizer, labelled=True)
    # With labels, too: one that only dev has is refused now, not after the first epoch.
    dev_encodings = task.encode(data.dev, checkpoint.tokenizer, labelled=True)
    _say_cut(encodings, said)
    built = build(checkpoint, task, seed=recipe.seed)
    _say_built(built, checkpoint, task, said)
    freeze(built.model, recipe.freeze)
    run = _Run(target, Path(train_file), recipe, data, checkpoint, task, built, said)
    return run.train(encodings, dev_encodings)


class _Said:
    """Passes remarks on and remembers them for ``onelayer.json``."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter
        self.remarks: list[str] = []

    def say(self, remark: str) -> None:
        self.remarks.append(remark)
        self.reporter.say(remark)


@dataclass(slots=True)
class _Run:
    """A run in progress: all that evaluating and saving it needs."""

    target: Path
    train_file: Path
    recipe: Recipe
    data: Data
    checkpoint: Checkpoint
    task: Task
    built: Built
    said: _Said
    scorer: Scorer | None = None

    def train(self, encodings: Encodings, dev_encodings: Encodings) -> Predictor:
        model = self.built.model
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        engine = TorchEngine(model, self.recipe.token_budget)

        def evaluate() -> dict[str, float]:
            logits = engine.logits(dev_encodings)
            self.task = self.task.tune(self.data.dev, dev_encodings, logits)
            predictions = self.task.decode(self.data.dev, dev_encodings, logits)
            self.scorer = self.task.score(self.data.dev, predictions)
            return self.scorer()

        reserved = _reserve(self.target)
        try:
            history = train(
                model,
                self.task.head,
                encodings,
                self.recipe,
                metric=self.task.metric,
                evaluate=evaluate,
                keep=self.save,
                reporter=self.said.reporter,
                class_weights=self._class_weights(encodings),
            )
        except BaseException:
            self.said.reporter.finish()
            if reserved and not any(self.target.iterdir()):
                self.target.rmdir()
            raise
        rate = history.progress.tokens_per_second
        self.said.say(
            f"{history.progress.step:,} steps, {history.progress.tokens:,} tokens in "
            f"{history.progress.seconds:,.0f} s ({rate:,.0f} tokens/s); best after step "
            f"{history.best_step:,}"
        )
        return load(self.target)

    def save(self, scores: dict[str, float], history: History) -> None:
        """Publishes the model as it now is, with all that is known of it."""
        state, task = state_to_save(self.built.model, self.task)
        head = HEADS[task.head]
        named = task.head in ("label", "labels", "tags", "three-way")
        labels = list(task.outputs) if named else None
        bounds = intervals(self.scorer) if self.scorer is not None else {}
        card = model_card(self._facts(scores, bounds, labels))
        record = self._record(task, scores, bounds, history)

        def write(folder: Path) -> None:
            write_checkpoint(
                folder,
                config=self.checkpoint.config,
                state=state,
                architecture=head.architecture,
                labels=labels,
                problem_type=PROBLEM_TYPES.get(task.head),
                tokenizer=self.checkpoint.tokenizer,
                onelayer=record,
                card=card,
            )

        publish(self.target, write)

    def _record(
        self,
        task: Task,
        scores: dict[str, float],
        bounds: dict[str, tuple[float, float]],
        history: History,
    ) -> dict[str, Any]:
        parameters = list(self.built.model.parameters())
        record = {
            "format": 1,
            "onelayer": onelayer.__version__,
            "task": task_to_json(task),
            "layout": self.data.layout.to_json(),
            "recipe": self.recipe.to_json(),
            "choices": self.said.remarks,
            "data": {
                "train": self.train_file.name,
                "train_rows": len(self.data.train),
                "dev_rows": len(self.data.dev),
            },
            "parameters": {
                "all": sum(p.numel() for p in parameters),
                "trained": sum(p.numel() for p in parameters if p.requires_grad),
                "new": sum(p.numel() for p in self.built.model.head.parameters())
                * (not self.built.kept_head),
            },
            "dev": {"scores": scores, "intervals": bounds},
            "history": {
                "best_step": history.best_step,
                "losses": [round(loss, 6) for loss in history.losses],
                "evaluations": history.evaluations,
                "progress": dataclasses.asdict(history.progress),
            },
        }
        return dict(finite(record))

    def _facts(
        self,
        scores: dict[str, float],
        bounds: dict[str, tuple[float, float]],
        labels: list[str] | None,
    ) -> CardFacts:
        return CardFacts(
            name=self.target.name,
            task=self.task.name,
            architecture=HEADS[self.task.head].architecture,
            base_model=self.recipe.model,
            hub_name=hub_name(self.recipe.model),
            data=self.train_file.name,
            rows={"train": len(self.data.train), "dev": len(self.data.dev)},
            labels=labels,
            scores=scores,
            intervals=bounds,
        )

    def _class_weights(self, encodings: Encodings) -> Tensor | None:
        """n / (classes × count) for one label; for several, how often each is absent per once
        present, as positive weights."""
        if not self.recipe.class_weights:
            return None
        targets = encodings.targets
        assert targets is not None
        if self.task.head not in ("label", "labels", "tags"):
            raise UsageError("--class-weights is for tasks with classes: classify and tag")
        if targets.dtype == np.bool_:
            present = targets.sum(axis=0)
            weights = (len(targets) - present) / np.maximum(present, 1)
        else:
            learned = targets[targets != IGNORED]
            counts = np.bincount(learned.astype(np.int64), minlength=len(self.task.outputs))
            weights = len(learned) / (len(counts) * np.maximum(counts, 1))
        device = self.built.model.head.weight.device
        return torch.tensor(weights, dtype=torch.float32, device=device)


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


def _reserve(target: Path) -> bool:
    """Makes the directory, so that no other run takes the name; says whether it was made now."""
    if target.is_dir():
        return False
    target.mkdir(parents=True)
    return True


def _settle(recipe: Recipe, data: Data, checkpoint: Checkpoint, said: _Said) -> Recipe:
    """Fills in what the user left open, and says so once."""
    limit = checkpoint.config.max_position_embeddings
    if recipe.max_length is not None and recipe.max_length > limit:
        raise UsageError(
            f"--max-length {recipe.max_length}: the model has {limit} positions",
            hint=f"--positions {recipe.max_length} extends it",
        )
    chosen: dict[str, Any] = {"task": data.kind.name}
    if recipe.epochs is None:
        steps_per_epoch = math.ceil(len(data.train) / recipe.batch_size)
        chosen["epochs"] = min(MOST_EPOCHS, max(3, math.ceil(MIN_STEPS / steps_per_epoch)))
    if recipe.lr is None:
        chosen["lr"] = float(f"{3e-5 * 768 / checkpoint.config.hidden_size:.2g}")
    settled = replace(recipe, **chosen)
    said.say(
        f"model = {recipe.model}, epochs = {settled.epochs:g}, lr = {settled.lr:g}, "
        f"batch size = {settled.batch_size}, seed = {settled.seed}"
    )
    return settled


def _warn_of_vocabulary(data: Data, checkpoint: Checkpoint, said: _Said) -> None:
    step = max(1, len(data.train) // COVERAGE_SAMPLE)
    texts = [text for row in data.train[::step] for text in data.kind.texts(row)]
    found = coverage(checkpoint.tokenizer, texts)
    if found.poor:
        said.say("warning: " + found.advice())


def _say_cut(encodings: Encodings, said: _Said) -> None:
    cut = encodings.cut
    if cut.tokens:
        share = cut.tokens / (cut.tokens + len(encodings.ids))
        said.say(
            f"warning: the length limit cuts {cut.tokens:,} tokens ({share:.1%}) of "
            f"{cut.rows:,} of {len(encodings):,} rows"
        )


def _say_built(built: Built, checkpoint: Checkpoint, task: Task, said: _Said) -> None:
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
