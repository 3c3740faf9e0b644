"""What ``config.json`` says of a BERT: its sizes and its rates, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from onelayer.base.errors import CheckpointError, Place

_ACTIVATIONS = {
    "gelu": "gelu",
    "gelu_new": "gelu_new",
    "gelu_pytorch_tanh": "gelu_new",
    "relu": "relu",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class BertConfig:
    """The shape of a BERT, field by field as transformers' ``BertConfig`` names them."""

    vocab_size: int
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    intermediate_size: int
    hidden_act: str = "gelu"
    """``gelu``, ``gelu_new`` (by tanh) or ``relu``."""
    hidden_dropout_prob: float = 0.1
    attention_probs_dropout_prob: float = 0.1
    classifier_dropout: float | None = None
    """None: as ``hidden_dropout_prob``; see ``head_dropout``."""
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    initializer_range: float = 0.02
    """Standard deviation of the normal distribution that new weights are drawn from."""
    layer_norm_eps: float = 1e-12
    pad_token_id: int = 0

    @property
    def head_dropout(self) -> float:
        """The rate before the output layer."""
        given = self.classifier_dropout
        return self.hidden_dropout_prob if given is None else given

    @classmethod
    def from_json(cls, data: Mapping[str, Any], place: str | Path) -> BertConfig:
        """Reads what ``config.json`` at ``place`` holds.

        Fields that a BERT has no use for are passed over; those that would make it another model
        are refused. Raises CheckpointError, which names file and field.
        """
        _refuse_other_models(data, place)
        values: dict[str, Any] = {}
        for field in fields(cls):
            value = data.get(field.name)
            if value is None and field.default is not MISSING:
                value = field.default
            values[field.name] = _checked(field.name, value, place)
        config = cls(**values)
        if config.hidden_size % config.num_attention_heads:
            raise _wrong(
                place,
                f"hidden_size {config.hidden_size} can't be shared by "
                f"{config.num_attention_heads} attention heads",
            )
        if config.pad_token_id >= config.vocab_size:
            raise _wrong(place, f"pad_token_id {config.pad_token_id} is outside the vocabulary")
        return config

    def to_json(self) -> dict[str, Any]:
        """The fields as ``config.json`` has them, ``model_type`` included."""
        return {"model_type": "bert", **asdict(self)}


def _refuse_other_models(data: Mapping[str, Any], place: str | Path) -> None:
    if (model_type := data.get("model_type", "bert")) != "bert":
        raise _wrong(place, f"model_type is {model_type!r}, and onelayer fine-tunes BERT")
    if (positions := data.get("position_embedding_type", "absolute")) != "absolute":
        raise _wrong(place, f"position_embedding_type is {positions!r}; only 'absolute' is read")
    for flag in ("is_decoder", "add_cross_attention"):
        if data.get(flag, False) is not False:
            raise _wrong(place, f"{flag} is {data[flag]!r}, and onelayer reads encoders only")


def _checked(name: str, value: Any, place: str | Path) -> Any:
    """``value`` where the field can be so; a whole number, a rate below 1, or a name."""
    if value is None and name == "classifier_dropout":
        return None
    if value is None:
        raise _wrong(place, f"{name} is missing", hint="is this a BERT's config.json?")
    if name == "hidden_act":
        if not isinstance(value, str) or value not in _ACTIVATIONS:
            raise _wrong(place, f"hidden_act is {value!r}; known are {', '.join(_ACTIVATIONS)}")
        return _ACTIVATIONS[value]
    number = not isinstance(value, bool) and isinstance(value, int | float)
    if "dropout" in name:
        if not number or not 0 <= value < 1:
            raise _wrong(place, f"{name} is {value!r}, and must be at least 0 and below 1")
        return float(value)
    if name in ("initializer_range", "layer_norm_eps"):
        if not number or not 0 < value < 1:
            raise _wrong(place, f"{name} is {value!r}, and must be between 0 and 1")
        return float(value)
    least = 0 if name == "pad_token_id" else 1
    if not number or isinstance(value, float) or value < least:
        raise _wrong(place, f"{name} is {value!r}, and must be a whole number from {least}")
    return value


def _wrong(place: str | Path, message: str, hint: str | None = None) -> CheckpointError:
    return CheckpointError(message, place=Place(place), hint=hint)
