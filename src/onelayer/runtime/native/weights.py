"""Weights in eight bits, which is how an int8 bundle keeps them.

Letters of shapes: K inputs and N outputs of a matrix, V words, D model width.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

LARGEST = 127
"""Symmetric: -128 is not used, so that w and -w are as exact as each other."""

WORDS = "encoder.embeddings.word"
_MATRIX = re.compile(
    r"encoder\.layers\.\d+\.(attention\.(qkv|output)|feed_forward\.(up|down))\.weight"
)


def quantized(state: Mapping[str, Array]) -> dict[str, Array]:
    """A model's fp32 tensors by our names -> those of an int8 bundle.

    Each matrix of the encoder, ``X.weight`` (N, K), becomes int8 (K, N) with ``X.scale`` (N,):
    ``weight[n, k]`` is about ``scale[n] * q[k, n]``. Word vectors become int8 (V, D) with a scale
    a row. All else stays as it is: what is left is small, or only looked up.
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
    """(rows, columns) -> int8 of the same shape, and what one step of each row is worth."""
    largest = np.abs(tensor).max(axis=1).astype(np.float32)
    scale = np.where(largest > 0, largest / np.float32(LARGEST), np.float32(1))
    return np.rint(tensor / scale[:, None]).astype(np.int8), scale
