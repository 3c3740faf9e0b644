"""Writes an encoder as an ONNX graph over packed tokens.

The inputs are rectangles with a mask, as all tools provide them. The first nodes pack the real
tokens, so no operation on single tokens sees padding. Only attention puts its queries, keys and
values back into a rectangle.

Shape suffixes: B sequences, L tokens of the longest, T packed tokens, N = B * L places of the
rectangle, D model width, F feed-forward width, H heads of width d, C outputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx

from onelayer.checkpoint.config import EncoderConfig
from onelayer.exporting.nodes import Nodes, Outputs
from onelayer.exporting.products import FLOAT, Product, in_float

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
MASKED = np.float32(-1e9)
"""Added to the scores of padded keys. After the softmax their weights are exactly 0. Unlike
-infinity it gives numbers and not nan for a row without tokens, such as a missing option."""


@dataclass(frozen=True, slots=True)
class PackedNames:
    """The names of the nodes' outputs that lead from the rectangle to packed tokens and back."""

    ids_T: str
    segment_ids_T: str | None
    """None for a family without segment vectors."""
    position_ids_T: str
    places_T: str
    """The place of each token in the rectangle, from 0 to N - 1."""
    tokens_BL: str
    """The packed index of the token at each place; for padding that of the token before."""
    first_B: str
    """Each sequence's first token, ``[CLS]``."""
    mask_B11L: str
    """What is added to the scores: 0, or ``MASKED`` for padding."""


