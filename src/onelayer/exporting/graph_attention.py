"""Writes attention into a graph, as ``onelayer.nn.attention`` computes it.

A family whose attention is of another kind has a subclass of `AttentionGraph`. Shape
suffixes: see ``graph.py``.
"""

from __future__ import annotations

import math

import numpy as np

from onelayer.exporting.graph_writer import Depth, GraphWriter, PackedNames
from onelayer.nn.buckets import bucket_of_distances


class AttentionGraph:
    """Multi-head self-attention. Queries, keys and values are put back into a rectangle."""

    def __init__(self, write: GraphWriter, batch: PackedNames) -> None:
        self.write = write
        self.batch = batch
        self.width = write.config.hidden_size
        self.n_heads = write.config.num_attention_heads
        self._added: dict[bool, str] = {}

    def __call__(self, x_TD: str, depth: Depth) -> str:
        """(T, D) -> (T, D) mixed values; (B, D) if only the first vectors are computed, for which
        just keys and values are needed of all tokens."""
        nodes, write, width = self.write.nodes, self.write, self.width
        qkv = f"{depth.name}.attention.qkv"
        if depth.first:
            q_BD = write.linear(nodes("Gather", x_TD, self.batch.first_B), qkv, (0, width))
            shape = [-1, self.n_heads, 1, width // self.n_heads]
            q_BHld = nodes("Reshape", q_BD, nodes.constant(shape))
            kv_T2D = write.linear(x_TD, qkv, (width, 3 * width))
            parts = nodes.several("Split", 2, kv_T2D, axis=1, num_outputs=2)
            k_BHLd, v_BHLd = map(self._heads, parts)
        else:
            parts = nodes.several("Split", 3, write.linear(x_TD, qkv), axis=1, num_outputs=3)
            q_BHld, k_BHLd, v_BHLd = map(self._heads, parts)
        scores = self.scores(q_BHld, k_BHLd, depth)
        weights = nodes("Softmax", scores, axis=-1)
        mixed_BHld = nodes("MatMul", weights, v_BHLd)
        rows = nodes.constant([-1, width])
        if depth.first:
            return nodes("Reshape", mixed_BHld, rows)
        mixed_BLHd = nodes("Transpose", mixed_BHld, perm=[0, 2, 1, 3])
        return nodes("Gather", nodes("Reshape", mixed_BLHd, rows), self.batch.places_T)

    def scores(self, q_BHld: str, k_BHLd: str, depth: Depth) -> str:
        """The scores of l queries with all keys: (B, H, l, L)."""
        nodes = self.write.nodes
        products = nodes("MatMul", q_BHld, nodes("Transpose", k_BHLd, perm=[0, 1, 3, 2]))
        scale = np.float32(1 / math.sqrt(self.width // self.n_heads))
        scaled = nodes("Mul", products, nodes.constant(scale))
        if depth.first not in self._added:
            self._added[depth.first] = self.added(depth.first)
        return nodes("Add", scaled, self._added[depth.first])

    def added(self, first: bool) -> str:
        """What is added to the scores of every layer, of all queries or of the first ones: the
        mask. Its shape is (B, H, l, L), or 1 in place of any of them."""
        return self.batch.mask_B11L

    def _heads(self, x_TD: str) -> str:
        """Packed vectors as heads of a rectangle: (T, D) -> (B, H, L, d)."""
        nodes = self.write.nodes
        x_BLD = nodes("Gather", x_TD, self.batch.tokens_BL)
        shape = nodes.constant([0, 0, self.n_heads, self.width // self.n_heads])
        return nodes("Transpose", nodes("Reshape", x_BLD, shape), perm=[0, 2, 1, 3])


class BiasedAttentionGraph(AttentionGraph):
    """Attention with a bias for the distance of two tokens, as in ``onelayer.nn.distances``."""

    def added(self, first: bool) -> str:
        """The mask and the bias, which is looked up once for all layers."""
        nodes, longest = self.write.nodes, self.write.config.longest
        weight, zero = "encoder.distances.weight", nodes.constant([0])
        n_buckets = len(nodes.weights[weight])
        # The bucket of every distance of a key from its query, the most negative one first.
        buckets = nodes.table("buckets", bucket_of_distances(longest, n_buckets))
        if first:
            here = nodes.constant([longest - 1])
            of_row = nodes("Slice", buckets, here, nodes("Add", here, self.batch.length_1))
            buckets_lL = nodes("Unsqueeze", of_row, zero)
        else:
            every = nodes.table("places", np.arange(longest))
            key_L = nodes("Slice", every, zero, self.batch.length_1)
            query_L1 = nodes("Unsqueeze", key_L, nodes.constant([1]))
            away_LL = nodes("Sub", nodes("Add", key_L, nodes.constant(longest - 1)), query_L1)
            buckets_lL = nodes("Gather", buckets, away_LL)
        bias_lLH = nodes("Gather", nodes.weight(weight), buckets_lL)
        bias_1HlL = nodes("Unsqueeze", nodes("Transpose", bias_lLH, perm=[2, 0, 1]), zero)
        return nodes("Add", self.batch.mask_B11L, bias_1HlL)
