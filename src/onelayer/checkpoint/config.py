"""Reads ``config.json``: an encoder's family, sizes and dropout rates, all checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.model_files import find, read_json, refuse_code
from onelayer.checkpoint.families import FAMILIES, UNNAMED
from onelayer.checkpoint.family import Family
from onelayer.nn.bricks import Bricks
from onelayer.tokens.tokenizer import Tokenizer

CONFIG = "config.json"

MOST_FOLDERS = 50
"""Directories that are looked into for a model, at most."""

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_new",
    "gelu_fast": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "relu": "relu",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderConfig:
    """The configuration of an encoder of any family, with the field names of transformers' BERT."""

    model_type: str
    """The family: a key of ``FAMILIES``."""
    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: str = "gelu"
    """``gelu``, ``gelu_new`` (the approximation by tanh) or ``relu``."""
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    """None means ``hidden_dropout_prob``; see ``head_dropout``."""
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    """The number of segments; 0 in a family without segment vectors."""
    initializer_range: float = 0.02
    """The standard deviation of the normal distribution from which new weights are drawn."""
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0
    own: Mapping[str, Any] = field(default_factory=dict)
    """The values of the keys that only this family has."""

    @property
    def family(self) -> Family:
        return FAMILIES[self.model_type]

    @property
    def bricks(self) -> Bricks:
        """What the encoder is composed of."""
        return self.family.bricks(self)

    @property
    def longest(self) -> int:
        """The most tokens of a sequence."""
        return self.max_position_embeddings - self.bricks.first_position

    @property
    def head_dropout(self) -> float:
        """The dropout rate before the output layer."""
        given = self.classifier_dropout
        return self.hidden_dropout_prob if given is None else given

    @classmethod
    def from_json(cls, data: Mapping[str, Any], place: str | Path) -> EncoderConfig:
        """Reads the content of the ``config.json`` at ``place``.

        Keys that the family doesn't use are ignored. Raises CheckpointError, with file and key, for
        missing or invalid values, and for values that would make it another model.
        """
        family = _family(data, place)
        data = family.renewed(data)
        for key, (wanted, reason) in family.only.items():
            if data.get(key, wanted) != wanted:
                raise _wrong(place, f"{key} is {data[key]!r:.80}, and {reason}")
        own = {key: _own(key, check, data.get(key), place) for key, check in family.own.items()}
        values: dict[str, Any] = {"model_type": family.model_type, "own": own, **family.fixed}
        for one in fields(cls):
            if one.name not in values:
                key = family.keys.get(one.name, one.name)
                value, default = data.get(key), family.defaults.get(one.name, one.default)
                if value is None and default is MISSING:
                    hint = f"is this the config.json of a {family.title}?"
                    raise _wrong(place, f"{key} is missing", hint)
                value = default if value is None else value
                values[one.name] = _checked(one.name, key, value, default, place)
        config = cls(**values)
        if config.hidden_size % config.num_attention_heads:
            raise _wrong(
                place,
                f"hidden_size {config.hidden_size} can't be shared by "
                f"{config.num_attention_heads} attention heads",
            )
        try:
            bricks = config.bricks
        except ValueError as error:
            raise _wrong(place, str(error)) from error
        if config.pad_token_id >= config.vocab_size:
            raise _wrong(place, f"pad_token_id {config.pad_token_id} is outside the vocabulary")
        if config.max_position_embeddings <= bricks.first_position:
            key = family.keys.get("max_position_embeddings", "max_position_embeddings")
            raise _wrong(
                place, f"{key} {config.max_position_embeddings} leaves no place for a token"
            )
        return config

    def to_json(self) -> dict[str, Any]:
        """The fields under the family's keys, ``model_type`` first."""
        family = self.family
        names = [one.name for one in fields(self) if one.name not in {"own", *family.fixed}]
        return {family.keys.get(name, name): getattr(self, name) for name in names} | dict(self.own)


