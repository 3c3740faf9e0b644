"""Writes an ONNX graph node by node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from onelayer import __version__

OPSET, IR_VERSION = 20, 9
"""The oldest versions with all operators that we write (Gelu is the newest), so that older engines
can read them."""

Shape = Sequence[str | int]
Outputs = tuple[str, Shape]
"""An output of the graph: the node's output that computes it, and its shape."""


@dataclass(slots=True)
class Nodes:
    """The nodes of a graph. A call adds a node and returns the name of its output."""

    weights: Mapping[str, NDArray[Any]]
    """The weights that the graph may use, by name; their numbers are in the weights file."""
    places: Mapping[str, tuple[int, int]]
    """The offset and length of each weight in the weights file, in bytes."""
    location: str
    """The name of the weights file, which is in the folder of the graph."""
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def __call__(self, op: str, *inputs: str, **attributes: Any) -> str:
        return self.several(op, 1, *inputs, **attributes)[0]

    def several(self, op: str, n: int, *inputs: str, **attributes: Any) -> list[str]:
        """Adds a node with ``n`` outputs and returns their names."""
        name = f"{op}_{len(self.nodes)}"
        outputs = [name] if n == 1 else [f"{name}_{i}" for i in range(n)]
        self.nodes.append(helper.make_node(op, inputs, outputs, name, **attributes))
        return outputs

    def weight(self, name: str) -> str:
        """The name of a weight, which the graph then refers to."""
        if name in self.initializers:
            return name
        value = self.weights[name]
        tensor = self.initializers[name] = onnx.TensorProto(
            name=name,
            data_type=helper.np_dtype_to_tensor_dtype(value.dtype),
            dims=value.shape,
            data_location=onnx.TensorProto.EXTERNAL,
        )
        offset, length = self.places[name]
        facts = {"location": self.location, "offset": offset, "length": length}
        for key, fact in facts.items():
            tensor.external_data.add(key=key, value=str(fact))
        return name

    def constant(self, value: Sequence[int] | int | np.generic) -> str:
        """The name of a small constant in the graph itself; whole numbers are int64."""
        array = np.asarray(value)
        numbers = "_".join(map(str, array.ravel().tolist()))
        name = f"{array.dtype}_{numbers}" + "_list" * array.ndim
        self.initializers.setdefault(name, numpy_helper.from_array(array, name))
        return name

    def table(self, name: str, numbers: NDArray[Any]) -> str:
        """The name of a constant of many numbers in the graph itself."""
        self.initializers.setdefault(name, numpy_helper.from_array(numbers, name))
        return name

    def model(
        self, name: str, inputs: Mapping[str, Shape], outputs: Mapping[str, Outputs]
    ) -> onnx.ModelProto:
        """The finished graph, with int64 inputs and fp32 outputs."""
        for output, (computed, _) in outputs.items():
            self.nodes.append(helper.make_node("Identity", [computed], [output], output))
        integer, floating = onnx.TensorProto.INT64, onnx.TensorProto.FLOAT
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            name,
            [value(given, integer, shape) for given, shape in inputs.items()],
            [value(output, floating, shape) for output, (_, shape) in outputs.items()],
            list(self.initializers.values()),
        )
        return helper.make_model(
            graph,
            producer_name="onelayer",
            producer_version=__version__,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
