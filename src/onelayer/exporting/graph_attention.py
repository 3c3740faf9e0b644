"""Writes attention into a graph, as ``onelayer.nn.attention`` computes it.

A family whose attention is of another kind has a subclass of `AttentionGraph`. Shape
suffixes: see ``graph.py``.
"""

from __future__ import annotations

import math

import numpy as np

from onelayer.exporting.graph_writer import MASKED, Depth, GraphWriter, PackedNames
from onelayer.exporting.products import FLOAT
from onelayer.nn.bricks import Rotation
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
            q_BHld = nodes("Reshape", self.turned(q_BD, depth, depth.first), nodes.constant(shape))
            kv_T2D = write.linear(x_TD, qkv, (width, 3 * width))
            k_TD, v_TD = nodes.several("Split", 2, kv_T2D, axis=1, num_outputs=2)
        else:
            parts = nodes.several("Split", 3, write.linear(x_TD, qkv), axis=1, num_outputs=3)
            q_TD, k_TD, v_TD = parts
            q_BHld = self._heads(self.turned(q_TD, depth, False))
        k_BHLd, v_BHLd = self._heads(self.turned(k_TD, depth, False)), self._heads(v_TD)
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
        return nodes("Add", scaled, self.mask(depth))

    def mask(self, depth: Depth) -> str:
        """What is added to the scores of a layer: see ``added``."""
        if depth.first not in self._added:
            self._added[depth.first] = self.added(depth.first)
        return self._added[depth.first]

    def turned(self, x: str, depth: Depth, first: bool) -> str:
        """Queries or keys, of the first tokens or of all, as the scores' products take them."""
        return x

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


class RotaryAttentionGraph(AttentionGraph):
    """Attention with rotary positions, in some layers only to the tokens nearby, as in
    ``onelayer.nn.rotary``. Shape suffix K: half the width of a head."""

    def __init__(self, write: GraphWriter, batch: PackedNames) -> None:
        super().__init__(write, batch)
        self._turns: dict[tuple[float, bool], tuple[str, str]] = {}
        self._masks: dict[tuple[int, bool], str] = {}

    def turned(self, x: str, depth: Depth, first: bool) -> str:
        """(T, D) or (B, D), each head turned by its token's place."""
        nodes, half = self.write.nodes, self.width // self.n_heads // 2
        cos_T11K, sin_T11K = self._turns_of(self._rotation(depth).base, first)
        shape = nodes.constant([-1, self.n_heads, 2, half])
        a, b = nodes.several("Split", 2, nodes("Reshape", x, shape), axis=2, num_outputs=2)
        low = nodes("Sub", nodes("Mul", a, cos_T11K), nodes("Mul", b, sin_T11K))
        high = nodes("Add", nodes("Mul", b, cos_T11K), nodes("Mul", a, sin_T11K))
        pairs = nodes("Concat", low, high, axis=2)
        return nodes("Reshape", pairs, nodes.constant([-1, self.width]))

    def mask(self, depth: Depth) -> str:
        """The mask of padding, and that of tokens out of reach, which layers share."""
        reach = self._rotation(depth).reach
        if reach is None:
            return super().mask(depth)
        key = reach, depth.first
        if key not in self._masks:
            nodes = self.write.nodes
            every = nodes.table("places", np.arange(self.write.config.longest))
            key_L = nodes("Slice", every, nodes.constant([0]), self.batch.length_1)
            if depth.first:
                query_B = self._places(first=True)
                query_B11l = nodes("Unsqueeze", query_B, nodes.constant([1, 2, 3]))
            else:
                query_B11l = nodes("Unsqueeze", key_L, nodes.constant([1]))  # (L, 1)
            away = nodes("Abs", nodes("Sub", key_L, query_B11l))
            far = nodes("Cast", nodes("Greater", away, nodes.constant(reach)), to=FLOAT)
            masked = nodes("Mul", far, nodes.constant(MASKED))
            self._masks[key] = nodes("Add", self.batch.mask_B11L, masked)
        return self._masks[key]

    def _turns_of(self, base: float, first: bool) -> tuple[str, str]:
        """The cosines and sines of all tokens' angles, or of the first ones': (T, 1, 1, K) each."""
        if (base, first) not in self._turns:
            nodes, width = self.write.nodes, self.width // self.n_heads
            speeds = np.float32(1) / np.float32(base) ** (
                np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
            )
            places = nodes("Cast", self._places(first=first), to=FLOAT)
            places_T111 = nodes("Unsqueeze", places, nodes.constant([1, 2, 3]))
            angles = nodes("Mul", places_T111, nodes.table(f"speeds_{base!r}", speeds))
            self._turns[base, first] = nodes("Cos", angles), nodes("Sin", angles)
        return self._turns[base, first]

    def _places(self, *, first: bool) -> str:
        """The place of each token in its row, or of each row's first token."""
        nodes = self.write.nodes
        places_T = nodes("Mod", self.batch.places_T, self.batch.length_1)
        return nodes("Gather", places_T, self.batch.first_B) if first else places_T

    def _rotation(self, depth: Depth) -> Rotation:
        return self.write.config.bricks.rotations[depth.number]
