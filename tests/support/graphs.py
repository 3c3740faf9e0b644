"""ONNX graphs of models, written as export writes them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray
from torch import nn

from onelayer.checkpoint.config import EncoderConfig
from onelayer.engines.native.packed_weights import quantized
from onelayer.exporting.graph import model_graph
from onelayer.exporting.nodes import Nodes
from onelayer.exporting.products import Product, Watched, in_float
from onelayer.exporting.weights_file import write_weights

GRAPH, WEIGHTS = "model.onnx", "model.safetensors"


def state_of(model: nn.Module) -> dict[str, NDArray[Any]]:
    """A model's weights by our names."""
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}


def write_graph(
    folder: Path,
    state: Mapping[str, NDArray[Any]],
    config: EncoderConfig,
    architecture: str,
    product: Product,
    more: Callable[[onnx.ModelProto], None] = lambda _: None,
    *,
    tensors: Mapping[str, NDArray[Any]] | None = None,
) -> Path:
    """Writes graph and weights, the latter in int8 where the product needs that, unless these
    ``tensors`` are given. ``more`` changes the graph."""
    is_float = product is in_float or isinstance(product, Watched)
    if tensors is None:
        tensors = state if is_float else quantized(state)
    nodes = Nodes(tensors, write_weights(folder / WEIGHTS, tensors), WEIGHTS)
    model = model_graph(nodes, config, product, architecture)
    more(model)
    onnx.save(model, folder / GRAPH)
    onnx.checker.check_model(str(folder / GRAPH), full_check=True)
    return folder / GRAPH
