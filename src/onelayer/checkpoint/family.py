"""An encoder family as data: names of tensors, classes of transformers, tokenizer kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onelayer.base.errors import UsageError
from onelayer.nn.bricks import Bricks, PoolerShape
from onelayer.tokens.tokenizer_files import WORDPIECE, TokenizerKind

if TYPE_CHECKING:
    from onelayer.checkpoint.config import EncoderConfig


BERTS_POOLER = PoolerShape()


@dataclass(frozen=True, slots=True)
class Module:
    """One of our modules, and the modules of transformers whose rows are stacked in it.

    A shape is written in letters: V vocabulary, P positions, S segments, E width of the embeddings,
    D hidden size, F feed-forward width, B buckets of distances, H heads, K tokens of a convolution,
    G twice the feed-forward width, Q three times the hidden size.
    """

    ours: str
    """Our name, with ``{i}`` for the layer's number, as in ``theirs``."""
    theirs: tuple[str, ...]
    weight: str
    """The shape of the weight in each of theirs."""
    bias: str = ""
    """The shape of the bias; empty if there is none."""
    when: Callable[[EncoderConfig], bool] = lambda _: True
    """Whether a model has it."""
    biased: Callable[[EncoderConfig], bool] = lambda _: True
    """Whether a model has the bias."""
    first: int = 0
    """The number of the first layer that has it."""


@dataclass(frozen=True, slots=True)
class ModelClass:
    """One of transformers' classes: what it adds to the encoder."""

    form: str | None = None
    """The part of its name after ``For``, which is the same in all families:
    ``SequenceClassification``, ``TokenClassification``, ``QuestionAnswering``, ``MultipleChoice``.
    None for a class without an output layer that we keep."""
    head: str | None = None
    """The name of its output layer."""
    pooler: str | None = None
    """The name of the dense layer that the output layer reads through, with the family's prefix
    where it has one; None where it reads the encoder's vectors."""
    pooler_norm: str | None = None
    """The name of the norm after that layer."""
    pooler_shape: PoolerShape = BERTS_POOLER
    """What else there is to that layer."""
    rows: int | None = None
    """The number of outputs, if the class fixes it."""
    bare: bool = False
    """Whether its tensors have no prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Everything in which one encoder family differs from another.

    `onelayer.nn.encoder` builds the encoder that an `EncoderConfig` describes. A family says how to
    read its ``config.json`` as an `EncoderConfig`, and what its tensors are called.
    """

    model_type: str
    """The family's key, as in ``config.json``."""
    title: str
    """The family's name in messages."""
    prefix: str
    """The prefix of the encoder's tensors in transformers' classes with a head: ``bert.``."""
    modules: Sequence[Module]
    """The map between our names and those in checkpoints, used in both directions."""
    classes: Mapping[str, ModelClass]
    """Transformers' classes by name. The first one is the encoder alone, which is assumed for a
    ``config.json`` without a class."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """The key in ``config.json`` of each `EncoderConfig` field with another name there."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Fields that ``config.json`` lacks, with the value that all models of the family share."""
    only: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    """Keys that must have a certain value, and the reason to give when they don't."""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    """Values of fields that ``config.json`` may leave out, where they aren't BERT's."""
    own: Mapping[str, Callable[[object], object]] = field(default_factory=dict)
    """Keys that only this family has, each with a function that checks its value, or gives the
    default for None. It raises ValueError with what the value must be."""
    by_layer: frozenset[str] = frozenset()
    """Those of ``own`` that list a value for each layer."""
    renewed: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda data: data
    """Gives the content of an old ``config.json`` today's keys."""
    bricks: Callable[[EncoderConfig], Bricks] = lambda _: Bricks()
    """What a model with this configuration is composed of. It raises ValueError for fields that
    don't go together."""
    old_endings: Mapping[str, str] = field(default_factory=dict)
    """Endings of tensors' names in old files, and today's endings."""
    buffers: frozenset[str] = frozenset()
    """Tensors in some files that aren't learned, and are ignored."""
    tokenizer: TokenizerKind = WORDPIECE

    @property
    def encoder_class(self) -> str:
        """The class of the encoder alone."""
        return next(iter(self.classes))

    def class_named(self, name: str) -> ModelClass:
        """A class's description; an unknown class counts as one whose head is left out."""
        return self.classes.get(name, ModelClass())

    @property
    def poolers(self) -> Mapping[str, str | None]:
        """The names of all dense layers that output layers read through, without the prefix, each
        with that of the norm after it."""
        found = {
            one.pooler.removeprefix(self.prefix): one.pooler_norm
            for one in self.classes.values()
            if one.pooler
        }
        return dict(sorted(found.items()))

    def class_for(self, form: str) -> str:
        """The name of the class with a form. Raises UsageError if the family has none."""
        for name, one in self.classes.items():
            if one.form == form:
                return name
        raise UsageError(f"transformers has no class {self.title} for {form}")


def rate_or(default: float) -> Callable[[object], float]:
    """Checks a key of ``Family.own``: a dropout rate, or nothing, which stands for the default."""

    def check(value: object) -> float:
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
            raise ValueError("at least 0 and below 1")
        return float(value)

    return check


def size_or(default: int, least: int = 1) -> Callable[[object], int]:
    """Checks a key of ``Family.own``: a size, or nothing, which stands for the default."""

    def check(value: object) -> int:
        if value is None:
            return default
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ValueError(f"a whole number from {least}")
        return value

    return check


def flag(default: bool) -> Callable[[object], bool]:
    """Checks a key of ``Family.own``: true or false, or nothing, which stands for the default."""

    def check(value: object) -> bool:
        if value is not None and not isinstance(value, bool):
            raise ValueError("true or false")
        return default if value is None else value

    return check


def one_of(default: str, *others: str) -> Callable[[object], str]:
    """Checks a key of ``Family.own``: one of some words, or nothing, which stands for the first."""

    def check(value: object) -> str:
        if value is None:
            return default
        if not isinstance(value, str) or value not in (default, *others):
            raise ValueError(f"{', '.join((default, *others[:-1]))} or {others[-1]}")
        return value

    return check
