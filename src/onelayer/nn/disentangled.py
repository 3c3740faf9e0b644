"""Disentangled attention (He et al., 2021): a token's content and its distance from another token
have vectors of their own, and the score of a pair is the sum of content with content, content with
distance, and distance with content.

Shape suffixes, beyond those of ``encoder.py``: U rows of the table that a batch needs, X distances
between two tokens of the longest sequence, from -(L - 1) to L - 1.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from onelayer.nn.attention import Attention, AttentionShape
from onelayer.nn.bricks import Disentangled
from onelayer.nn.buckets import rows_of_distances
from onelayer.nn.disentangled_reference import longest_of
from onelayer.nn.linear import Linear, linear
from onelayer.nn.ops import attend_disentangled, attend_disentangled_once, dropout
from onelayer.nn.packed import Packed


class DistanceVectors(nn.Module):
    """A vector for each bucket of distances, which all layers share."""

    def __init__(self, kind: Disentangled, width: int, norm_eps: float) -> None:
        super().__init__()
        self.kind = kind
        self.weight = nn.Parameter(torch.empty(2 * kind.span, width))
        self.norm = nn.LayerNorm(width, eps=norm_eps) if kind.normed else None

    def forward(self, batch: Packed) -> Tensor:
        """(U, D): the rows between those of the batch's two largest distances."""
        rows_X = _rows(self.kind, longest_of(batch.runs))
        vectors_UD = self.weight[int(rows_X[0]) : int(rows_X[-1]) + 1]
        return vectors_UD if self.norm is None else self.norm(vectors_UD)


class DisentangledAttention(Attention):
    """Attention by contents and distances. Its ``distances`` are `DistanceVectors`."""

    def __init__(self, kind: Disentangled, shape: AttentionShape) -> None:
        super().__init__(shape)
        width = shape.hidden_size
        self.kind = kind
        own = not kind.shared
        self.distance_key = Linear(width, width) if own and kind.content_to_distance else None
        self.distance_query = Linear(width, width) if own and kind.distance_to_content else None

    def forward(self, x_TD: Tensor, batch: Packed, distances: Tensor | None = None) -> Tensor:
        """(T, D) -> (T, D)."""
        p = self.attention_dropout if self.training else 0.0
        keys_XD, queries_XD = self._project(distances, batch)
        qkv_T3D = self.qkv(self.enter(x_TD))
        mixed_TD = attend_disentangled(qkv_T3D, keys_XD, queries_XD, batch, self.n_heads, p)
        return self.leave(x_TD, self.output(mixed_TD))

    def read(self, x_TD: Tensor, batch: Packed, distances: Tensor | None = None) -> Tensor:
        """(T, D) -> (S, D): as ``forward``, but only for the one vector read of each sequence."""
        p = self.attention_dropout if self.training else 0.0
        keys_XD, queries_XD = self._project(distances, batch)
        x_SD = x_TD[batch.only_reads_S]
        q_SD, kv_T2D = self._split(self.enter(x_SD), self.enter(x_TD))
        mixed_SD = attend_disentangled_once(
            q_SD, kv_T2D, keys_XD, queries_XD, batch, self.n_heads, p
        )
        return self.leave(x_SD, self.output(mixed_SD))

    def _project(
        self, vectors_UD: Tensor | None, batch: Packed
    ) -> tuple[Tensor | None, Tensor | None]:
        """The key and the query of each distance, once for the whole batch: (X, D) each, or None
        where scores have no such part. Keys go from the largest distance to the smallest, queries
        the other way: the place of the other token ascends in both."""
        assert vectors_UD is not None, "disentangled attention needs vectors of distances"
        kind = self.kind
        vectors_UD = dropout(vectors_UD, self.dropout, self.training)
        rows_X = _rows(kind, longest_of(batch.runs)).to(vectors_UD.device)
        rows_X = rows_X - rows_X[0]
        keys_XD = queries_XD = None
        if kind.content_to_distance:
            keys_XD = self._key(vectors_UD)[rows_X.flip(0)]
        if kind.distance_to_content:
            queries_XD = self._query(vectors_UD)[rows_X]
        return keys_XD, queries_XD

    def _query(self, vectors_UD: Tensor) -> Tensor:
        return self._by(self.distance_query, 0, vectors_UD)

    def _key(self, vectors_UD: Tensor) -> Tensor:
        return self._by(self.distance_key, 1, vectors_UD)

    def _by(self, own: Linear | None, third: int, vectors_UD: Tensor) -> Tensor:
        """The product with weights of its own, or with a third of those for contents."""
        if own is not None:
            return own(vectors_UD)  # type: ignore[no-any-return]
        weight, bias = (x.chunk(3)[third] for x in (self.qkv.weight, self.qkv.bias))
        return linear(vectors_UD, weight, bias, bf16=self.qkv.bf16 and self.training)


@lru_cache(maxsize=64)
def _rows(kind: Disentangled, longest: int) -> Tensor:
    """(X,) the row of the table for each distance."""
    return torch.from_numpy(rows_of_distances(kind, longest))
