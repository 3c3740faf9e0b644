"""What there is to know of an encoder family, as data: names, classes, tokenizer kinds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onelayer.base.errors import UsageError
from onelayer.tokens.tokenizer import WORDPIECE, TokenizerKind


@dataclass(frozen=True, slots=True)
class Module:
    """One of our modules, and transformers' modules that are stacked by rows into it.

    A shape is written in letters: V vocabulary, P positions, S segments, D hidden size,
    F feed-forward width.
    """

    ours: str
    """With ``{i}`` for the layer's number, as in ``theirs``."""
    theirs: tuple[str, ...]
    weight: str
    """The shape of each of theirs."""
    bias: str = ""
    """Empty where there is none."""


@dataclass(frozen=True, slots=True)
class ModelClass:
    """One of transformers' classes of a family: what it puts on the encoder."""

    form: str | None = None
    """What its name says after ``For``, the same in all families: ``SequenceClassification``,
    ``TokenClassification``, ``QuestionAnswering``, ``MultipleChoice``. None: no layer that is
    kept."""
    head: str | None = None
    """The name of its output layer."""
    pooled: bool = True
    rows: int | None = None
    """The number of outputs where the class fixes it."""
    bare: bool = False
    """Whether its tensors go without the family's prefix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """All that differs between encoders of the same bricks.

    The bricks themselves are in `onelayer.nn.encoder`, which builds what an `EncoderConfig`
    describes. A family says how its ``config.json`` becomes one, and what its tensors are called.
    """

    model_type: str
    """As ``config.json`` has it: the family's key."""
    title: str
    """What people call it."""
    prefix: str
    """What transformers puts before the encoder's tensors in a class with a head: ``bert.``."""
    modules: Sequence[Module]
    """The checkpoint's name map, read in both directions."""
    classes: Mapping[str, ModelClass]
    """Transformers' classes by name. The first is the encoder alone: it stands for a
    ``config.json`` that names no class."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Fields of `EncoderConfig` that ``config.json`` has under another key."""
    fixed: Mapping[str, Any] = field(default_factory=dict)
    """Fields that every model of the family shares, and ``config.json`` doesn't have."""
    only: Mapping[str, tuple[Any, str]] = field(default_factory=dict)
    """Keys that may have one value alone, and what to tell where they have another."""
    old_endings: Mapping[str, str] = field(default_factory=dict)
    """Endings of tensors' names in old files, and what they are called today."""
    buffers: frozenset[str] = frozenset()
    """Tensors in some files that hold nothing learned."""
    tokenizer: TokenizerKind = WORDPIECE

    @property
    def encoder_class(self) -> str:
        """The class that is the encoder alone."""
        return next(iter(self.classes))

    def class_named(self, name: str) -> ModelClass:
        """What is known of a class; of an unknown one, that its head is left out."""
        return self.classes.get(name, ModelClass())

    def class_for(self, form: str) -> str:
        """The name of the class with this form. Raises UsageError where the family has none."""
        for name, one in self.classes.items():
            if one.form == form:
                return name
        raise UsageError(f"transformers has no class {self.title} for {form}")
