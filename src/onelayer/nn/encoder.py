"""BERT's encoder (Devlin et al., 2019) over packed tokens.

Legend of the shape suffixes: T packed tokens, S sequences, R vectors that the layer reads,
D model width, F feed-forward width, C outputs of the new layer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from onelayer.nn.attention import Attention
from onelayer.nn.dropout import dropout
from onelayer.nn.packed import Packed


class EncoderShape(Protocol):
    """What the encoder needs to know of a configuration, by BERT's own names."""

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
    "gelu": F.gelu,
    "gelu_new": _gelu_tanh,
    "relu": F.relu,
}


class Embeddings(nn.Module):
    """Word, position and segment vectors, added, normed and dropped out."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.word = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.position = nn.Embedding(shape.max_position_embeddings, shape.hidden_size)
        self.segment = nn.Embedding(shape.type_vocab_size, shape.hidden_size)
        self.norm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.dropout = shape.hidden_dropout_prob

    def forward(self, batch: Packed) -> Tensor:
        x_TD = self.word(batch.ids_T)
        x_TD = x_TD + self.position(batch.position_ids_T) + self.segment(batch.segment_ids_T)
        return dropout(self.norm(x_TD), self.dropout, self.training)


class FeedForward(nn.Module):
    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.up = nn.Linear(shape.hidden_size, shape.intermediate_size)
        self.activation = ACTIVATIONS[shape.hidden_act]
        self.down = nn.Linear(shape.intermediate_size, shape.hidden_size)
        self.norm = nn.LayerNorm(shape.hidden_size, eps=shape.layer_norm_eps)
        self.dropout = shape.hidden_dropout_prob

    def forward(self, x_TD: Tensor) -> Tensor:
        y_TD = self.down(self.activation(self.up(x_TD)))
        z_TD: Tensor = self.norm(x_TD + dropout(y_TD, self.dropout, self.training))
        return z_TD


class Layer(nn.Module):
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

    def forward(self, x_TD: Tensor, runs: tuple[tuple[int, int], ...]) -> Tensor:
        x_TD = self.attention(x_TD, runs)
        x_TD = self.feed_forward(x_TD)
        return x_TD


class Encoder(nn.Module):
    """Packed tokens in, a contextual vector for each of them out."""

    def __init__(self, shape: EncoderShape) -> None:
        super().__init__()
        self.embeddings = Embeddings(shape)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.num_hidden_layers))

    def forward(self, batch: Packed) -> Tensor:
        x_TD: Tensor = self.embeddings(batch)
        for layer in self.layers:
            x_TD = layer(x_TD, batch.runs)
        return x_TD
