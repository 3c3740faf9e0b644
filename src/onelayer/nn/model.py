"""The model: a pretrained encoder and one new fully connected layer."""

from __future__ import annotations

from torch import Tensor, nn

from onelayer.nn.bricks import PoolerShape
from onelayer.nn.encoder import ACTIVATIONS, Encoder, EncoderShape
from onelayer.nn.half import layer_norm
from onelayer.nn.heads import Head
from onelayer.nn.linear import Linear
from onelayer.nn.ops import dropout
from onelayer.nn.packed import Packed
from onelayer.recipe import Precision


class Pooler(Linear):
    """The dense layer between the encoder and the output layer: (R, D) -> (R, D)."""

    def __init__(self, shape: EncoderShape, parts: PoolerShape) -> None:
        super().__init__(shape.hidden_size, shape.hidden_size, bias=shape.bricks.head_bias)
        self.activation = ACTIVATIONS[parts.activation]
        self.dropped = parts.dropped
        self.norm = layer_norm(shape) if parts.normed else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.activation(super().forward(x))
        return y if self.norm is None else self.norm(y)


class Model(nn.Module):
    """The network of any task: the encoder, a dense layer if its class reads through
    one, and the output layer.

    Parameters
    ----------
    shape
        The encoder's sizes.
    head
        What the output layer reads, and its loss.
    pooler_shape
        The dense layer before the output layer; None if there is none.
    n_outputs
        Outputs of the layer.
    head_dropout
        The dropout rate before the layer, if the head uses dropout.
    """

    def __init__(
        self,
        shape: EncoderShape,
        head: Head,
        *,
        pooler_shape: PoolerShape | None,
        n_outputs: int,
        head_dropout: float,
    ) -> None:
        super().__init__()
        self.encoder = Encoder(shape, mean=shape.bricks.mean and head.pooled)
        self.pooler = Pooler(shape, pooler_shape) if pooler_shape else None
        self.head = Linear(shape.hidden_size, n_outputs)
        self.head_dropout = head_dropout if head.dropped else 0.0

    def train_in(self, precision: Precision) -> None:
        """Sets the precision of the encoder's products in training; see `Encoder.train_in`. The
        output layer stays in fp32."""
        self.encoder.train_in(precision)

    def forward(self, batch: Packed) -> Tensor:
        """(R, C) logits, in the order of the batch's reads."""
        logits_RC: Tensor = self.head(
            dropout(self.vectors(batch), self.head_dropout, self.training)
        )
        return logits_RC

    def vectors(self, batch: Packed) -> Tensor:
        """(R, D) the vectors that the output layer reads."""
        x_RD: Tensor = self.encoder(batch)
        if self.pooler is None:
            return x_RD
        if self.pooler.dropped:
            x_RD = dropout(x_RD, self.head_dropout, self.training)
        pooled: Tensor = self.pooler(x_RD)
        return pooled
