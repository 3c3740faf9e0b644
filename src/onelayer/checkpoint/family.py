"""An encoder family as data: names of tensors, classes of transformers, tokenizer kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onelayer.base.errors import UsageError
from onelayer.tokens.tokenizer import WORDPIECE, TokenizerKind


@dataclass(frozen=True, slots=True)
class Module:
    """One of our modules, and the modules of transformers whose rows are stacked in it.

    A shape is written in letters: V vocabulary, P positions, S segments, D hidden size,
    F feed-forward width.
    """

    ours: str
    """Our name, with ``{i}`` for the layer's number, as in ``theirs``."""
    theirs: tuple[str, ...]
    weight: str
    """The shape of the weight in each of theirs."""
    bias: str = ""
    """The shape of the bias; empty if there is none."""


@dataclass(frozen=True, slots=True)
class ModelClass:
    """One of transformers' classes: what it adds to the encoder."""

    form: str | None = None
    """The part of its name after ``For``, which is the same in all families:
    ``SequenceClassification``, ``TokenClassification``, ``QuestionAnswering``, ``MultipleChoice``.
    None for a class without an output layer that we keep."""
    head: str | None = None
    """The name of its output layer."""
    pooled: bool = True
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

    def class_for(self, form: str) -> str:
        """The name of the class with a form. Raises UsageError if the family has none."""
        for name, one in self.classes.items():
            if one.form == form:
                return name
        raise UsageError(f"transformers has no class {self.title} for {form}")
