"""What all parts of a graph are written with: products, norms, activations.

Shape suffixes: see ``graph.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from onelayer.checkpoint.config import EncoderConfig
from onelayer.exporting.nodes import Nodes
from onelayer.exporting.products import Outputs, Product

MASKED = np.float32(-1e9)
"""Added to the scores of padded keys. After the softmax their weights are exactly 0. Unlike
-infinity it gives numbers and not nan for a row without tokens, such as a missing option."""


@dataclass(frozen=True, slots=True)
class PackedNames:
    """The names of the nodes' outputs that lead from the rectangle to packed tokens and back."""

    ids_T: str
    segment_ids_T: str | None
    """None if the graph has no input for segments."""
    places_T: str
    """The place of each token in the rectangle, from 0 to N - 1."""
    tokens_BL: str
    """The packed index of the token at each place; for padding that of the token before."""
    first_B: str
    """Each sequence's first token, ``[CLS]``."""
    real_BL: str
    """1 at a token, 0 at padding."""
    length_1: str
    """L, in a list."""
    mask_B11L: str
    """What is added to the scores: 0, or ``MASKED`` for padding."""


@dataclass(frozen=True, slots=True)
class Depth:
    """One layer of the network."""

    number: int
    """How many layers are below it."""
    name: str
    """That of its weights, which layers can share."""
    first: bool
    """Whether only the first vector of each sequence is computed."""


@dataclass(frozen=True, slots=True)
class GraphWriter:
    """Writes what the parts of a network are made of.

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

    def has(self, name: str) -> bool:
        """Whether the model has a weight."""
        return name in self.nodes.weights

    def linear(self, x_TD: str, name: str, outputs: Outputs = None) -> str:
        """One of the encoder's linear layers."""
        return self.product(self.nodes, x_TD, name, outputs)

    def norm(self, x: str, name: str) -> str:
        """LayerNorm over the last axis."""
        names = (f"{name}.{kind}" for kind in ("weight", "bias"))
        parts = [self.nodes.weight(one) for one in names if self.has(one)]
        epsilon = self.config.layer_norm_eps
        return self.nodes("LayerNormalization", x, *parts, axis=-1, epsilon=epsilon)

    def activation(self, x: str, name: str) -> str:
        """An activation by its name in `onelayer.nn.encoder.ACTIVATIONS`."""
        op, attributes = _ACTIVATIONS[name]
        return self.nodes(op, x, **attributes)


_ACTIVATIONS: dict[str, tuple[str, dict[str, str]]] = {
    "gelu": ("Gelu", {"approximate": "none"}),
    "gelu_new": ("Gelu", {"approximate": "tanh"}),
    "relu": ("Relu", {}),
    "tanh": ("Tanh", {}),
}
