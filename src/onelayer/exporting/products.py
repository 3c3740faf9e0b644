"""The matrix products of a graph's layers: in fp32, and in int8 in two ways.

In int8 the weights are those of `packed_weights`: (K, N), with a scale for each output. The two
ways differ in the scale of the activations. Letters of shapes: T packed tokens, K inputs and N
outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx

from onelayer.exporting.nodes import Nodes

Outputs = tuple[int, int] | None
"""The first output of a layer, and the one after the last; None means all."""

FLOAT = onnx.TensorProto.FLOAT
LEVELS = 255
"""Steps between the lowest and the highest number of an unsigned byte."""
MIDDLE = np.uint8(128)
"""The byte for 0 where a scale is symmetric: engines are fastest with unsigned activations."""


class Product(Protocol):
    """Adds the nodes of a linear layer, given by its name: (T, K) -> (T, N)."""

    def __call__(self, nodes: Nodes, x_TK: str, name: str, outputs: Outputs = None) -> str: ...


def in_float(nodes: Nodes, x_TK: str, name: str, outputs: Outputs = None) -> str:
    """x W^T + b, with W (N, K) as in PyTorch."""
    names = (f"{name}.{kind}" for kind in ("weight", "bias"))
    parts = [_some(nodes, one, outputs, 0) for one in names if one in nodes.weights]
    return nodes("Gemm", x_TK, *parts, transB=1)


def by_token(nodes: Nodes, x_TK: str, name: str, outputs: Outputs = None) -> str:
    """The product in int8 with a scale for each token: its largest absolute number / 127. This
    needs no calibration, and a text's logits don't depend on the rest of the batch, as they would
    with DynamicQuantizeLinear, which has one scale for all."""
    largest_T1 = nodes("ReduceMax", nodes("Abs", x_TK), nodes.constant([1]), keepdims=1)
    # The lower bound avoids a division by zero for a token of zeros.
    scale_T1 = nodes("Max", nodes("Mul", largest_T1, _f32(nodes, 1 / 127)), _f32(nodes, 1e-30))
    middle = nodes.constant(MIDDLE)
    q_TK = nodes("QuantizeLinear", nodes("Div", x_TK, scale_T1), _f32(nodes, 1), middle)
    weight, scale, bias = _weights(nodes, name, outputs)
    y_TN = nodes("Cast", nodes("MatMulInteger", q_TK, weight, middle), to=FLOAT)
    y_TN = nodes("Mul", nodes("Mul", y_TN, scale), scale_T1)
    return y_TN if bias is None else nodes("Add", y_TN, bias)


@dataclass(frozen=True, slots=True)
class Calibrated:
    """The product in int8 with one scale per layer, from the ``ranges`` (lowest, highest) of its
    inputs. It is written as quantize and dequantize nodes (QDQ), the form in which engines
    look for products to compute in int8."""

    ranges: Mapping[str, tuple[float, float]]

    def __call__(self, nodes: Nodes, x_TK: str, name: str, outputs: Outputs = None) -> str:
        low, high = self.ranges[name]
        step = max(high - low, 1e-30) / LEVELS
        scale, zero = _f32(nodes, step), nodes.constant(np.uint8(round(-low / step)))
        weight, weight_scale, bias = _weights(nodes, name, outputs)
        w_KN = nodes("DequantizeLinear", weight, weight_scale, axis=1)
        # In two dimensions, ONNX Runtime first fuses product and bias into a Gemm, and then doesn't
        # recognise the int8 product any more; so there are three.
        first = nodes.constant([0])
        q_1TK = nodes("QuantizeLinear", nodes("Unsqueeze", x_TK, first), scale, zero)
        y_1TN = nodes("MatMul", nodes("DequantizeLinear", q_1TK, scale, zero), w_KN)
        y_TN = nodes("Squeeze", y_1TN, first)
        return y_TN if bias is None else nodes("Add", y_TN, bias)


@dataclass(frozen=True, slots=True)
class Watched:
    """Products in fp32 that also output the lowest and highest number of each token they read."""

    extremes: dict[str, list[tuple[str, str]]]
    """By the name of a linear layer, which several depths may share: the names of two outputs (T,)
    for each time it is used."""

    def __call__(self, nodes: Nodes, x_TK: str, name: str, outputs: Outputs = None) -> str:
        if outputs is None or outputs[0] > 0:  # queries of [CLS] read no other numbers
            axis = nodes.constant([1])
            low, high = (nodes(op, x_TK, axis, keepdims=0) for op in ("ReduceMin", "ReduceMax"))
            self.extremes.setdefault(name, []).append((low, high))
        return in_float(nodes, x_TK, name, outputs)


def _weights(nodes: Nodes, name: str, outputs: Outputs) -> tuple[str, str, str | None]:
    """(K, N) int8, (N,) scales and (N,) biases, if there are any."""
    scale, bias = _some(nodes, f"{name}.scale", outputs, 0), None
    if f"{name}.bias" in nodes.weights:
        bias = _some(nodes, f"{name}.bias", outputs, 0)
    if outputs is None:
        return _unshared(nodes, f"{name}.weight"), scale, bias
    return _unshared_part(nodes, f"{name}.weight", outputs), scale, bias


def _unshared(nodes: Nodes, weight: str) -> str:
    """A weight that no other product has. ONNX Runtime converts the weights of each product in
    int8, and fails at the second one with the same weights, which layers can share."""
    uses = sum(weight in node.input for node in nodes.nodes)
    if not uses:
        return nodes.weight(weight)
    # Cut at another place behind its end each time: equal nodes are merged.
    _, columns = nodes.weights[weight].shape
    end, zero = nodes.constant([columns + uses]), nodes.constant([0])
    return nodes("Slice", weight, zero, end, nodes.constant([1]))


def _unshared_part(nodes: Nodes, weight: str, outputs: tuple[int, int]) -> str:
    """Some columns of a weight, which no other product has; see `_unshared`."""
    bounds = [nodes.constant([bound]) for bound in outputs]
    axis, whole = nodes.constant([1]), nodes.weight(weight)
    if any(list(node.input[:3]) == [whole, *bounds] for node in nodes.nodes):
        end = nodes.constant([nodes.weights[weight].shape[1] + 1])
        whole = nodes("Slice", whole, nodes.constant([0]), end, axis)
    return nodes("Slice", whole, *bounds, axis)


def _some(nodes: Nodes, name: str, outputs: Outputs, axis: int) -> str:
    """A weight, or a part of it, which engines cut once when they open the graph."""
    weight = nodes.weight(name)
    if outputs is None:
        return weight
    start, stop = (nodes.constant([bound]) for bound in outputs)
    return nodes("Slice", weight, start, stop, nodes.constant([axis]))


def _f32(nodes: Nodes, value: float) -> str:
    return nodes.constant(np.float32(value))
