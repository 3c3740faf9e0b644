"""Checks a bundle's graph before an engine reads it.

A bundle may come from anybody, and an engine does what the graph says: it opens files elsewhere,
allocates any size, calls functions. Export writes plain nodes and one weights file; everything
else is refused.

The graph is parsed with protobuf, as engines parse it, so that both see the same content. Only the
fields that export writes are known here. This needs no onnx package, so a server doesn't either.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.protobuf_messages import Schema
from onelayer.checkpoint.bundle_weights import TensorSlice

LARGEST_GRAPH = 2 << 20
"""Bytes of a graph, at most. BERT-Large's has 170,000; parsed, a byte may take fifty in memory."""

# The fields of onnx.proto that export writes; their numbers never change. A graph's inputs and
# outputs stay bytes: they only name shapes, which engines don't rely on.
_GRAPH = Schema(
    "graph",
    {
        "Model": {
            "ir_version": (1, "int64"),
            "producer_name": (2, "string"),
            "producer_version": (3, "string"),
            "graph": (7, "Graph"),
            "opset_import": (8, "repeated Opset"),
        },
        "Opset": {"domain": (1, "string"), "version": (2, "int64")},
        "Graph": {
            "node": (1, "repeated Node"),
            "name": (2, "string"),
            "initializer": (5, "repeated Tensor"),
            "input": (11, "repeated bytes"),
            "output": (12, "repeated bytes"),
        },
        "Node": {
            "input": (1, "repeated string"),
            "output": (2, "repeated string"),
            "name": (3, "string"),
            "op_type": (4, "string"),
            "attribute": (5, "repeated Attribute"),
        },
        "Attribute": {
            "name": (1, "string"),
            "f": (2, "float"),
            "i": (3, "int64"),
            "s": (4, "bytes"),
            "floats": (7, "repeated float"),
            "ints": (8, "repeated int64"),
            "type": (20, "int32"),
        },
        "Tensor": {
            "dims": (1, "repeated int64"),
            "data_type": (2, "int32"),
            "name": (8, "string"),
            "raw_data": (9, "bytes"),
            "external_data": (13, "repeated Entry"),
            "data_location": (14, "int32"),
        },
        "Entry": {"key": (1, "string"), "value": (2, "string")},
    },
)

BYTES = {1: 4, 2: 1, 3: 1, 7: 8}
"""Bytes of one number, by onnx.proto's types: float, uint8, int8, int64."""
KINDS = {"F32": 1, "I8": 3}
OPS = frozenset(
    (
        *("Abs", "Add", "Cast", "Concat", "Conv", "Cos", "CumSum", "DequantizeLinear", "Div"),
        *("Floor", "Gather", "Gelu", "Gemm", "Greater", "Identity", "LayerNormalization", "MatMul"),
        *("MatMulInteger", "Max", "Min", "Mod", "Mul", "NonZero", "QuantizeLinear", "ReduceMax"),
        *("ReduceSum", "Relu", "Reshape", "Shape", "Sin", "Slice", "Softmax", "Split", "Squeeze"),
        *("Sub", "Tanh", "Transpose", "Unsqueeze"),
    )
)
"""The operators that export writes. None of them reads a file or contains another graph."""


def check_graph(path: Path, location: str, slices: Mapping[str, TensorSlice]) -> None:
    """Checks a graph's nodes and its references to weights.

    Parameters
    ----------
    path
        The graph.
    location
        The name of the weights file in the same folder, the only one that it may refer to.
    slices
        The tensors in that file.

    Raises
    ------
    CheckpointError
        For unknown nodes or fields, and for a tensor that isn't the one of its name in the file.
    """
    with path.open("rb") as file:
        data = file.read(LARGEST_GRAPH + 1)
    try:
        if len(data) > LARGEST_GRAPH:
            raise _Refused(f"more than {LARGEST_GRAPH >> 20} MB, and the weights aren't in it")
        model = _GRAPH.message("Model")
        try:
            model.ParseFromString(data)
        except DecodeError:
            raise _Refused("no ONNX graph, or a damaged one") from None
        _check_model(model, location, slices)
    except _Refused as error:
        raise CheckpointError(
            str(error), place=Place(path), hint="export the run again, or fetch the bundle again"
        ) from None


class _Refused(Exception):  # noqa: N818 - what is refused, not an error of ours
    pass


def _check_model(model: Any, location: str, slices: Mapping[str, TensorSlice]) -> None:
    if any(_known(opset).domain for opset in _known(model).opset_import):
        raise _Refused("operators of another domain than ONNX's own")
    if not model.HasField("graph"):
        raise _Refused("no graph")
    graph = _known(model.graph)
    for node in map(_known, graph.node):
        if node.op_type not in OPS:
            raise _Refused(f"an operator that export doesn't write: {node.op_type:.80}")
        for attribute in node.attribute:
            _known(attribute)
    for tensor in map(_known, graph.initializer):
        _check_tensor(tensor, location, slices)


def _known(message: Any) -> Any:
    """The message itself. Raises _Refused for a field that export doesn't write or with another
    type."""
    for field in UnknownFieldSet(message):
        kind = message.DESCRIPTOR.name
        raise _Refused(f"{kind} with field {field.field_number}, which export doesn't write")
    return message


def _check_tensor(tensor: Any, location: str, slices: Mapping[str, TensorSlice]) -> None:
    name, kind, shape = tensor.name, tensor.data_type, tuple(tensor.dims)
    if kind not in BYTES:
        raise _Refused(f"{name:.80} is of no type that export writes")
    if any(not 0 <= dimension < 1 << 40 for dimension in shape):
        raise _Refused(f"{name:.80} has a dimension that no tensor has")
    external = {pair.key: pair.value for pair in map(_known, tensor.external_data)}
    if external:
        if external.get("location") != location:
            raise _Refused(f"{name:.80} lies elsewhere than in {location}")
        there = slices.get(name)
        if there is None or (KINDS.get(there.kind), there.shape) != (kind, shape):
            raise _Refused(f"{name:.80} is another tensor in {location}")
        place = {"offset": str(there.offset), "length": str(there.length)}
        if external != {"location": location, **place}:
            raise _Refused(f"{name:.80} lies somewhere else in {location}")
    elif len(tensor.raw_data) != BYTES[kind] * math.prod(shape):
        raise _Refused(f"{name:.80} has not as many numbers as its shape")
