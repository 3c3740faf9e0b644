"""What an encoder is composed of, where the families differ. Shapes: see ``encoder.py``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Bricks:
    """The parts of an encoder. The defaults are those of BERT (Devlin et al., 2019)."""

    first_position: int = 0
    """The row of the table of positions for a sequence's first token. RoBERTa's is the second after
    the padding token's number."""
    embedding_size: int | None = None
    """The width E of the embeddings where a linear layer widens them to D (Lan et al., 2020)."""
    distance_buckets: int = 0
    """If there are any, attention's scores have a number added for each head and each bucket of
    distances between two tokens (Raffel et al., 2020)."""
    own_layers: int | None = None
    """The number of layers with weights of their own, each used several times in succession (Lan et
    al., 2020); None if all have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolerShape:
    """The dense layer between the encoder and the output layer, as a class of transformers has it:
    BERT's pooler, or the first half of a classification head."""

    activation: str = "tanh"
    """``tanh``, ``gelu`` or ``relu``."""
    dropped: bool = False
    """Whether dropout is also applied before it."""
