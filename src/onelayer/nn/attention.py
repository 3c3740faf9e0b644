"""Self-attention over packed sequences."""

from __future__ import annotations

from torch import Tensor, nn

from onelayer.nn.linear import Linear, linear
from onelayer.nn.ops import add_norm, attend, attend_once
from onelayer.nn.packed import Packed


class Attention(nn.Module):
    """Multi-head self-attention, post-norm, as in BERT. Shapes: see ``encoder.py``."""

    def __init__(
        self, *, width: int, n_heads: int, attention_dropout: float, dropout: float, norm_eps: float
    ) -> None:
        super().__init__()
        self.width = width
        self.n_heads = n_heads
        self.attention_dropout = attention_dropout
        self.dropout = dropout
        self.qkv = Linear(width, 3 * width)
        self.output = Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=norm_eps)

    def forward(self, x_TD: Tensor, batch: Packed, distances: Tensor | None = None) -> Tensor:
        """(T, D) -> (T, D). ``distances`` is a bias by head and places, (H, L, L), which is added
        to the scores."""
        p = self.attention_dropout if self.training else 0.0
        mixed_TD = attend(self.qkv(x_TD), batch, self.n_heads, p, distances)
        return self._close(x_TD, mixed_TD)

    def read(self, x_TD: Tensor, batch: Packed, distances: Tensor | None = None) -> Tensor:
        """(T, D) -> (S, D): as ``forward``, but only for the one vector read of each sequence."""
        p = self.attention_dropout if self.training else 0.0
        x_SD = x_TD[batch.only_reads_S]
        q_SD, kv_T2D = self._split(x_SD, x_TD)
        mixed_SD = attend_once(q_SD, kv_T2D, batch, self.n_heads, p, distances)
        return self._close(x_SD, mixed_SD)

    def _split(self, x_SD: Tensor, x_TD: Tensor) -> tuple[Tensor, Tensor]:
        """(S, D) queries and (T, 2D) keys and values. These are needed of all tokens, queries only
        of those that are read, so the one matrix for all three is split."""
        bf16 = self.qkv.bf16 and self.training
        w_q, w_kv = self.qkv.weight.split([self.width, 2 * self.width])
        b_q, b_kv = self.qkv.bias.split([self.width, 2 * self.width])
        return linear(x_SD, w_q, b_q, bf16=bf16), linear(x_TD, w_kv, b_kv, bf16=bf16)

    def _close(self, x: Tensor, mixed: Tensor) -> Tensor:
        """The output product, the residual and the norm."""
        return add_norm(x, self.output(mixed), self.norm, self.dropout if self.training else 0.0)
