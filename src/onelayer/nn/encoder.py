"""The encoder (Devlin et al., 2019) over packed tokens, built as an `EncoderConfig` describes it.

Shape suffixes: T packed tokens, S sequences, R vectors that the output layer reads, D model width,
F feed-forward width, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from onelayer.nn.attention import Attention
from onelayer.nn.linear import Linear
from onelayer.nn.ops import add_norm, dropout, gelu
from onelayer.nn.packed import Packed


class EncoderShape(Protocol):
    """The fields of an `EncoderConfig` that decide the encoder's modules and their sizes."""

    @property
    def vocab_size(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def num_hidden_layers(self) -> int: ...
    @property
    def num_attention_heads(self) -> int: ...
    @property
    def intermediate_size(self) -> int: ...
    @property
    def hidden_act(self) -> str: ...
    @property
    def hidden_dropout_prob(self) -> float: ...
    @property
    def attention_probs_dropout_prob(self) -> float: ...
    @property
    def max_position_embeddings(self) -> int: ...
    @property
    def type_vocab_size(self) -> int: ...
    @property
    def layer_norm_eps(self) -> float: ...


def _gelu_tanh(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": gelu,
    "gelu_new": _gelu_tanh,
    "relu": F.relu,
}


class Embeddings(nn.Module):
    """The sum of word, position and segment vectors, with norm and dropout: (T, D)."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.word = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.position = nn.Embedding(shape.max_position_embeddings, shape.hidden_size)
        segments = shape.type_vocab_size  # 0 in a family that doesn't tell segments apart
        self.segment = nn.Embedding(segments, shape.hidden_size) if segments else None
        self.norm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.dropout = shape.hidden_dropout_prob

    def forward(self, batch: Packed) -> Tensor:
        place_TD = self.position(batch.position_ids_T)
        if self.segment is not None:
            place_TD = place_TD + self.segment(batch.segment_ids_T)
        x_TD = add_norm(place_TD, self.word(batch.ids_T), self.norm, 0.0)
        return dropout(x_TD, self.dropout, self.training)


class FeedForward(nn.Module):
    """The feed-forward half of a layer, post-norm: (T, D) -> (T, D)."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.up = Linear(shape.hidden_size, shape.intermediate_size)
        self.activation = ACTIVATIONS[shape.hidden_act]
        self.down = Linear(shape.intermediate_size, shape.hidden_size)
        self.norm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.dropout = shape.hidden_dropout_prob

    def forward(self, x_TD: Tensor) -> Tensor:
        y_TD = self.down(self.activation(self.up(x_TD)))
        return add_norm(x_TD, y_TD, self.norm, self.dropout if self.training else 0.0)


class Layer(nn.Module):
    """A layer: self-attention, then feed-forward."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.attention = Attention(
            width=shape.hidden_size,
            n_heads=shape.num_attention_heads,
            attention_dropout=shape.attention_probs_dropout_prob,
            dropout=shape.hidden_dropout_prob,
            norm_eps=shape.layer_norm_eps,
        )
        self.feed_forward = FeedForward(shape)

    def forward(self, x_TD: Tensor, batch: Packed) -> Tensor:
        x_TD = self.attention(x_TD, batch)
        x_TD = self.feed_forward(x_TD)
        return x_TD

    def read(self, x_TD: Tensor, batch: Packed) -> Tensor:
        """(T, D) -> (R, D): the last layer's vectors that the output layer reads."""
        # If one vector per sequence is read, such as [CLS], only these are computed.
        if batch.only_reads_S is None:
            x_TD = self(x_TD, batch)
            return x_TD[batch.reads_R]
        x_SD: Tensor = self.feed_forward(self.attention.read(x_TD, batch))
        return x_SD[batch.reads_R]


class Encoder(nn.Module):
    """Packed tokens -> (R, D), the contextual vectors that the output layer reads."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.embeddings = Embeddings(shape)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))

    def forward(self, batch: Packed) -> Tensor:
        x_TD: Tensor = self.embeddings(batch)
        for layer in self.layers[:-1]:
            x_TD = layer(x_TD, batch)
        last = self.layers[-1]
        assert isinstance(last, Layer)
        return last.read(x_TD, batch)
