"""Every choice of a run, in one place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypedDict

from onelayer.base.errors import UsageError

Precision = Literal["fp32", "bf16"]


REMOVED: dict[str, Any] = {
    "recipe": "default",
    "ema": 0.0,
    "layer_decay": 1.0,
    "reinit_layers": 0,
    "label_smoothing": 0.0,
    "r_drop": 0.0,
}
"""Options that older records still hold, with the values at which they changed nothing."""

ROLES = ("text", "pair", "label", "question", "context", "options")
"""The roles of columns that have a flag."""


class ColumnNames(TypedDict, total=False):
    """The fields of `Columns`, as keyword arguments of a function."""

    text: str | None
    pair: str | None
    label: str | None
    question: str | None
    context: str | None
    options: str | None
    skip_bad: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Where a file holds what; by default seen from the names and contents of its columns.

    Parameters
    ----------
    text
        Column of the text (or of the words to tag).
    pair
        Column of the second text of a pair.
    label
        Column of what is to be predicted: label, number, tags, answers or the right option.
    question
        Column of the question.
    context
        Column of the passage or of the situation.
    options
        Column of the options to choose among, or several columns separated by commas.
    skip_bad
        Leave out rows that can't be used, and say how many, instead of stopping.
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
    """How a model is fine-tuned. What is None is chosen from the data or the model, and said.

    Parameters
    ----------
    task
        What to learn: classify, regress, tag, answer or choose; by default seen from the file.
    model
        A directory, a name on the Hugging Face Hub, or `starter`.
    epochs
        Passes over the training rows; by default 3, more where rows are few.
    lr
        Peak learning rate; by default 3e-5 for a 768-wide model, more for narrower ones.
    batch_size
        Examples for each step of the optimizer.
    seed
        Order of the rows, the new layer and dropout follow from it.
    seeds
        Train with so many seeds, one after another, and keep the model that is best on dev.
    max_length
        Tokens in one sequence; by default the model's limit, 384 for answer.
    stride
        Tokens that neighbouring windows of a long text share.
    long
        For classify and regress: texts beyond `max_length` are read in `windows`, or, which is
        quicker, `truncate`d.
    warmup
        Share of the steps in which the learning rate rises, before it falls to zero.
    weight_decay
        AdamW's decay; biases and LayerNorm have none.
    max_grad_norm
        Gradients are clipped to this length.
    patience
        Stop after so many evaluations without a better dev score.
    freeze
        What to keep as pretrained: `none`, `embeddings`, the lowest N layers with them, or
        the whole `encoder`.
    positions
        Extend the model to so many positions, interpolated, for long passages.
    class_weights
        Weigh classes against their frequency.
    multi_label
        Whether a row may have several labels; by default seen from the file.
    span_head
        Answers as one distribution each over starts and ends, or `three-way` per token.
    token_budget
        Tokens worked through at once; bounds the memory, changes no result.
    precision
        Of the matrix products in training; by default the quicker one on this machine. Weights,
        scores and predictions are in fp32.
    """

    task: str | None = None
    model: str = "starter"
    epochs: float | None = None
    lr: float | None = None
    batch_size: int = 32
    seed: int = 1
    seeds: int = 1
    max_length: int | None = None
    stride: int = 128
    long: Literal["windows", "truncate"] = "windows"
    warmup: float = 0.1
    weight_decay: float = 0.01
    max_grad_norm: float = 1.0
    patience: int | None = None
    freeze: str = "none"
    positions: int | None = None
    class_weights: bool = False
    multi_label: bool | None = None
    span_head: Literal["span", "three-way"] = "span"
    token_budget: int = 8192
    precision: Precision | None = None

    def __post_init__(self) -> None:
        for name in (
            "epochs",
            "lr",
            "batch_size",
            "seeds",
            "max_length",
            "max_grad_norm",
            "patience",
        ):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"--{name.replace('_', '-')} must be above 0, not {value}")
        if not 0 <= self.warmup < 1:
            raise UsageError(f"--warmup is a share of the steps, 0 to below 1, not {self.warmup}")
        if self.max_length is not None and self.max_length < 8:
            raise UsageError(f"--max-length {self.max_length} leaves no room for text", hint="≥ 8")
        if self.stride < 0 or self.token_budget < 1 or self.weight_decay < 0:
            raise UsageError("--stride, --token-budget and --weight-decay can't be negative")
        if self.freeze not in ("none", "embeddings", "encoder") and not self.freeze.isdecimal():
            raise UsageError(
                f"--freeze {self.freeze}: expected none, embeddings, encoder or a number of layers"
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
