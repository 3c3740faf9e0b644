"""What stands in a bundle's graph, read before an engine reads it.

A bundle comes from anywhere, and an engine follows whatever a graph says: to files elsewhere, to
sizes no memory holds, to functions of its own. Export writes plain nodes and one weights file, and
nothing else is let through. Protocol buffers are read here by their wire format, of which a graph
needs little, so that a server doesn't need the package onnx.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.model_files import LARGEST
from onelayer.checkpoint.bundle_weights import Slice

# Field numbers of onnx.proto, which never change.
_MODEL = {"graph": 7, "opset": 8, "functions": 25, "metadata": 14, "training": 20}
_GRAPH = {"node": 1, "initializer": 5, "sparse": 15}
_NODE = {"op": 4, "attribute": 5, "domain": 7}
_ATTRIBUTE = {"float": 2, "int": 3, "string": 4, "floats": 7, "ints": 8, "name": 1, "type": 20}
_TENSOR = {"dims": 1, "type": 2, "raw": 9, "external": 13, "location": 14, "name": 8}

BYTES = {1: 4, 2: 1, 3: 1, 7: 8}
"""Of one number, by its type: float, uint8, int8, int64."""
KINDS = {"F32": 1, "I8": 3}
OPS = frozenset(
    (
        *("Abs", "Add", "Cast", "Concat", "CumSum", "DequantizeLinear", "Div", "Gather", "Gelu"),
        *("Gemm", "Identity", "LayerNormalization", "MatMul", "MatMulInteger", "Max", "Min"),
        *("Mod", "Mul", "NonZero", "QuantizeLinear", "ReduceMax", "ReduceSum", "Relu", "Reshape"),
        *("Shape", "Slice", "Softmax", "Split", "Squeeze", "Sub", "Tanh", "Transpose"),
        *("Unsqueeze",),
    )
)
"""What export writes. None of them reads a file or holds a graph of its own."""

Fields = dict[int, list["int | bytes"]]


def check_graph(path: Path, location: str, slices: Mapping[str, Slice]) -> None:
    """Raises CheckpointError unless a graph is made of the known nodes alone and each tensor that
    lies outside of it is the one of its name in the file ``location`` beside it."""
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    try:
        if len(data) > LARGEST:
            raise _Refused(f"more than {LARGEST >> 20} MB, and the weights aren't in it")
        _check_model(_fields(data), location, slices)
    except _Refused as error:
        raise CheckpointError(
            str(error), place=Place(path), hint="export the run again, or fetch the bundle again"
        ) from None


class _Refused(Exception):  # noqa: N818 - what is refused, not an error of ours
    pass


def _check_model(model: Fields, location: str, slices: Mapping[str, Slice]) -> None:
    _only(model, {1, 2, 3, *(_MODEL[name] for name in ("graph", "opset"))}, "a model")
    for opset in _messages(model, _MODEL["opset"]):
        if opset.get(1, [b""]) != [b""]:
            raise _Refused("operators of another domain than ONNX's own")
    graphs = list(_messages(model, _MODEL["graph"]))
    if len(graphs) != 1:
        raise _Refused("not one graph")
    _only(graphs[0], {2, 11, 12, _GRAPH["node"], _GRAPH["initializer"]}, "a graph")
    for node in _messages(graphs[0], _GRAPH["node"]):
        _check_node(node)
    for tensor in _messages(graphs[0], _GRAPH["initializer"]):
        _check_tensor(tensor, location, slices)


def _check_node(node: Fields) -> None:
    _only(node, {1, 2, 3, _NODE["op"], _NODE["attribute"]}, "a node")
    op = _text(node, _NODE["op"])
    if op not in OPS:
        raise _Refused(f"an operator that export doesn't write: {op:.80}")
    for attribute in _messages(node, _NODE["attribute"]):
        _only(attribute, set(_ATTRIBUTE.values()), f"an attribute of {op}")


def _check_tensor(tensor: Fields, location: str, slices: Mapping[str, Slice]) -> None:
    name = _text(tensor, _TENSOR["name"])
    _only(tensor, set(_TENSOR.values()), f"the tensor {name:.80}")
    kind, shape = _number(tensor, _TENSOR["type"]), tuple(_dimensions(tensor))
    if kind not in BYTES:
        raise _Refused(f"{name:.80} is of no type that export writes")
    external = {_text(pair, 1): _text(pair, 2) for pair in _messages(tensor, _TENSOR["external"])}
    if external:
        if external.get("location") != location:
            raise _Refused(f"{name:.80} lies elsewhere than in {location}")
        there = slices.get(name)
        if there is None or (KINDS.get(there.kind), there.shape) != (kind, shape):
            raise _Refused(f"{name:.80} is another tensor in {location}")
        place = {"offset": str(there.offset), "length": str(there.length)}
        if external != {"location": location, **place}:
            raise _Refused(f"{name:.80} lies somewhere else in {location}")
        return
    raw = tensor.get(_TENSOR["raw"], [b""])[-1]
    if not isinstance(raw, bytes) or len(raw) != BYTES[kind] * math.prod(shape):
        raise _Refused(f"{name:.80} has not as many numbers as its shape")


def _dimensions(tensor: Fields) -> Iterator[int]:
    """Written one by one or packed; the sizes of tensors are far below 2**40."""
    for value in tensor.get(_TENSOR["dims"], []):
        reader = None if isinstance(value, int) else _Reader(value)
        packed = [value] if isinstance(value, int) else []
        while reader and reader.at < len(reader.data):
            packed.append(reader.varint())
        for dimension in packed:
            if dimension >= 1 << 40:
                raise _Refused("a dimension that no tensor has")
            yield dimension


def _only(message: Fields, known: set[int], what: str) -> None:
    if strange := sorted(message.keys() - known):
        raise _Refused(f"{what} with something that export doesn't write (field {strange[0]})")


def _messages(message: Fields, number: int) -> Iterator[Fields]:
    for value in message.get(number, []):
        if isinstance(value, int):
            raise _Refused("a number where a message belongs")
        yield _fields(value)


def _text(message: Fields, number: int) -> str:
    value = message.get(number, [b""])[-1]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _number(message: Fields, number: int) -> int:
    value = message.get(number, [0])[-1]
    return value if isinstance(value, int) else -1


def _fields(data: bytes) -> Fields:
    """A message's fields by number: numbers, and what has a length as bytes."""
    found: Fields = defaultdict(list)
    reader = _Reader(data)
    while reader.at < len(data):
        number, kind = divmod(reader.varint(), 8)
        match kind:
            case 0:
                found[number].append(reader.varint())
            case 1:
                found[number].append(reader.take(8))
            case 2:
                found[number].append(reader.take(reader.varint()))
            case 5:
                found[number].append(reader.take(4))
            case _:
                raise _Refused("no ONNX graph, or a damaged one")
    return found


@dataclass(slots=True)
class _Reader:
    data: bytes
    at: int = 0

    def varint(self) -> int:
        """Seven bits a byte, the lowest first; ten bytes at most."""
        value = 0
        for shift in range(0, 70, 7):
            if self.at >= len(self.data):
                break
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise _Refused("no ONNX graph, or a damaged one")

    def take(self, n: int) -> bytes:
        if n > len(self.data) - self.at:
            raise _Refused("no ONNX graph, or a damaged one")
        self.at += n
        return self.data[self.at - n : self.at]
