"""Writes a model as an ONNX graph over packed tokens.

The inputs are rectangles with a mask, as all tools provide them. The first nodes pack the real
tokens, so no operation on single tokens sees padding. Only attention puts its queries, keys and
values back into a rectangle. The encoder is in ``graph_layers.py`` and ``graph_attention.py``.

Shape suffixes: B sequences, L tokens of the longest, T packed tokens, N = B * L places of the
rectangle, D model width, E width of the embeddings, F feed-forward width, H heads of width d,
C outputs.
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from onelayer.checkpoint.config import EncoderConfig
from onelayer.exporting.graph_layers import encoder_graph
from onelayer.exporting.graph_writer import MASKED, GraphWriter, PackedNames
from onelayer.exporting.nodes import Nodes, Outputs
from onelayer.exporting.products import FLOAT, Product, in_float

OF_WHOLE_TEXTS = ("SequenceClassification", "MultipleChoice")
"""Forms of transformers' classes that read one vector of each sequence: the first, or the mean."""


def inputs_of(config: EncoderConfig) -> tuple[str, ...]:
    """The names of a graph's inputs. There is one for segments if the model tells two apart."""
    names = "input_ids", "attention_mask", "token_type_ids"
    return names if config.type_vocab_size > 1 else names[:2]


def model_graph(
    nodes: Nodes, config: EncoderConfig, product: Product, architecture: str
) -> onnx.ModelProto:
    """The graph of a model, with the inputs and outputs of transformers' class.

    Parameters
    ----------
    nodes
        The graph to fill, with the model's weights by our names.
    config
        The model's configuration.
    product
        Computes the encoder's linear layers, in fp32 or int8.
    architecture
        transformers' class.
    """
    class_ = config.family.classes[architecture]
    shape: tuple[str, ...] = ("batch", "length")
    if class_.form == "MultipleChoice":
        shape = ("batch", "options", "length")
    inputs, write = inputs_of(config), GraphWriter(nodes, config, product)
    ids, mask, *segments = (_rows(nodes, name, shape) for name in inputs)
    batch = _pack(nodes, ids, mask, segments)
    x = encoder_graph(write, batch, whole=class_.form in OF_WHOLE_TEXTS)
    if write.has("pooler.weight"):
        x = write.activation(in_float(nodes, x, "pooler"), class_.pooler_shape.activation)
        if class_.pooler_shape.normed:
            x = write.norm(x, "pooler.norm")
    outputs = _outputs(nodes, class_.form, in_float(nodes, x, "head"), batch, shape)
    return nodes.model(architecture, dict.fromkeys(inputs, shape), outputs)


def _rows(nodes: Nodes, name: str, shape: tuple[str, ...]) -> str:
    """An input as (B, L); with options, (batch, options, L), each option becomes a row."""
    if len(shape) == 2:
        return name
    length = nodes("Shape", name, start=2, end=3)
    return nodes("Reshape", name, nodes("Concat", nodes.constant([-1]), length, axis=0))


def _pack(nodes: Nodes, ids: str, mask: str, segments: list[str]) -> PackedNames:
    """Packs the real tokens of the rectangle, row by row."""
    every, zero, one = nodes.constant([-1]), nodes.constant(0), nodes.constant(1)
    mask_N = nodes("Reshape", mask, every)
    places_T = nodes("Reshape", nodes("NonZero", mask_N), every)
    ids_T, *segment_ids_T = (
        nodes("Gather", nodes("Reshape", name, every), places_T) for name in (ids, *segments)
    )
    # The running count of tokens, minus one, is the index of the last token up to each place; it is
    # 0 for padding before any token.
    before_N = nodes("Max", nodes("Sub", nodes("CumSum", mask_N, zero), one), zero)
    lengths_B = nodes("ReduceSum", mask, nodes.constant([1]), keepdims=0)
    last = nodes("Sub", nodes("Shape", ids_T), one)
    # A row without tokens at the end has no first token.
    first_B = nodes("Min", nodes("CumSum", lengths_B, zero, exclusive=1), last)
    absent_BL = nodes("Cast", nodes("Sub", one, mask), to=FLOAT)
    return PackedNames(
        ids_T=ids_T,
        segment_ids_T=segment_ids_T[0] if segment_ids_T else None,
        places_T=places_T,
        tokens_BL=nodes("Reshape", before_N, nodes("Shape", mask)),
        first_B=first_B,
        real_BL=mask,
        length_1=nodes("Shape", mask, start=1, end=2),
        mask_B11L=nodes(
            "Unsqueeze", nodes("Mul", absent_BL, nodes.constant(MASKED)), nodes.constant([1, 2])
        ),
    )


def _outputs(
    nodes: Nodes, form: str | None, logits: str, batch: PackedNames, shape: tuple[str, ...]
) -> Mapping[str, Outputs]:
    """The outputs of a class with this form."""
    n_outputs = len(nodes.weights["head.bias"])
    if form == "MultipleChoice":
        options = nodes("Shape", "input_ids", start=1, end=2)
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
        name: (nodes("Squeeze", part, axis), shape) for name, part in zip(names, parts, strict=True)
    }
