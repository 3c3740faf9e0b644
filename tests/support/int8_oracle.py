"""The arithmetic of the native engine in double precision."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import erf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.family import BERTS_POOLER
from onelayer.nn.bricks import PoolerShape
from onelayer.nn.buckets import bucket_of_distances
from onelayer.tokens.encodings import Encodings

Array = NDArray[Any]
Tensors = Mapping[str, Array]


def _gelu(x: Array) -> Array:
    return np.asarray(x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2))))


def _gelu_new(x: Array) -> Array:
    return np.asarray(x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))))


def _relu(x: Array) -> Array:
    return np.maximum(x, 0)


ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": _gelu,
    "gelu_new": _gelu_new,
    "relu": _relu,
    "tanh": np.tanh,
}


def rounded(x: Array) -> Array:
    """Rows in 255 steps from their smallest number to their largest."""
    low = x.min(axis=-1, keepdims=True)
    step = (x.max(axis=-1, keepdims=True) - low) / 255
    return np.asarray(low + np.rint((x - low) / np.where(step > 0, step, 1)) * step)


def rounded_keys(x: Array) -> Array:
    """Rows in 127 steps either way."""
    step = np.abs(x).max(axis=-1, keepdims=True) / 127
    return np.asarray(np.rint(x / step) * step)


def bf16(x: Array) -> Array:
    """Rounds to the nearest bf16 number, ties to even."""
    bits = x.astype(np.float32).view(np.int32)
    return np.asarray(bits + 0x7FFF + (bits >> 16 & 1) & ~0xFFFF).view(np.float32)


def normed(x: Array, tensors: Tensors, name: str, eps: float) -> Array:
    off = x - x.mean(axis=-1, keepdims=True)
    unit = off / np.sqrt((off**2).mean(axis=-1, keepdims=True) + eps)
    return np.asarray(unit * tensors[f"{name}.weight"] + tensors[f"{name}.bias"])


def product(x: Array, tensors: Tensors, name: str) -> Array:
    weight = tensors[f"{name}.weight"] * tensors[f"{name}.scale"].astype(np.float64)
    return np.asarray(rounded(x) @ weight + tensors[f"{name}.bias"])


def vectors(tensors: Tensors, shape: EncoderConfig, ids: Array, segments: Array) -> Array:
    """(n, D) the vectors of one text."""
    n, n_heads, eps = len(ids), shape.num_attention_heads, shape.layer_norm_eps
    bias: Array = np.zeros((n_heads, n, n))
    if (weight := tensors.get("encoder.distances.weight")) is not None:
        places = np.arange(n)
        away = places - places[:, None] + n - 1
        bias = weight[bucket_of_distances(n, len(weight))][away].transpose(2, 0, 1)
    x = _embedded(tensors, shape, ids, segments)
    for depth, i in enumerate(shape.bricks.order(shape.num_hidden_layers)):
        layer = f"encoder.layers.{i}"
        last = depth == shape.num_hidden_layers - 1
        attend = _attended_at_reads if last and "pooler.weight" in tensors else _attended
        mixed = attend(x, tensors, f"{layer}.attention.qkv", n_heads, bias)
        y = product(mixed, tensors, f"{layer}.attention.output")
        x = normed(x + y, tensors, f"{layer}.attention.norm", eps)
        up = ACTIVATIONS[shape.hidden_act](product(x, tensors, f"{layer}.feed_forward.up"))
        y = product(up, tensors, f"{layer}.feed_forward.down")
        x = normed(x + y, tensors, f"{layer}.feed_forward.norm", eps)
    return x


def _attended(x: Array, tensors: Tensors, name: str, n_heads: int, bias: Array) -> Array:
    """(n, D) the mixed values of all heads."""
    qkv = product(x, tensors, name).reshape(len(x), 3, n_heads, -1)
    q, k, v = qkv.transpose(1, 2, 0, 3)
    scores = rounded(q) @ rounded_keys(k).transpose(0, 2, 1) / np.sqrt(q.shape[-1]) + bias
    shares = bf16(np.exp(scores - scores.max(axis=-1, keepdims=True))).astype(np.float64)
    mixed = shares @ bf16(v) / shares.sum(axis=-1, keepdims=True)
    return np.asarray(mixed.transpose(1, 0, 2).reshape(x.shape))


def _attended_at_reads(x: Array, tensors: Tensors, name: str, n_heads: int, bias: Array) -> Array:
    """As `_attended`, with queries multiplied by the keys' matrix, and tokens mixed before they are
    multiplied by the values'."""
    steps = tensors[f"{name}.scale"].reshape(3, n_heads, 1, -1).astype(np.float64)
    weights = tensors[f"{name}.weight"].reshape(x.shape[1], 3, n_heads, -1).transpose(1, 2, 0, 3)
    q, _, _ = product(x, tensors, name).reshape(len(x), 3, n_heads, -1).transpose(1, 2, 0, 3)
    turned = rounded(q * steps[1]) @ weights[1].transpose(0, 2, 1).astype(np.float64)
    scores = rounded_keys(turned) @ rounded(x).T / np.sqrt(q.shape[-1]) + bias
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    tokens = shares @ x / shares.sum(axis=-1, keepdims=True)
    values = rounded(tokens) @ (weights[2] * steps[2])
    values = values.transpose(1, 0, 2).reshape(x.shape)
    return np.asarray(values + tensors[f"{name}.bias"][2 * x.shape[1] :])


def _embedded(tensors: Tensors, shape: EncoderConfig, ids: Array, segments: Array) -> Array:
    table = "encoder.embeddings"
    x = tensors[f"{table}.word.weight"][ids] * tensors[f"{table}.word.scale"][ids][:, None]
    x = x + tensors[f"{table}.position.weight"][shape.bricks.first_position :][: len(ids)]
    if f"{table}.segment.weight" in tensors:
        x = x + tensors[f"{table}.segment.weight"][segments]
    x = normed(x.astype(np.float64), tensors, f"{table}.norm", shape.layer_norm_eps)
    return product(x, tensors, f"{table}.widen") if f"{table}.widen.weight" in tensors else x


def exact_logits(
    tensors: Tensors,
    shape: EncoderConfig,
    encodings: Encodings,
    pooler_shape: PoolerShape = BERTS_POOLER,
) -> Array:
    """(R, C) logits, text by text."""
    expected = []
    for start, end, reads in zip(
        encodings.cu_seqlens[:-1],
        encodings.cu_seqlens[1:],
        np.split(encodings.reads, encodings.cu_reads[1:-1]),
        strict=True,
    ):
        ids, segments = encodings.ids[start:end], encodings.segment_ids[start:end]
        x = vectors(tensors, shape, ids, segments)[reads]
        if "pooler.weight" in tensors:
            x = x @ tensors["pooler.weight"].T + tensors["pooler.bias"]
            x = ACTIVATIONS[pooler_shape.activation](x)
        expected.append(x @ tensors["head.weight"].T + tensors["head.bias"])
    return np.concatenate(expected)


def assert_near(found: Array, expected: Array, equal: float = 0.25) -> None:
    """Asserts that a share of the logits is equal and the others near. For a number halfway between
    two steps the last bit of fp32 decides. That is rare, but a long text has many numbers."""
    error = np.abs(found - expected)
    assert np.quantile(error, equal) < 1e-5
    assert np.median(error) < 1e-3
    assert error.max() < 0.05
