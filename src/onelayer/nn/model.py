"""The model: a pretrained encoder and one new fully connected layer."""

from __future__ import annotations

from torch import Tensor, nn

from onelayer.nn.bricks import PoolerShape
from onelayer.nn.encoder import ACTIVATIONS, Encoder, EncoderShape
from onelayer.nn.heads import Head
from onelayer.nn.linear import Linear
from onelayer.nn.ops import dropout
from onelayer.nn.packed import Packed
from onelayer.recipe import Precision


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
        self.encoder = Encoder(shape)
        self.pooler_shape = pooler_shape
        self.pooler = Linear(shape.hidden_size, shape.hidden_size) if pooler_shape else None
        self.head = Linear(shape.hidden_size, n_outputs)
        self.head_dropout = head_dropout if head.dropped else 0.0

    def train_in(self, precision: Precision) -> None:
        """Sets the precision of the encoder's products in training. bfloat16 is faster on some
        machines. Weights, norms and the output layer stay in fp32, and so does inference."""
        for module in self.encoder.modules():
            if isinstance(module, Linear):
                module.bf16 = precision == "bf16"

    def forward(self, batch: Packed) -> Tensor:
        """(R, C) logits, in the order of the batch's reads."""
        logits_RC: Tensor = self.head(
            dropout(self.vectors(batch), self.head_dropout, self.training)
        )
        return logits_RC

    def vectors(self, batch: Packed) -> Tensor:
        """(R, D) the vectors that the output layer reads."""
        x_RD: Tensor = self.encoder(batch)
        if self.pooler_shape is None or self.pooler is None:
            return x_RD
        if self.pooler_shape.dropped:
            x_RD = dropout(x_RD, self.head_dropout, self.training)
        return ACTIVATIONS[self.pooler_shape.activation](self.pooler(x_RD))
