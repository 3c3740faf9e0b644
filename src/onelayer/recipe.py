"""Every option of a training run."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, get_args

from onelayer.base.errors import UsageError

Precision = Literal["fp32", "bf16"]
LongTexts = Literal["windows", "truncate"]
SpanHead = Literal["span", "three-way"]
Read = Literal["cls", "mean", "both"]
CHOICES = {"precision": Precision, "long": LongTexts, "span_head": SpanHead, "read": Read}
"""The options that take one of a few words."""

POSITIVE = ("lr", "batch_size", "seeds", "max_length", "max_grad_norm", "patience")
"""The options that take a number above 0."""

REMOVED: dict[str, Any] = {
    "recipe": "default",
    "ema": 0.0,
    "layer_decay": 1.0,
    "reinit_layers": 0,
    "label_smoothing": 0.0,
    "r_drop": 0.0,
}
"""Options of older versions, with the values at which they had no effect."""

ROLES = ("text", "pair", "label", "question", "context", "options")
"""The roles of columns that have a flag."""


class ColumnNames(TypedDict, total=False):
    """The fields of `Columns`, as keyword arguments of a function."""

    header: bool | None
    delimiter: str | None
    encoding: str | None

    text: str | None
    pair: str | None
    label: str | None
    question: str | None
    context: str | None
    options: str | None
    skip_bad: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Reading a file, inferred from its contents unless said here.

    Parameters
    ----------
    header
        Whether the first line of a csv or tsv names the columns.
    delimiter
        What separates fields, such as `;` or `tab`; the file is read as csv.
    encoding
        The text's encoding, such as cp1252 or gb18030; default: UTF-8, or by its mark.
    """

    header: bool | None = None
    delimiter: str | None = None
    encoding: str | None = None


