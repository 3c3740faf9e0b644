"""Self-attention over packed sequences."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from onelayer.nn.half import Half, HalfShape, layer_norm
from onelayer.nn.linear import Linear, linear
from onelayer.nn.ops import attend, attend_once, take
from onelayer.nn.packed import Packed
from onelayer.nn.rotary import Rotary


class AttentionShape(HalfShape, Protocol):
    """The fields of an `EncoderConfig` that decide attention's sizes."""

    @property
    def num_attention_heads(self) -> int: ...
    @property
    def attention_probs_dropout_prob(self) -> float: ...


class Attention(Half):
    """Multi-head self-attention, the first half of a layer. Shapes: see ``encoder.py``.

    Parameters
    ----------
    shape
        The encoder's sizes.
    rotary
        Turns queries and keys by their places; None where positions have vectors.
    reach
        The most tokens between a token and those that it attends to; None if it attends to all.
    normed
        Whether the half has a norm.
    """

    def __init__(
        self,
        shape: AttentionShape,
        *,
        rotary: Rotary | None = None,
        reach: int | None = None,
        normed: bool = True,
    ) -> None:
        super().__init__()
        bricks, width = shape.bricks, shape.hidden_size
        self.width = width
        self.n_heads = shape.num_attention_heads
        self.attention_dropout = shape.attention_probs_dropout_prob
        given = bricks.attention_dropout
        self.dropout = shape.hidden_dropout_prob if given is None else given
        self.pre_norm = bricks.pre_norm
        self.rotary, self.reach = rotary, reach
        self.qkv = Linear(width, 3 * width, bias=bricks.attention_bias)
        self.output = Linear(width, width, bias=bricks.attention_bias)
        self.norm = layer_norm(shape) if normed else None

    def forward(self, x_TD: Tensor, batch: Packed, distances: Tensor | None = None) -> Tensor:
        """(T, D) -> (T, D). ``distances`` is a bias by head and distance, (H, 2L - 1), which is
        added to the scores."""
        p = self.attention_dropout if self.training else 0.0
        qkv_T3D = self.qkv(self.enter(x_TD))
        if self.rotary is not None:
            qkv_T3D = self.rotary(qkv_T3D, batch.position_ids_T, 2 * self.n_heads)
        mixed_TD = attend(qkv_T3D, batch, self.n_heads, p, distances, self.reach)
        return self.leave(x_TD, self.output(mixed_TD))

    def read(self, x_TD: Tensor, batch: Packed, distances: Tensor | None = None) -> Tensor:
        """(T, D) -> (S, D): as ``forward``, but only for the one vector read of each sequence."""
        reads_S = batch.only_reads_S
        assert reads_S is not None, "there is one vector per sequence"
        if self.reach is not None:  # which keys a query sees depends on its place
            return self(x_TD, batch, distances)[reads_S]  # type: ignore[no-any-return]
        p = self.attention_dropout if self.training else 0.0
        x_SD = take(x_TD, reads_S)
        q_SD, kv_T2D = self._split(self.enter(x_SD), self.enter(x_TD))
        if self.rotary is not None:
            q_SD = self.rotary(q_SD, batch.position_ids_T[reads_S], self.n_heads)
            kv_T2D = self.rotary(kv_T2D, batch.position_ids_T, self.n_heads)
        mixed_SD = attend_once(q_SD, kv_T2D, batch, self.n_heads, p, distances)
        return self.leave(x_SD, self.output(mixed_SD))

    def _split(self, x_SD: Tensor, x_TD: Tensor) -> tuple[Tensor, Tensor]:
        """(S, D) queries and (T, 2D) keys and values. These are needed of all tokens, queries only
        of those that are read, so the one matrix for all three is split."""
        bf16 = self.qkv.bf16 and self.training
        parts = [self.width, 2 * self.width]
        w_q, w_kv = self.qkv.weight.split(parts)
        b_q, b_kv = (None, None) if self.qkv.bias is None else self.qkv.bias.split(parts)
        return linear(x_SD, w_q, b_q, bf16=bf16), linear(x_TD, w_kv, b_kv, bf16=bf16)