@dataclass(frozen=True, slots=True)
class EncoderGraph:
    """Writes the graph of a model.

    Parameters
    ----------
    nodes
        The graph to fill, with the model's weights by our names.
    config
        The model's configuration.
    product
        Computes the encoder's linear layers, in fp32 or int8.
    """

    nodes: Nodes
    config: EncoderConfig
    product: Product

    def model(self, architecture: str) -> onnx.ModelProto:
        """The graph, with the inputs and outputs of transformers' class ``architecture``."""
        nodes = self.nodes
        shape: tuple[str, ...] = ("batch", "length")
        form = self.config.family.classes[architecture].form
        if form == "MultipleChoice":
            shape = ("batch", "options", "length")
        inputs = INPUTS if self.config.type_vocab_size else INPUTS[:2]
        ids, mask, *segments = (self._rows(name, shape) for name in inputs)
        batch = self._pack(ids, mask, segments)
        x_TD = self._embeddings(batch)
        pooled = "pooler.weight" in nodes.weights
        last = self.config.num_hidden_layers - 1
        for i in range(last + 1):
            x_TD = self._layer(x_TD, batch, f"encoder.layers.{i}", first=pooled and i == last)
        if pooled:
            x_TD = nodes("Tanh", in_float(nodes, x_TD, "pooler"))
        logits = in_float(nodes, x_TD, "head")
        outputs = self._outputs(form, logits, batch, shape)
        return nodes.model(architecture, dict.fromkeys(inputs, shape), outputs)

    def _rows(self, name: str, shape: tuple[str, ...]) -> str:
        """An input as (B, L); with options, (batch, options, L), each option becomes a row."""
        if len(shape) == 2:
            return name
        length = self.nodes("Shape", name, start=2, end=3)
        every = self.nodes.constant([-1])
        return self.nodes("Reshape", name, self.nodes("Concat", every, length, axis=0))

    def _outputs(
        self, form: str | None, logits: str, batch: PackedNames, shape: tuple[str, ...]
    ) -> Mapping[str, Outputs]:
        nodes = self.nodes
        n_outputs = len(nodes.weights["head.bias"])
        if form == "MultipleChoice":
            options = nodes("Shape", INPUTS[0], start=1, end=2)
            by_row = nodes("Concat", nodes.constant([-1]), options, axis=0)
            return {"logits": (nodes("Reshape", logits, by_row), shape[:2])}
        if form == "SequenceClassification":
            return {"logits": (logits, ("batch", n_outputs))}
        logits_BLC = nodes("Gather", logits, batch.tokens_BL)
        if form == "TokenClassification":
            return {"logits": (logits_BLC, (*shape, n_outputs))}
        names = "start_logits", "end_logits"
        parts = nodes.several("Split", 2, logits_BLC, axis=2, num_outputs=2)
        axis = nodes.constant([2])
        return {
            name: (nodes("Squeeze", part, axis), shape)
            for name, part in zip(names, parts, strict=True)
        }

    def _pack(self, ids: str, mask: str, segments: list[str]) -> PackedNames:
        """Packs the real tokens of the rectangle, row by row."""
        nodes = self.nodes
        every, zero, one = nodes.constant([-1]), nodes.constant(0), nodes.constant(1)
        mask_N = nodes("Reshape", mask, every)
        places_T = nodes("Reshape", nodes("NonZero", mask_N), every)
        ids_T, *segment_ids_T = (
            nodes("Gather", nodes("Reshape", name, every), places_T) for name in (ids, *segments)
        )
        # The running count of tokens, minus one, is the index of the last token up to each place;
        # it is 0 for padding before any token.
        before_N = nodes("Max", nodes("Sub", nodes("CumSum", mask_N, zero), one), zero)
        lengths_B = nodes("ReduceSum", mask, nodes.constant([1]), keepdims=0)
        last = nodes(
            "Sub", nodes("Shape", ids_T), one
        )  # a row without tokens at the end has no first token
        first_B = nodes("Min", nodes("CumSum", lengths_B, zero, exclusive=1), last)
        absent_BL = nodes("Cast", nodes("Sub", one, mask), to=FLOAT)
        return PackedNames(
            ids_T=ids_T,
            segment_ids_T=segment_ids_T[0] if segment_ids_T else None,
            position_ids_T=nodes("Mod", places_T, nodes("Shape", mask, start=1, end=2)),
            places_T=places_T,
            tokens_BL=nodes("Reshape", before_N, nodes("Shape", mask)),
            first_B=first_B,
            mask_B11L=nodes(
                "Unsqueeze",
                nodes("Mul", absent_BL, nodes.constant(MASKED)),
                nodes.constant([1, 2]),
            ),
        )

    def _embeddings(self, batch: PackedNames) -> str:
        """The sum of word, position and segment vectors, with norm: (T, D)."""
        nodes, name = self.nodes, "encoder.embeddings"

        def rows(kind: str, indices: str) -> str:
            return nodes("Gather", nodes.weight(f"{name}.{kind}"), indices)

        words_TD = rows("word.weight", batch.ids_T)
        if f"{name}.word.scale" in nodes.weights:
            scale_T1 = nodes("Unsqueeze", rows("word.scale", batch.ids_T), nodes.constant([1]))
            words_TD = nodes("Mul", nodes("Cast", words_TD, to=FLOAT), scale_T1)
        places_TD = rows("position.weight", batch.position_ids_T)
        if batch.segment_ids_T is not None:
            segments_TD = rows("segment.weight", batch.segment_ids_T)
            places_TD = nodes("Add", places_TD, segments_TD)
        return self._norm(nodes("Add", places_TD, words_TD), f"{name}.norm")

    def _layer(self, x_TD: str, batch: PackedNames, name: str, *, first: bool) -> str:
        """A layer: (T, D) -> (T, D). With ``first``, only the first vector of each sequence is
        computed, (B, D): just keys and values are needed of all tokens."""
        nodes, attention, feed_forward = self.nodes, f"{name}.attention", f"{name}.feed_forward"
        if first:
            mixed = self._attend_first(x_TD, batch, f"{attention}.qkv")
            x_TD = nodes("Gather", x_TD, batch.first_B)
        else:
            mixed = self._attend(self.product(nodes, x_TD, f"{attention}.qkv"), batch)
        mixed = self.product(nodes, mixed, f"{attention}.output")
        x_TD = self._norm(nodes("Add", x_TD, mixed), f"{attention}.norm")
        h_TF = self._activation(self.product(nodes, x_TD, f"{feed_forward}.up"))
        y_TD = self.product(nodes, h_TF, f"{feed_forward}.down")
        return self._norm(nodes("Add", x_TD, y_TD), f"{feed_forward}.norm")

    def _attend(self, qkv_T3D: str, batch: PackedNames) -> str:
        """Attention: (T, 3D) queries, keys and values -> (T, D)."""
        nodes = self.nodes
        parts = nodes.several("Split", 3, qkv_T3D, axis=1, num_outputs=3)
        q, k, v = (self._heads(part, batch) for part in parts)
        mixed_BHLd = self._mix(q, k, v, batch)
        mixed_BLHd = nodes("Transpose", mixed_BHLd, perm=[0, 2, 1, 3])
        mixed_ND = nodes("Reshape", mixed_BLHd, nodes.constant([-1, self.config.hidden_size]))
        return nodes("Gather", mixed_ND, batch.places_T)

    def _attend_first(self, x_TD: str, batch: PackedNames, qkv: str) -> str:
        """Attention with one query per sequence: (T, D) -> (B, D)."""
        nodes, width, heads = self.nodes, self.config.hidden_size, self.config.num_attention_heads
        q_BD = self.product(nodes, nodes("Gather", x_TD, batch.first_B), qkv, (0, width))
        q_BH1d = nodes("Reshape", q_BD, nodes.constant([-1, heads, 1, width // heads]))
        kv_T2D = self.product(nodes, x_TD, qkv, (width, 3 * width))
        parts = nodes.several("Split", 2, kv_T2D, axis=1, num_outputs=2)
        k, v = (self._heads(part, batch) for part in parts)
        mixed_BH1d = self._mix(q_BH1d, k, v, batch)
        return nodes("Reshape", mixed_BH1d, nodes.constant([-1, width]))

    def _heads(self, x_TD: str, batch: PackedNames) -> str:
        """Packed vectors as heads of a rectangle: (T, D) -> (B, H, L, d)."""
        nodes, heads = self.nodes, self.config.num_attention_heads
        x_BLD = nodes("Gather", x_TD, batch.tokens_BL)
        shape = nodes.constant([0, 0, heads, self.config.hidden_size // heads])
        return nodes("Transpose", nodes("Reshape", x_BLD, shape), perm=[0, 2, 1, 3])

    def _mix(self, q_BHld: str, k_BHLd: str, v_BHLd: str, batch: PackedNames) -> str:
        """Scaled dot-product attention over l queries: (B, H, l, d)."""
        nodes = self.nodes
        width = self.config.hidden_size // self.config.num_attention_heads
        scores = nodes("MatMul", q_BHld, nodes("Transpose", k_BHLd, perm=[0, 1, 3, 2]))
        scores = nodes("Mul", scores, nodes.constant(np.float32(1 / math.sqrt(width))))
        weights = nodes("Softmax", nodes("Add", scores, batch.mask_B11L), axis=-1)
        return nodes("MatMul", weights, v_BHLd)

    def _norm(self, x: str, name: str) -> str:
        scale, shift = (self.nodes.weight(f"{name}.{kind}") for kind in ("weight", "bias"))
        epsilon = self.config.layer_norm_eps
        return self.nodes("LayerNormalization", x, scale, shift, axis=-1, epsilon=epsilon)

    def _activation(self, x: str) -> str:
        if self.config.hidden_act == "relu":
            return self.nodes("Relu", x)
        approximate = "tanh" if self.config.hidden_act == "gelu_new" else "none"
        return self.nodes("Gelu", x, approximate=approximate)
