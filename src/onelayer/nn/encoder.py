"""The encoder (Devlin et al., 2019) over packed tokens, built as an `EncoderConfig` describes it.

Shape suffixes: T packed tokens, S sequences, R vectors that the output layer reads, D model width,
E width of the embeddings, F feed-forward width, H heads, L tokens of the longest sequence,
C outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onelayer.nn.attention import Attention, AttentionShape
from onelayer.nn.bf16 import SIDE, has_bf16_products, to_blocks
from onelayer.nn.bricks import Convolution
from onelayer.nn.convolution import TokenConvolution
from onelayer.nn.disentangled import DisentangledAttention, DistanceVectors
from onelayer.nn.distances import DistanceBias
from onelayer.nn.half import Half, layer_norm
from onelayer.nn.linear import Linear
from onelayer.nn.ops import add_norm, by_rows, dropout, feed_forward, gate, gelu, mean_of_each
from onelayer.nn.packed import Packed
from onelayer.nn.rotary import Rotary
from onelayer.recipe import Precision


class EncoderShape(AttentionShape, Protocol):
    """The fields of an `EncoderConfig` that decide the encoder's modules and their sizes."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def num_hidden_layers(self) -> int: ...
    @property
    def intermediate_size(self) -> int: ...
    @property
    def hidden_act(self) -> str: ...
    @property
    def max_position_embeddings(self) -> int: ...
    @property
    def type_vocab_size(self) -> int: ...


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu_new": _gelu_tanh,
    "relu": F.relu,
    "tanh": torch.tanh,
}


class Embeddings(nn.Module):
    """The sum of word, position and segment vectors, with norm and dropout, and widened where they
    are narrower than the model: (T, D)."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        narrow = shape.bricks.embedding_size
        width = narrow or shape.hidden_size
        self.first_position = shape.bricks.first_position
        self.word = nn.Embedding(shape.vocab_size, width)
        has_positions = shape.bricks.positions
        self.position = (
            nn.Embedding(shape.max_position_embeddings, width) if has_positions else None
        )
        segments = shape.type_vocab_size  # 0 in a family that doesn't tell segments apart
        self.segment = nn.Embedding(segments, width) if segments else None
        self.norm = layer_norm(shape, width)
        self.dropout = shape.hidden_dropout_prob
        self.widen = Linear(width, shape.hidden_size) if narrow else None

    def forward(self, batch: Packed) -> Tensor:
        x_TE = self.word(batch.ids_T)
        place_TE = self._place(batch)
        x_TE = self.norm(x_TE) if place_TE is None else add_norm(place_TE, x_TE, self.norm, 0.0)
        x_TE = dropout(x_TE, self.dropout, self.training)
        return x_TE if self.widen is None else self.widen(x_TE)

    def _place(self, batch: Packed) -> Tensor | None:
        """What is added to a token's vector for its position and its segment: (T, E)."""
        place_TE: Tensor | None = None
        if self.position is not None:
            place_TE = self.position(batch.position_ids_T + self.first_position)
        if self.segment is None:
            return place_TE
        segment_TE: Tensor = self.segment(batch.segment_ids_T)
        return segment_TE if place_TE is None else place_TE + segment_TE


class FeedForward(Half):
    """The feed-forward half of a layer: (T, D) -> (T, D)."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        bricks, inner = shape.bricks, shape.intermediate_size
        rate = bricks.feed_forward_dropout
        rate = shape.hidden_dropout_prob if rate is None else rate
        self.gated = bricks.gated
        self.dropout, self.inner_dropout = (0.0, rate) if self.gated else (rate, 0.0)
        self.pre_norm = bricks.pre_norm
        bias = bricks.feed_forward_bias
        self.up = Linear(shape.hidden_size, 2 * inner if self.gated else inner, bias=bias)
        self.activation = ACTIVATIONS[shape.hidden_act]
        self.down = Linear(inner, shape.hidden_size, bias=bias)
        self.norm = layer_norm(shape)

    def forward(self, x_TD: Tensor) -> Tensor:
        if self.activation is gelu and not self.gated and self.inner_dropout == 0.0:
            return self.leave(x_TD, feed_forward(self.enter(x_TD), self.up, self.down))
        h_TF = self.up(self.enter(x_TD))
        h_TF = gate(h_TF, self.activation) if self.gated else self.activation(h_TF)
        h_TF = dropout(h_TF, self.inner_dropout, self.training)
        return self.leave(x_TD, self.down(h_TF))


def attention_of(shape: EncoderShape, depth: int, rotary: Rotary | None) -> Attention:
    """The attention that the layer at a depth is composed of."""
    bricks = shape.bricks
    if bricks.disentangled is not None:
        return DisentangledAttention(bricks.disentangled, shape)
    return Attention(
        shape,
        rotary=rotary,
        reach=bricks.rotations[depth].reach if bricks.rotations else None,
        normed=depth > 0 or not bricks.pre_norm,
    )


class Layer(nn.Module):
    """A layer: self-attention, then feed-forward. A convolution may join them."""

    def __init__(
        self, shape: EncoderShape, attention: Attention, convolution: Convolution | None = None
    ) -> None:
        super().__init__()
        self.attention = attention
        self.feed_forward = FeedForward(shape)
        self.convolution = None
        if convolution is not None:
            self.convolution = TokenConvolution(
                convolution.kernel,
                ACTIVATIONS[convolution.activation],
                width=shape.hidden_size,
                dropout=shape.hidden_dropout_prob,
                norm_eps=shape.layer_norm_eps,
            )

    def forward(self, x_TD: Tensor, batch: Packed, distances: Tensor | None = None) -> Tensor:
        y_TD: Tensor = self.feed_forward(self.attention(x_TD, batch, distances))
        return y_TD if self.convolution is None else self.convolution(x_TD, y_TD, batch)

    def read(self, x_TD: Tensor, batch: Packed, distances: Tensor | None = None) -> Tensor:
        """(T, D) -> (R, D): the last layer's vectors that the output layer reads."""
        # If one vector per sequence is read, such as [CLS], only these are computed.
        if batch.only_reads_S is None or self.convolution is not None:
            x_TD = by_rows(self(x_TD, batch, distances), len(batch.ids_T))
            if batch.only_reads_S is not None:
                x_TD = x_TD[batch.only_reads_S]
            return x_TD[batch.reads_R]
        x_SD: Tensor = self.feed_forward(self.attention.read(x_TD, batch, distances))
        return by_rows(x_SD, len(batch.only_reads_S))[batch.reads_R]