def read_config(folder: Path) -> tuple[EncoderConfig, dict[str, Any]]:
    """A model directory's configuration, and the whole content of its ``config.json``.

    Raises CheckpointError if there is no such file, or if it can't be used.
    """
    place = find(folder, CONFIG)
    if place is None:
        raise CheckpointError(f"holds no {CONFIG}", place=Place(folder), hint=_elsewhere(folder))
    data = read_json(place)
    refuse_code(data, place)
    return EncoderConfig.from_json(data, place), data


def _elsewhere(folder: Path) -> str:
    """Where the model is that somebody looked for in a directory without a ``config.json``."""
    if find(folder, "adapter_config.json"):
        return "it is an adapter: merge it into its base model (PEFT's merge_and_unload), save that"
    # As a Trainer leaves its checkpoints, and sentence-transformers its 0_Transformer.
    found = []
    for name in sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))[:MOST_FOLDERS]:
        with suppress(CheckpointError):
            if (path := find(folder / name, CONFIG)) and "model_type" in read_json(path):
                found.append(name)
    return f"give {' or '.join(found[:3])} in it" if found else "a model directory has one"


def architecture_of(data: Mapping[str, Any], config: EncoderConfig) -> str:
    """transformers' class in the content of a ``config.json``; by default the encoder alone."""
    match data.get("architectures"):
        case [str(name), *_]:
            return name
        case _:
            return config.family.encoder_class


def read_tokenizer(folder: Path, config: EncoderConfig) -> Tokenizer:
    """A model directory's tokenizer.

    Raises CheckpointError for a tokenizer of another kind than the family's, for more tokens than
    there are embeddings, and where positions leave out tokens of a text.
    """
    segments = config.type_vocab_size > 1
    tokenizer = Tokenizer.read(folder, config.family.tokenizer, segments=segments)
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"a vocabulary that doesn't match the weights: {tokenizer.vocab_size} tokens, "
            f"{config.vocab_size} embeddings",
            place=Place(folder),
            hint="take the tokenizer files of this very model",
        )
    # transformers begins to number positions after this token's, which gets none wherever it is.
    padding = config.bricks.first_position - 1
    if padding in tokenizer.template.ids:
        raise CheckpointError(
            f"pad_token_id {padding} is of a token around each text, which then has no position",
            place=Place(folder),
            hint=f"set it to the tokenizer's own in {CONFIG}, {tokenizer.pad_id}, if the model was "
            "trained so",
        )
    return tokenizer


def _family(data: Mapping[str, Any], place: str | Path) -> Family:
    model_type = data.get("model_type", UNNAMED)
    if not isinstance(model_type, str) or model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise _wrong(place, f"model_type is {model_type!r:.80}, and onelayer fine-tunes {known}")
    return FAMILIES[model_type]


def _own(key: str, check: Callable[[object], object], value: object, place: str | Path) -> object:
    """The value of a key that only this family has. Raises CheckpointError."""
    try:
        return check(value)
    except ValueError as error:
        raise _wrong(place, f"{key} is {value!r:.80}, and must be {error}") from error


def _checked(name: str, key: str, value: Any, default: object, place: str | Path) -> Any:
    """A field's value: a whole number, a rate, or an activation. Raises CheckpointError."""
    if value is None and name == "classifier_dropout":
        return None
    if name == "hidden_act":
        if not isinstance(value, str) or value not in _ACTIVATIONS:
            raise _wrong(place, f"{key} is {value!r:.80}; known are {', '.join(_ACTIVATIONS)}")
        return _ACTIVATIONS[value]
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if "dropout" in name:
        if not number or not 0 <= value < 1:
            raise _wrong(place, f"{key} is {value!r:.80}, and must be at least 0 and below 1")
        return float(value)
    if name in ("initializer_range", "layer_norm_eps"):
        if not number or not 0 < value < 1:
            raise _wrong(place, f"{key} is {value!r:.80}, and must be between 0 and 1")
        return float(value)
    least = 0 if name == "pad_token_id" or default == 0 else 1
    if not number or isinstance(value, float) or value < least:
        raise _wrong(place, f"{key} is {value!r:.80}, and must be a whole number from {least}")
    return value


def _wrong(place: str | Path, message: str, hint: str | None = None) -> CheckpointError:
    return CheckpointError(message, place=Place(place), hint=hint)
