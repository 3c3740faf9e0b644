"""The plan of a run: all that is decided before the first step.

It needs the labelled files, and the config and tokenizer of the pretrained model, but no weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.base import digest
from onelayer.base.errors import UsageError
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.default_model import SAMPLE_ROWS, model_for
from onelayer.checkpoint.read import Description, check_positions, describe, digests_of
from onelayer.checkpoint.source import resolve
from onelayer.data.equal_texts import split_key
from onelayer.data.in_memory import Source, source_digest, source_name
from onelayer.data.layout import Layout
from onelayer.data.table import Table
from onelayer.engines.native.native_tokenizer import with_quick_splitter
from onelayer.nn.heads import HEADS, Head
from onelayer.recipe import Recipe
from onelayer.tasks import TASKS, AnyTask
from onelayer.tasks.labelled import first_texts, open_labelled, read_labelled
from onelayer.tokens.encodings import Encodings, Ints, joined
from onelayer.training.dataset import TrainingData, TrainingSource, read_data
from onelayer.training.descriptions import COPIES, read_descriptions
from onelayer.training.lessons import Lessons
from onelayer.training.precision import faster_precision
from onelayer.training.progress import Reporter
from onelayer.training.remarks import Remarks
from onelayer.training.schedule import method_of, with_schedule
from onelayer.training.two_texts import Taught


@dataclass(frozen=True, slots=True)
class Files:
    """The labelled files or tables of a run, and their digests."""

    train: Source
    dev: Source | None
    """None where dev rows are split off the training file."""
    digests: Mapping[str, str]
    """SHA-256 by role: ``train``, ``dev`` and ``describe``."""

    @classmethod
    def of(cls, train: Source, dev: Source | None, described: Source | None = None) -> Files:
        given = (("train", train), ("dev", dev), ("describe", described))
        digests = {role: source_digest(source) for role, source in given if source is not None}
        return cls(train, dev, digests)

    @property
    def train_name(self) -> str:
        return source_name(self.train)

    @property
    def dev_name(self) -> str | None:
        return None if self.dev is None else source_name(self.dev)

    def scored_name(self, n_folds: int) -> str:
        """What the rows are called on which the model is scored."""
        if n_folds:
            return f"{self.train_name}, cross-validated in {n_folds} folds"
        return self.dev_name or f"{self.train_name}, kept as dev"

    def places(self) -> dict[str, str | None]:
        """Where they are on this machine; None for a table in memory."""
        return {
            role: str(Path(source).resolve()) if isinstance(source, (str, Path)) else None
            for role, source in (("train", self.train), ("dev", self.dev))
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that several seeds of a command share, and the recipe of one of them."""

    files: Files
    layout: Layout
    data: TrainingData
    scored_encodings: Encodings
    """Of the dev rows; with folds, of all rows. They have all that decoding needs, unlike those on
    the disk."""
    base: Description
    """The pretrained model."""
    descriptions: Encodings | None = None
    """Descriptions of labels, which are learned like rows."""
    lessons: Lessons | None = None
    """A trained model's answers, which are learned in place of labels."""
    base_digests: Mapping[str, str]
    """SHA-256 of the base's config and weights, by file name."""
    class_weights: NDArray[np.float32] | None
    recipe: Recipe
    remarks: tuple[str, ...]
    """What the user has been told so far."""
    taught: Taught = field(default_factory=Taught)
    """For ``--read both``: what all of the plan's models begin with."""

    @property
    def task(self) -> AnyTask:
        return self.data.task

    @property
    def identity(self) -> str:
        """A digest of the command: of its data, recipe and model."""
        others = [self.files.digests.get(role) for role in ("dev", "describe")]
        base = list(self.base_digests.items())
        parts = [self.data.key, others, self.recipe.to_json(), base]
        if self.lessons is not None:
            parts.append(self.lessons.digest)
        return digest.of_text(json.dumps(parts))

    @property
    def head(self) -> Head:
        """The output layer, with the loss for what is learned from."""
        head = HEADS[self.task.head]
        return head if self.lessons is None else head.taught()

    @property
    def learned(self) -> Encodings:
        """The encodings of all that is learned from: rows and descriptions of labels, or
        lessons."""
        if self.lessons is not None:
            return self.lessons.in_unit_of(self.task).encodings
        if self.descriptions is None:
            return self.data.encodings
        return joined([self.data.encodings, *[self.descriptions] * COPIES])

    @property
    def config(self) -> EncoderConfig:
        """The base's, with the positions and the layers that the recipe wants."""
        config = self.base.config
        if self.recipe.positions is not None:
            positions = config.bricks.first_position + self.recipe.positions
            config = replace(config, max_position_embeddings=positions)
        if self.recipe.read in ("mean", "both"):
            config = replace(config, num_hidden_layers=config.num_hidden_layers + 1)
        return config

    @property
    def all_rows(self) -> Encodings:
        """Of all rows but dev's, also where the plan trains on a part of them."""
        return self.scored_encodings if self.data.is_folded else self.data.encodings

    def with_recipe(self, recipe: Recipe) -> Plan:
        """The plan for another recipe on the same data and base."""
        return replace(self, recipe=recipe)

    def on_rows(self, numbers: Ints) -> Plan:
        """The same plan for some of its cross-validated rows, by their numbers."""
        data = self.data.on_rows(numbers)
        weights = _class_weights(data) if self.recipe.class_weights else None
        return replace(self, data=data, class_weights=weights)

    def completed(self, say: Callable[[str], None]) -> Plan:
        """Chooses what the user left open: the schedule and the precision."""
        recipe = replace(self.recipe, task=self.task.name)
        if self.descriptions is not None and self.data.encodings.has_pairs:
            if recipe.read == "both":
                hint = "leave out --read or --describe"
                raise UsageError("--read both: a description is one text", hint=hint)
            recipe = replace(recipe, read="cls")
        recipe = with_schedule(recipe, HEADS[self.task.head], self.base, self.data.encodings)
        if recipe.precision is None:
            recipe = replace(recipe, precision=faster_precision(self.config, say))
        for sentence in method_of(recipe):
            say(sentence)
        say(
            f"model = {recipe.model}, epochs = {recipe.epochs:g}, lr = {recipe.lr:g}, "
            f"batch size = {recipe.batch_size}, seed = {recipe.seed}"
        )
        return self.with_recipe(recipe)

    def initial_biases(self) -> list[float] | None:
        """The new layer's initial biases by the classes' frequencies; None for those of the
        head."""
        head, targets = HEADS[self.task.head], self.data.encodings.targets
        if self.lessons is not None:
            return None
        if head.frequencies is None or targets is None or self.recipe.class_weights:
            return None  # with class weights all classes are equally frequent
        return list(head.frequencies(targets, len(self.task.outputs)).tolist())


