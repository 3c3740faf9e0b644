"""Weights in eight bits, as an int8 bundle stores them.

Letters of shapes: K inputs and N outputs of a matrix; V words, D model width, F feed-forward width,
C outputs of the output layer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.base.errors import CheckpointError
from onelayer.checkpoint.config import EncoderConfig

Array = NDArray[Any]

LARGEST = 127
"""The largest step. -128 isn't used, so that w and -w are equally exact."""

EMBEDDINGS = "encoder.embeddings"
WORDS = f"{EMBEDDINGS}.word"
_MATRIX = re.compile(
    r"encoder\.layers\.\d+\.(attention\.(qkv|output)|feed_forward\.(up|down))\.weight"
)


def check(tensors: Mapping[str, Array], shape: EncoderConfig) -> None:
    """Raises CheckpointError unless the tensors are those that `quantized` makes of such a model.
    The C code trusts the configuration's sizes."""
    for name, (sizes, kind) in _expected(tensors, shape).items():
        tensor = tensors.get(name)
        if tensor is None:
            raise CheckpointError(f"{name} is missing")
        if tensor.shape != sizes or tensor.dtype != kind:
            is_, should = (
                f"{np.dtype(k)} {s}" for s, k in ((tensor.shape, tensor.dtype), (sizes, kind))
            )
            raise CheckpointError(
                f"{name} is {is_}, and config.json makes it {should}",
                hint="config and weights are of two models",
            )


def _expected(
    tensors: Mapping[str, Array], shape: EncoderConfig
) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    """The shape and type of every tensor, by name."""
    d, f = shape.hidden_size, shape.intermediate_size
    outputs = len(tensors.get("head.bias", ()))
    sizes: dict[str, tuple[int, ...]] = {
        f"{EMBEDDINGS}.position.weight": (shape.max_position_embeddings, d),
        f"{WORDS}.scale": (shape.vocab_size,),
        "head.weight": (outputs, d),
        "head.bias": (outputs,),
    }
    if shape.type_vocab_size:
        sizes[f"{EMBEDDINGS}.segment.weight"] = (shape.type_vocab_size, d)
    int8: dict[str, tuple[int, ...]] = {f"{WORDS}.weight": (shape.vocab_size, d)}
    norms = [f"{EMBEDDINGS}.norm"]
    if "pooler.weight" in tensors:
        sizes |= {"pooler.weight": (d, d), "pooler.bias": (d,)}
    for i in range(shape.num_hidden_layers):
        layer = f"encoder.layers.{i}"
        norms += [f"{layer}.attention.norm", f"{layer}.feed_forward.norm"]
        for name, k, n in (
            ("attention.qkv", d, 3 * d),
            ("attention.output", d, d),
            ("feed_forward.up", d, f),
            ("feed_forward.down", f, d),
        ):
            int8[f"{layer}.{name}.weight"] = (k, n)
            sizes |= {f"{layer}.{name}.scale": (n,), f"{layer}.{name}.bias": (n,)}
    sizes |= {f"{norm}.{kind}": (d,) for norm in norms for kind in ("weight", "bias")}
    return {
        **{name: (size, np.float32) for name, size in sizes.items()},
        **{name: (size, np.int8) for name, size in int8.items()},
    }


def quantized(state: Mapping[str, Array]) -> dict[str, Array]:
    """Quantizes a model's fp32 tensors, by our names, to those of an int8 bundle.

    Each matrix of the encoder, ``X.weight`` (N, K), becomes int8 (K, N) with ``X.scale`` (N,):
    ``weight[n, k]`` is about ``scale[n] * q[k, n]``. Word vectors become int8 (V, D) with a scale
    per row. Everything else stays fp32: it is small, or only looked up.
    """
    out: dict[str, Array] = {}
    for name, tensor in state.items():
        if name == f"{WORDS}.weight" or _MATRIX.fullmatch(name):
            values, scale = _by_rows(tensor)
            out[name] = values if name.startswith(WORDS) else np.ascontiguousarray(values.T)
            out[name.removesuffix("weight") + "scale"] = scale
        else:
            out[name] = np.ascontiguousarray(tensor, dtype=np.float32)
    return out


def _by_rows(tensor: Array) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(rows, columns) -> int8 of the same shape, and the size of one step in each row."""
    largest = np.abs(tensor).max(axis=1).astype(np.float32)
    scale = np.where(largest > 0, largest / np.float32(LARGEST), np.float32(1))
    return np.rint(tensor / scale[:, None]).astype(np.int8), scale