AS_FOUND = Reading()
"""For a file about which the user said nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns(Reading):
    """Columns, inferred from their names and contents unless named here.

    Parameters
    ----------
    text
        The text, or the words to tag.
    pair
        The second text of a pair.
    label
        What to predict: label, number, tags, answers or the right option.
    question
        The question.
    context
        The passage to answer from, or the context of the options.
    options
        The options to choose from: one column, or several separated by commas.
    skip_bad
        Skip and count rows that can't be used, instead of stopping.
    """

    text: str | None = None
    pair: str | None = None
    label: str | None = None
    question: str | None = None
    context: str | None = None
    options: str | None = None
    skip_bad: bool = False

    @property
    def keywords(self) -> ColumnNames:
        return ColumnNames(
            header=self.header,
            delimiter=self.delimiter,
            encoding=self.encoding,
            text=self.text,
            pair=self.pair,
            label=self.label,
            question=self.question,
            context=self.context,
            options=self.options,
            skip_bad=self.skip_bad,
        )

    @property
    def asked(self) -> dict[str, str]:
        """The columns that the user named, by role."""
        return {role: name for role in ROLES if (name := getattr(self, role)) is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe(Columns):
    """Training options. What is None is chosen from the data or the model, and logged.

    Parameters
    ----------
    task
        classify, regress, tag, answer or choose; default: inferred from the file.
    model
        Pretrained model: a directory, a Hub name, `starter` or `multilingual`; default: by the
        texts' language.
    read
        What the layer reads: [CLS], the mean of all tokens, or both texts of a pair, compared;
        default: by model and rows.
    contrast
        Steps before the epochs that draw texts of one label, or of near numbers, together;
        default: some for few rows.
    practice
        Share of the steps of answer and choose with examples made of the rows' texts; default: two
        thirds for few rows.
    epochs
        Passes over the training rows; default: 3, more for few rows, 0 for very few texts.
    lr
        Peak learning rate; default: 3e-5 for width 768, more for narrower models.
    batch_size
        Examples per optimizer step; default: 32, 8 for few rows of some tasks.
    seed
        Seed of the row order, the new layer and dropout.
    seeds
        Seeds to train with; keep the model with the best score.
    folds
        Cross-validate in this many folds; 0: keep a tenth as dev; default: 4 below 500 rows.
    max_length
        Tokens per sequence; default: the model's limit, 384 for answer.
    stride
        Tokens by which neighbouring windows of a long text overlap.
    long
        Long texts of classify and regress: read in windows, or truncate (faster).
    warmup
        Share of the steps in which the learning rate rises.
    weight_decay
        Weight decay of AdamW; none for biases and LayerNorm.
    max_grad_norm
        Norm to which gradients are clipped.
    patience
        Stop after this many evaluations without a better dev score.
    freeze
        Layers not to train: none, embeddings, encoder, or N lowest layers.
    positions
        Extend the model to this many positions, by interpolation.
    class_weights
        Weight rare classes more in the loss.
    multi_label
        Whether a row may have several labels; default: inferred from the file.
    span_head
        Output layer of answer: span logits, or three classes per token.
    token_budget
        Tokens in memory at once; changes no result.
    precision
        Precision of matrix products in training; default: the faster one here.
    """

    task: str | None = None
    model: str | None = None
    read: Read | None = None
    contrast: int | None = None
    practice: float | None = None
    epochs: float | None = None
    lr: float | None = None
    batch_size: int | None = None
    seed: int = 1
    seeds: int = 1
    folds: int | None = None
    max_length: int | None = None
    stride: int = 128
    long: LongTexts = "windows"
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    patience: int | None = None
    freeze: str = "none"
    positions: int | None = None
    class_weights: bool = False
    multi_label: bool | None = None
    span_head: SpanHead = "span"
    token_budget: int = 8192
    precision: Precision | None = None

    def __post_init__(self) -> None:
        for name in POSITIVE:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, (int, float)) and 0 < value < math.inf):
                flag = name.replace("_", "-")
                raise UsageError(f"--{flag} must be a number above 0, not {value!r}")
        for name in ("epochs", "contrast"):
            value = getattr(self, name)
            if value is not None and not (
                isinstance(value, (int, float)) and 0 <= value < math.inf
            ):
                raise UsageError(f"--{name} must be 0 or above, not {value!r}")
        for name, choices in CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in get_args(choices):
                flag, known = name.replace("_", "-"), " or ".join(get_args(choices))
                raise UsageError(f"--{flag} must be {known}, not {value!r}")
        if self.practice is not None and not 0 <= self.practice <= 1:
            raise UsageError(f"--practice must be from 0 to 1, not {self.practice}")
        if not 0 <= self.warmup < 1:
            raise UsageError(f"--warmup must be from 0 to below 1, not {self.warmup}")
        if self.folds is not None and (self.folds < 0 or self.folds == 1):
            raise UsageError(f"--folds must be 0, or 2 or more, not {self.folds}")
        if self.max_length is not None and self.max_length < 8:
            raise UsageError(f"--max-length must be 8 or more, not {self.max_length}")
        if self.stride < 0 or self.token_budget < 1 or self.weight_decay < 0:
            raise UsageError(
                "--stride and --weight-decay must be 0 or more, --token-budget above 0, not "
                f"{self.stride}, {self.weight_decay} and {self.token_budget}"
            )
        if self.freeze not in ("none", "embeddings", "encoder") and not self.freeze.isdecimal():
            raise UsageError(
                f"--freeze must be none, embeddings, encoder or a number, not {self.freeze!r}"
            )

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Recipe:
        """The recipe of a record. Raises UsageError for options that this version doesn't have,
        unless they are `REMOVED` ones that changed nothing."""
        used = {k: v for k, v in values.items() if k not in REMOVED or v != REMOVED[k]}
        unknown = sorted(set(used) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            given = ", ".join(f"{name} = {used[name]}" for name in unknown)
            raise UsageError(
                f"the recipe has options that this version doesn't have: {given}",
                hint="train the model again without them",
            )
        return cls(**used)
