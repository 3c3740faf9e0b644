"""What an encoder is composed of, where the families differ. Shapes: see ``encoder.py``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rotation:
    """Positions in one layer as rotations of its queries and keys (Su et al., 2021)."""

    base: float
    """The slowest rotation has this wavelength, divided by 2 pi, in tokens."""
    reach: int | None = None
    """The most tokens between a token and those that it attends to; None if it attends to all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Disentangled:
    """Attention that scores contents and distances apart (He et al., 2021). A distance is the place
    of the query minus that of the key."""

    span: int
    """The table of distances has a row for each of -span to span - 1. What is farther takes the
    first or the last."""
    farthest: int | None
    """If given, distances beyond half the span are in buckets that get wider logarithmically, up to
    this distance; otherwise each has a row."""
    content_to_distance: bool
    distance_to_content: bool
    shared: bool
    """Whether distances become keys and queries by the weights that contents have."""
    normed: bool
    """Whether the table's rows pass through a LayerNorm."""

    @property
    def parts(self) -> int:
        """The number of products that a score is the sum of."""
        return 1 + self.content_to_distance + self.distance_to_content


@dataclass(frozen=True, slots=True, kw_only=True)
class Convolution:
    """A convolution over the tokens that enter the first layer, added to what leaves it (He et al.,
    2021)."""

    kernel: int
    """The number of tokens that one sees: an odd number."""
    activation: str


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
    positions: bool = True
    """Whether a token's vector depends on its position in the sequence."""
    disentangled: Disentangled | None = None
    """None for attention in which distances have no vectors."""
    convolution: Convolution | None = None
    own_layers: int | None = None
    """The number of layers with weights of their own, each used several times in succession (Lan et
    al., 2020); None if all have."""
    rotations: tuple[Rotation, ...] = ()
    """One for each layer; empty where nothing is turned."""
    pre_norm: bool = False
    """Whether norms are before the halves of a layer, with one more after all layers. The first
    half has none: its input is the embeddings, which have a norm of their own."""
    gated: bool = False
    """Whether the feed-forward's activation is multiplied by a second product (Shazeer, 2020)."""
    attention_bias: bool = True
    feed_forward_bias: bool = True
    norm_bias: bool = True
    head_bias: bool = True
    """Whether the dense layer before the output layer has a bias."""
    attention_dropout: float | None = None
    """The dropout rate of attention's output; None for that of the embeddings."""
    feed_forward_dropout: float | None = None
    """That of the feed-forward's output, or before its second product where it is gated."""
    mean: bool = False
    """Whether what sorts and chooses whole texts reads the mean of a text's vectors, and not its
    first."""

    def order(self, n_layers: int) -> list[int]:
        """The number of the layer with the weights to use, at each depth."""
        n_own = self.own_layers or n_layers
        return [depth * n_own // n_layers for depth in range(n_layers)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolerShape:
    """The dense layer between the encoder and the output layer, as a class of transformers has it:
    BERT's pooler, or the first half of a classification head."""

    activation: str = "tanh"
    """``tanh``, ``gelu`` or ``relu``."""
    dropped: bool = False
    """Whether dropout is also applied before it."""
    normed: bool = False
    """Whether a norm follows."""