def make_plan(
    train_file: Source,
    dev: Source | None,
    recipe: Recipe,
    reporter: Reporter,
    *,
    described: Source | None = None,
    lessons: Lessons | None = None,
) -> Plan:
    """Reads the labelled files, and the config and tokenizer of the pretrained model.

    Raises DataError, UsageError and CheckpointError for what can't be trained.
    """
    remarks = Remarks(reporter)
    kind, layout, table = open_labelled(train_file, recipe, remarks.say)
    dev_rows = None
    if dev is not None:
        if recipe.folds:
            hint = "leave one of them out: rows are scored by folds, or a dev file is"
            raise UsageError(f"--folds {recipe.folds} and --dev", hint=hint)
        _, _, dev_rows = read_labelled(dev, recipe, remarks.say, kind=kind, layout=layout)
    recipe = with_model(recipe, kind, layout, table, remarks.say)
    base, limit = pretrained_for(recipe, kind, remarks.say)
    base_digests = digests_of(base)  # may refuse the model, so it comes before tokenizing

    files = Files.of(train_file, dev, described)
    tokenizer = with_quick_splitter(base.tokenizer)
    source = TrainingSource(
        kind, layout, table, files.digests["train"], recipe, tokenizer, limit, dev is None
    )
    data = read_data(source, remarks)
    if dev_rows is not None:
        remarks.say(f"{len(data.encodings):,} rows to train on, {len(dev_rows):,} dev rows")
        remarks.say_all(_on_shared_texts(dev_rows, kind, data, files.scored_name(0)))
        data = replace(data, dev=dev_rows)
        for row in dev_rows:
            data.seen.see(kind.texts(row))
    descriptions = None
    if described is not None:
        descriptions = read_descriptions(described, data.task, recipe, base.tokenizer, remarks.say)
    scored = data.rows if data.is_folded else data.dev
    return Plan(
        files=files,
        layout=layout,
        data=data,
        # Labels are checked, too: one that only dev has is an error now, not after an epoch.
        scored_encodings=data.task.encode(scored, tokenizer, labelled=True),
        base=base,
        base_digests=base_digests,
        descriptions=descriptions,
        lessons=lessons,
        class_weights=_class_weights(data) if recipe.class_weights else None,
        recipe=recipe,
        remarks=tuple(remarks.told),
    )