def distances_of(shape: EncoderShape) -> DistanceBias | DistanceVectors | None:
    """What all layers learn of the distance of two tokens."""
    bricks = shape.bricks
    if bricks.disentangled is not None:
        return DistanceVectors(bricks.disentangled, shape.hidden_size, shape.layer_norm_eps)
    if bricks.distance_buckets:
        return DistanceBias(bricks.distance_buckets, shape.num_attention_heads)
    return None


def rotary_of(shape: EncoderShape) -> list[Rotary]:
    """What turns queries and keys in each layer; empty where nothing does. Layers that turn them
    alike share a table."""
    bases = [rotation.base for rotation in shape.bricks.rotations]
    width = shape.hidden_size // shape.num_attention_heads
    made = {base: Rotary(width, base, shape.max_position_embeddings) for base in sorted({*bases})}
    return [made[base] for base in bases]


def has_blocks(shape: EncoderShape) -> bool:
    """Whether an encoder of this shape, when it trains in bf16 on this machine's CPU, has its
    vectors in blocks (``bf16.py``) from layer to layer. A norm has to end each half, so that what
    rounding loses doesn't add up, and there have to be kernels of all operations but attention."""
    bricks, widths = shape.bricks, (shape.hidden_size, shape.intermediate_size)
    others = (bricks.pre_norm, bricks.gated, bricks.rotations, bricks.disentangled)
    is_berts = not any(others) and bricks.convolution is None and shape.hidden_act == "gelu"
    return is_berts and all(width % SIDE == 0 for width in widths) and has_bf16_products()


class Encoder(nn.Module):
    """Packed tokens -> (R, D), the contextual vectors that the output layer reads. With ``mean``
    it reads the mean of each sequence's vectors, instead of one of them."""

    bf16 = False
    """As `Linear.bf16`."""

    def __init__(self, shape: EncoderShape, *, mean: bool = False) -> None:
        super().__init__()
        bricks = shape.bricks
        self.mean = mean
        self.shape = shape
        self.embeddings = Embeddings(shape)
        self.distances = distances_of(shape)
        n_layers = shape.num_hidden_layers
        rotary = rotary_of(shape)
        self.layers = nn.ModuleList(
            Layer(
                shape,
                attention_of(shape, i, rotary[i] if rotary else None),
                bricks.convolution if i == 0 else None,
            )
            for i in range(bricks.own_layers or n_layers)
        )
        self.norm = layer_norm(shape) if bricks.pre_norm else None
        self.order = bricks.order(n_layers)

    def forward(self, batch: Packed) -> Tensor:
        distances = None if self.distances is None else self.distances(batch)
        x_TD = self.before_last(batch, distances)
        last = self.layers[self.order[-1]]
        assert isinstance(last, Layer)
        if self.mean:
            x_TD = self._normed(by_rows(last(x_TD, batch, distances), len(batch.ids_T)))
            return mean_of_each(x_TD, batch)[batch.reads_R]
        return self._normed(last.read(x_TD, batch, distances))

    def before_last(self, batch: Packed, distances: Tensor | None = None) -> Tensor:
        """(T, D), which the last layer reads; in blocks (``bf16.py``) where the encoder computes in
        them."""
        x_TD: Tensor = self.embeddings(batch)
        if self._computes_in_blocks(x_TD):
            x_TD = to_blocks(x_TD)
        for i in self.order[:-1]:
            x_TD = self.layers[i](x_TD, batch, distances)
        return x_TD

    def train_in(self, precision: Precision) -> None:
        """Sets the precision of products in training. bfloat16 is faster on some machines. Weights,
        norms and the embeddings stay in fp32, and so does inference."""
        for module in self.modules():
            if isinstance(module, (Linear, Encoder)):
                module.bf16 = precision == "bf16"

    def _computes_in_blocks(self, x_TD: Tensor) -> bool:
        return (
            self.bf16
            and self.training
            and x_TD.device.type == "cpu"
            and not torch.compiler.is_compiling()
            and has_blocks(self.shape)
        )

    def _normed(self, x: Tensor) -> Tensor:
        normed: Tensor = x if self.norm is None else self.norm(x)
        return normed
