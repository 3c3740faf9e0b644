"""Writes embeddings and layers into a graph, as ``onelayer.nn.encoder`` computes them.

Shape suffixes: see ``graph.py``.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce

import numpy as np

from onelayer.checkpoint.bundle_weights import MULTIPLIERS, NIBBLES
from onelayer.exporting.graph_attention import (
    AttentionGraph,
    BiasedAttentionGraph,
    RotaryAttentionGraph,
)
from onelayer.exporting.graph_disentangled import DisentangledAttentionGraph
from onelayer.exporting.graph_writer import Depth, GraphWriter, PackedNames
from onelayer.exporting.products import FLOAT

EMBEDDINGS = "encoder.embeddings"


def encoder_graph(write: GraphWriter, batch: PackedNames, *, whole: bool) -> str:
    """The encoder: (T, D), or (B, D) if one vector of each sequence is read: the first or, where
    the model says so, the mean."""
    nodes, bricks = write.nodes, write.config.bricks
    first = whole and not bricks.mean
    x_TD = embeddings_graph(write, batch)
    attention = attention_graph(write, batch)
    n_layers = write.config.num_hidden_layers
    for i, number in enumerate(bricks.order(n_layers)):
        name = f"encoder.layers.{number}"
        depth = Depth(number=i, name=name, first=first and i == n_layers - 1)
        x_TD = layer_graph(write, attention, batch, x_TD, depth)
    if bricks.pre_norm:
        x_TD = write.norm(x_TD, "encoder.norm")
    if not whole or first:
        return x_TD
    x_BLD = nodes("Gather", x_TD, batch.tokens_BL)
    real_BL1 = nodes("Cast", nodes("Unsqueeze", batch.real_BL, nodes.constant([2])), to=FLOAT)
    axis = nodes.constant([1])
    sums_BD = nodes("ReduceSum", nodes("Mul", x_BLD, real_BL1), axis, keepdims=0)
    counts_B1 = nodes("ReduceSum", real_BL1, axis, keepdims=0)
    # A row without tokens, such as a missing option, has a mean of zeros.
    return nodes("Div", sums_BD, nodes("Max", counts_B1, nodes.constant(np.float32(1))))


def attention_graph(write: GraphWriter, batch: PackedNames) -> AttentionGraph:
    """The attention of a model."""
    bricks = write.config.bricks
    if bricks.disentangled is not None:
        return DisentangledAttentionGraph(write, batch, bricks.disentangled)
    if bricks.rotations:
        return RotaryAttentionGraph(write, batch)
    kind = BiasedAttentionGraph if bricks.distance_buckets else AttentionGraph
    return kind(write, batch)


def embeddings_graph(write: GraphWriter, batch: PackedNames) -> str:
    """The sum of word, position and segment vectors, with norm, and widened where they are narrower
    than the model: (T, D)."""
    nodes = write.nodes
    x_TE = _words(write, batch)
    # Positions and segments are added first, as in torch.
    added = []
    if write.has(f"{EMBEDDINGS}.position.weight"):
        places_T = _position_ids(write, batch)
        added.append(nodes("Gather", nodes.weight(f"{EMBEDDINGS}.position.weight"), places_T))
    if write.has(f"{EMBEDDINGS}.segment.weight"):
        segments = nodes.weight(f"{EMBEDDINGS}.segment.weight")  # the one vector of all tokens
        if batch.segment_ids_T is not None:
            segments = nodes("Gather", segments, batch.segment_ids_T)
        added.append(segments)
    if added:
        x_TE = nodes("Add", reduce(lambda x, y: nodes("Add", x, y), added), x_TE)
    x_TE = write.norm(x_TE, f"{EMBEDDINGS}.norm")
    if not write.has(f"{EMBEDDINGS}.widen.weight"):
        return x_TE
    return write.linear(x_TE, f"{EMBEDDINGS}.widen")


def _words(write: GraphWriter, batch: PackedNames) -> str:
    nodes, name = write.nodes, f"{EMBEDDINGS}.word"
    if write.has(NIBBLES):
        words_TE = _multiplied_out(write, batch)
    else:
        words_TE = nodes("Gather", nodes.weight(f"{name}.weight"), batch.ids_T)
    if not write.has(f"{name}.scale"):
        return words_TE
    scale_T = nodes("Gather", nodes.weight(f"{name}.scale"), batch.ids_T)
    scale_T1 = nodes("Unsqueeze", scale_T, nodes.constant([1]))
    return nodes("Mul", nodes("Cast", words_TE, to=FLOAT), scale_T1)


def _multiplied_out(write: GraphWriter, batch: PackedNames) -> str:
    """The rows of an int8 table that is stored in four bits: (T, E). Only those of the batch's
    tokens are computed. All of these floats are whole numbers, so they are exact."""
    nodes = write.nodes
    bytes_TH, multiplier_TG = (
        nodes("Cast", nodes("Gather", nodes.weight(name), batch.ids_T), to=FLOAT)
        for name in (NIBBLES, MULTIPLIERS)
    )
    sixteen, eight = (nodes.constant(np.float32(value)) for value in (16, 8))
    high_TH = nodes("Floor", nodes("Div", bytes_TH, sixteen))
    low_TH = nodes("Sub", nodes("Sub", bytes_TH, nodes("Mul", high_TH, sixteen)), eight)
    n_groups, width = nodes.weights[MULTIPLIERS].shape[1], 2 * nodes.weights[NIBBLES].shape[1]
    # A 0 keeps the size, which may be zero.
    groups = nodes.constant([0, n_groups, width // n_groups])
    q_TGg = nodes("Reshape", nodes("Concat", low_TH, high_TH, axis=1), groups)
    multiplier_TG1 = nodes("Unsqueeze", multiplier_TG, nodes.constant([2]))
    words_TGg = nodes("Mul", q_TGg, multiplier_TG1)
    return nodes("Reshape", words_TGg, nodes.constant([0, width]))


def _position_ids(write: GraphWriter, batch: PackedNames) -> str:
    """The row of the table of positions for each token: (T,)."""
    nodes, first = write.nodes, write.config.bricks.first_position
    if not first:
        return nodes("Mod", batch.places_T, batch.length_1)
    # transformers counts tokens here and not places, which differ with padding on the left.
    counted_BL = nodes("CumSum", batch.real_BL, nodes.constant(1))
    counted_N = nodes("Reshape", counted_BL, nodes.constant([-1]))
    return nodes("Add", nodes("Gather", counted_N, batch.places_T), nodes.constant(first - 1))


def layer_graph(
    write: GraphWriter, attention: AttentionGraph, batch: PackedNames, x_TD: str, depth: Depth
) -> str:
    """A layer: (T, D) -> (T, D), or (B, D) if only the first vectors are computed."""
    convolution = write.config.bricks.convolution
    if convolution is None or not write.has(f"{depth.name}.convolution.weight"):
        return _halves(write, attention, batch, x_TD, depth)
    y_TD = _halves(write, attention, batch, x_TD, replace(depth, first=False))
    name = f"{depth.name}.convolution"
    found_TD = write.activation(_convolved(write, batch, x_TD, name), convolution.activation)
    y_TD = write.norm(write.nodes("Add", y_TD, found_TD), f"{name}.norm")
    return write.nodes("Gather", y_TD, batch.first_B) if depth.first else y_TD


def _halves(
    write: GraphWriter, attention: AttentionGraph, batch: PackedNames, x_TD: str, depth: Depth
) -> str:
    """Attention and feed-forward, each with its norm after it or before it."""
    nodes, name, pre_norm = write.nodes, depth.name, write.config.bricks.pre_norm
    norms = f"{name}.attention.norm", f"{name}.feed_forward.norm"
    # The first layer of a model with norms at the start has none for attention.
    normed = pre_norm and write.has(f"{norms[0]}.weight")
    y_TD = write.norm(x_TD, norms[0]) if normed else x_TD
    mixed = write.linear(attention(y_TD, depth), f"{name}.attention.output")
    if depth.first:
        x_TD = nodes("Gather", x_TD, batch.first_B)
    x_TD = nodes("Add", x_TD, mixed)
    if pre_norm:
        y_TD = feed_forward_graph(write, write.norm(x_TD, norms[1]), name)
        return nodes("Add", x_TD, y_TD)
    x_TD = write.norm(x_TD, norms[0])
    y_TD = feed_forward_graph(write, x_TD, name)
    return write.norm(nodes("Add", x_TD, y_TD), norms[1])


def _convolved(write: GraphWriter, batch: PackedNames, x_TD: str, name: str) -> str:
    """A convolution over the tokens of each sequence, which sees zeros around them: (T, D)."""
    nodes = write.nodes
    weight, bias = (nodes.weight(f"{name}.{kind}") for kind in ("weight", "bias"))
    real_BL1 = nodes("Unsqueeze", nodes("Cast", batch.real_BL, to=FLOAT), nodes.constant([2]))
    x_BLD = nodes("Mul", nodes("Gather", x_TD, batch.tokens_BL), real_BL1)
    x_BDL = nodes("Transpose", x_BLD, perm=[0, 2, 1])
    around = nodes.weights[f"{name}.weight"].shape[2] // 2
    y_BDL = nodes("Conv", x_BDL, weight, bias, pads=[around, around])
    y_BLD = nodes("Transpose", y_BDL, perm=[0, 2, 1])
    rows = nodes.constant([-1, write.config.hidden_size])
    return nodes("Gather", nodes("Reshape", y_BLD, rows), batch.places_T)


def feed_forward_graph(write: GraphWriter, x_TD: str, name: str) -> str:
    """The two linear layers of a layer's second half: (T, D) -> (T, D)."""
    h_TF = write.linear(x_TD, f"{name}.feed_forward.up")
    if write.config.bricks.gated:
        a_TF, b_TF = write.nodes.several("Split", 2, h_TF, axis=1, num_outputs=2)
        h_TF = write.nodes("Mul", write.activation(a_TF, write.config.hidden_act), b_TF)
    else:
        h_TF = write.activation(h_TF, write.config.hidden_act)
    return write.linear(h_TF, f"{name}.feed_forward.down")