def with_model(
    recipe: Recipe, kind: type[AnyTask], layout: Layout, table: Table, say: Callable[[str], None]
) -> Recipe:
    """The recipe with a model: the user's, or one that reads the texts of an opened file."""
    model = model_for(recipe.model, lambda: first_texts(kind, layout, table, SAMPLE_ROWS), say)
    return replace(recipe, model=model)


def pretrained_for(
    recipe: Recipe, kind: type[AnyTask], say: Callable[[str], None]
) -> tuple[Description, int]:
    """The pretrained model, without its weights, and how many positions it gets. Raises
    CheckpointError for one that can't be read, and UsageError for lengths that don't fit it."""
    assert recipe.model is not None, "chosen by `with_model`"
    base = describe(resolve(recipe.model, say))
    limit = base.config.longest
    if recipe.positions is not None:
        if not base.config.bricks.positions:
            raise UsageError(
                f"--positions: a {base.config.family.title} without vectors of positions to "
                "interpolate",
                hint=f"--max-length takes up to {limit}",
            )
        check_positions(recipe.positions, limit)
        limit = recipe.positions
        say(f"{recipe.positions} positions, interpolated between the trained ones")
    _check_length(recipe, kind, limit, extendable=base.config.bricks.positions)
    return base, limit


def _on_shared_texts(
    dev: Sequence[Any], kind: type[AnyTask], data: TrainingData, name: str
) -> Iterator[str]:
    """How many dev rows are in the training file, too: their score tells what was learned by
    heart."""
    shared = int(np.isin([split_key(kind, row) for row in dev], data.keys).sum())
    if shared:
        of = f"the {kind.group_noun}" if kind.group_noun else "the texts"
        yield (
            f"warning: {shared:,} of {len(dev):,} dev rows have {of} of training rows: the dev "
            f"score flatters; leave them out of {name}"
        )


def _check_length(recipe: Recipe, kind: type[AnyTask], limit: int, *, extendable: bool) -> None:
    if recipe.max_length is not None and recipe.max_length > limit:
        longer = f"--positions {recipe.max_length} extends it"
        raise UsageError(
            f"--max-length {recipe.max_length}: the model has {limit} positions",
            hint=longer if extendable else "longer texts are read in parts: see --long",
        )
    if recipe.long == "truncate" and not kind.may_truncate:
        others = " and ".join(name for name, other in TASKS.items() if other.may_truncate)
        raise UsageError(
            f"--long truncate: {kind.name} has one way to read long texts",
            hint=f"leave it out; it is for {others}",
        )


def _class_weights(data: TrainingData) -> NDArray[np.float32]:
    balance, targets = HEADS[data.task.head].balance, data.encodings.targets
    if balance is None or targets is None:
        raise UsageError("--class-weights is for tasks with classes: classify and tag")
    return balance(targets, len(data.task.outputs)).astype(np.float32)
