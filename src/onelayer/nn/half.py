"""What both halves of a layer share: dropout, the residual connection and the norm."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from onelayer.nn.bricks import Bricks
from onelayer.nn.ops import add_norm, dropout


class HalfShape(Protocol):
    """The fields of an `EncoderConfig` that decide a half's sizes."""

    @property
    def hidden_size(self) -> int: ...
    @property
    def hidden_dropout_prob(self) -> float: ...
    @property
    def layer_norm_eps(self) -> float: ...
    @property
    def bricks(self) -> Bricks: ...


class Half(nn.Module):
    """Half of a layer, with the norm at its end, as in BERT, or at its start (Xiong et al., 2020).
    Shapes: see ``encoder.py``."""

    norm: nn.LayerNorm | None
    """None for a half that starts with another's norm."""
    dropout: float
    """The dropout rate of what the half adds."""
    pre_norm: bool

    def enter(self, x_TD: Tensor) -> Tensor:
        """What the half computes with: its input, normed if the norm is at the start."""
        normed: Tensor = self.norm(x_TD) if self.pre_norm and self.norm is not None else x_TD
        return normed

    def leave(self, x_TD: Tensor, y_TD: Tensor) -> Tensor:
        """The half's output: its input and what it adds, normed if the norm is at the end."""
        p = self.dropout if self.training else 0.0
        if self.pre_norm or self.norm is None:
            return x_TD + dropout(y_TD, p, self.training)
        return add_norm(x_TD, y_TD, self.norm, p)


def layer_norm(shape: HalfShape, width: int | None = None) -> nn.LayerNorm:
    """A norm of vectors of this width; by default the model's."""
    bias = shape.bricks.norm_bias
    return nn.LayerNorm(width or shape.hidden_size, eps=shape.layer_norm_eps, bias=bias)
