"""Self-attention over packed sequences."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onelayer.nn.dropout import dropout


class Attention(nn.Module):
    """Multi-head self-attention, post-norm, as in BERT. Shapes: see ``encoder.py``."""

    def __init__(
        self, *, width: int, n_heads: int, attention_dropout: float, dropout: float, norm_eps: float
    ) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.attention_dropout = attention_dropout
        self.dropout = dropout
        self.qkv = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, x_TD: Tensor, runs: tuple[tuple[int, int], ...]) -> Tensor:
        qkv_T3D = self.qkv(x_TD)
        # One split, not a slice a run: each slice's gradient would zero-fill the whole tensor.
        parts = qkv_T3D.split([n * length for n, length in runs])
        mixed = [self._attend(part, *run) for part, run in zip(parts, runs, strict=True)]
        y_TD = self.output(torch.cat(mixed))
        z_TD: Tensor = self.norm(x_TD + dropout(y_TD, self.dropout, self.training))
        return z_TD

    def _attend(self, qkv: Tensor, n: int, length: int) -> Tensor:
        """n sequences of one length: a plain rectangle that needs no mask."""
        q, k, v = qkv.view(n, length, 3, self.n_heads, -1).permute(2, 0, 3, 1, 4)
        if self.training and self.attention_dropout > 0.0:
            # With dropout_p > 0, scaled_dot_product_attention has no fast path on a CPU.
            scores = (q / math.sqrt(q.shape[-1])) @ k.transpose(-1, -2)
            mixed = dropout(scores.softmax(-1), self.attention_dropout, True) @ v
        else:
            mixed = F.scaled_dot_product_attention(q, k, v)
        merged: Tensor = mixed.transpose(1, 2).reshape(n * length, -1)
        return merged
