"""A convolution over packed tokens, which joins the first layer (He et al., 2021)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from onelayer.nn.linear import linear
from onelayer.nn.ops import add_norm, dropout
from onelayer.nn.packed import Packed


class TokenConvolution(nn.Module):
    """Sees each token with its neighbours of the same sequence, and adds what it finds to the
    layer's result: (T, D), (T, D) -> (T, D)."""

    def __init__(
        self,
        kernel: int,
        activation: Callable[[Tensor], Tensor],
        *,
        width: int,
        dropout: float,
        norm_eps: float,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, width, kernel))
        self.bias = nn.Parameter(torch.empty(width))
        self.activation = activation
        self.norm = nn.LayerNorm(width, eps=norm_eps)
        self.dropout = dropout

    def forward(self, before_TD: Tensor, after_TD: Tensor, batch: Packed) -> Tensor:
        """``before_TD`` enters the layer, and ``after_TD`` leaves it."""
        around = self.weight.shape[2] // 2
        cu = batch.cu_seqlens.long()
        lengths_T = cu.diff().repeat_interleave(cu.diff())
        seen = []
        for step in range(-around, around + 1):
            place_T = batch.position_ids_T + step
            inside_T = (place_T >= 0) & (place_T < lengths_T)
            seen.append(before_TD.roll(-step, 0) * inside_T[:, None])
        # One product with all neighbours side by side instead of one for each.
        weight = self.weight.permute(0, 2, 1).flatten(1)
        y_TD = linear(torch.cat(seen, 1), weight, self.bias)
        y_TD = self.activation(dropout(y_TD, self.dropout, self.training))
        return add_norm(after_TD, y_TD, self.norm, 0.0)
