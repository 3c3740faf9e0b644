"""Writes attention by contents and distances, as ``onelayer.nn.disentangled`` computes it.

Shape suffixes, beyond those of ``graph.py``: U rows of the table that a batch needs, X = 2 L
distances.
"""

from __future__ import annotations

import math

import numpy as np

from onelayer.exporting.graph_attention import AttentionGraph
from onelayer.exporting.graph_writer import Depth, GraphWriter, PackedNames
from onelayer.nn.bricks import Disentangled
from onelayer.nn.buckets import rows_of_distances

_TABLE = "encoder.distances"


class DisentangledAttentionGraph(AttentionGraph):
    """Keys and queries are projected once per layer for the distances of the longest sequence.
    Scores are rows of their products, each from another place on: see `_skewed`."""

    def __init__(self, write: GraphWriter, batch: PackedNames, kind: Disentangled) -> None:
        super().__init__(write, batch)
        self.kind = kind
        nodes, longest, length = write.nodes, write.config.longest, batch.length_1
        # The row of each distance of a query from its key, from -longest to longest.
        every = nodes.table("distances", rows_of_distances(kind, longest + 1))
        axis, here, one = (nodes.constant([n]) for n in (0, longest, 1))
        least, most = nodes("Sub", here, length), nodes("Add", here, length)
        lowest, highest = nodes("Gather", every, least), nodes("Gather", every, most)
        vectors_UD = nodes(
            "Slice", nodes.weight(f"{_TABLE}.weight"), lowest, nodes("Add", highest, one), axis
        )
        self._vectors_UD = write.norm(vectors_UD, f"{_TABLE}.norm") if kind.normed else vectors_UD

        def rows(start: str, stop: str, step: int) -> str:
            found = nodes("Slice", every, start, stop, axis, nodes.constant([step]))
            return nodes("Sub", found, lowest)

        self._ascending_X = rows(least, most, 1)
        self._descending_X = rows(most, least, -1)
        self._from_first_L = rows(here, least, -1)

    def scores(self, q_BHld: str, k_BHLd: str, depth: Depth) -> str:
        """The scores of l queries with all keys: (B, H, l, L)."""
        nodes, kind = self.write.nodes, self.kind
        scores = nodes("MatMul", q_BHld, nodes("Transpose", k_BHLd, perm=[0, 1, 3, 2]))
        if kind.content_to_distance:
            scores = nodes("Add", scores, self._of_queries(q_BHld, depth))
        if kind.distance_to_content:
            scores = nodes("Add", scores, self._of_keys(k_BHLd, depth))
        scale = np.float32(1 / math.sqrt(self.width // self.n_heads * kind.parts))
        scaled = nodes("Mul", scores, nodes.constant(scale))
        return nodes("Add", scaled, self.batch.mask_B11L)

    def _of_queries(self, q_BHld: str, depth: Depth) -> str:
        """Queries times the keys of distances: (B, H, l, L)."""
        nodes = self.write.nodes
        rows = self._from_first_L if depth.first else self._descending_X
        keys_HdX = self._by_head(self._distances("key", 1, depth), rows, [1, 2, 0])
        products = nodes("MatMul", q_BHld, keys_HdX)
        return products if depth.first else self._skewed(products)

    def _of_keys(self, k_BHLd: str, depth: Depth) -> str:
        """Keys times the queries of distances: (B, H, l, L)."""
        nodes, queries = self.write.nodes, self._distances("query", 0, depth)
        if depth.first:
            queries_HLd = self._by_head(queries, self._from_first_L, [1, 0, 2])
            products = nodes("Mul", k_BHLd, queries_HLd)
            by_key = nodes("ReduceSum", products, nodes.constant([3]), keepdims=1)
        else:
            queries_HdX = self._by_head(queries, self._ascending_X, [1, 2, 0])
            by_key = self._skewed(nodes("MatMul", k_BHLd, queries_HdX))
        return nodes("Transpose", by_key, perm=[0, 1, 3, 2])

    def _distances(self, part: str, third: int, depth: Depth) -> str:
        """The keys or the queries of the table's rows, by weights of their own or by those for
        contents: (U, D)."""
        name = f"{depth.name}.attention"
        if not self.kind.shared:
            return self.write.linear(self._vectors_UD, f"{name}.distance_{part}")
        outputs = third * self.width, (third + 1) * self.width
        return self.write.linear(self._vectors_UD, f"{name}.qkv", outputs)

    def _by_head(self, x_UD: str, rows: str, order: list[int]) -> str:
        """Some of the rows, with (rows, H, d) transposed to an order."""
        nodes = self.write.nodes
        shape = nodes.constant([0, self.n_heads, self.width // self.n_heads])
        return nodes("Transpose", nodes("Reshape", nodes("Gather", x_UD, rows), shape), perm=order)

    def _skewed(self, products: str) -> str:
        """(B, H, L, 2 L) -> (B, H, L, L): of row i the columns from L - i on. In the flat array
        they start 2 L - 1 apart, so there is nothing to gather."""
        nodes, length = self.write.nodes, self.batch.length_1
        zero, end = nodes.constant([0]), nodes.constant([2**62])
        flat = nodes("Reshape", products, nodes.constant([0, 0, -1]))
        flat = nodes("Slice", flat, length, end, nodes.constant([2]))
        shape = nodes("Concat", nodes.constant([0, 0]), length, nodes.constant([-1]), axis=0)
        return nodes("Slice", nodes("Reshape", flat, shape), zero, length, nodes.constant([3]))
