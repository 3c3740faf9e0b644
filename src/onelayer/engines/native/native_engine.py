"""The native engine: lays out an int8 bundle's weights for the C encoder, and calls it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onelayer.base.errors import UsageError
from onelayer.base.machine import cores
from onelayer.checkpoint.bundle import Bundle
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.family import BERTS_POOLER
from onelayer.engines.native.library import library
from onelayer.engines.native.packed_weights import check
from onelayer.nn.bricks import Bricks, PoolerShape
from onelayer.nn.buckets import bucket_of_distances
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings

LANES, PANEL = 16, 64
"""As in ``csrc``: floats of a vector, and columns of a matrix that are stored together."""
ACTIVATIONS = ("gelu", "gelu_new", "relu", "tanh")
POWERS_OF_TWO = np.float32(1 / np.log(2))
"""The C code takes powers of 2 of the scores and not of e, so a bias is multiplied by this."""
GROUP_TOKENS = 64, 256
"""The fewest and most tokens that a worker computes at once. With more, each weight read from
memory is used more often; with fewer, activations stay in the worker's cache."""
GROUPS = 8
"""Groups per worker in a large batch: with more of them, workers finish closer together."""

Array = NDArray[Any]
_POINTER, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float


class _Matrix(ctypes.Structure):
    _fields_ = (
        *((name, _POINTER) for name in ("weight", "step", "total", "bias")),
        *((name, _INT) for name in ("K", "N")),
    )


class _Norm(ctypes.Structure):
    _fields_ = (("weight", _POINTER), ("bias", _POINTER))


class _Layer(ctypes.Structure):
    _fields_ = (
        ("qkv", _Matrix),
        ("output", _Matrix),
        ("attention_norm", _Norm),
        ("up", _Matrix),
        ("down", _Matrix),
        ("feed_forward_norm", _Norm),
    )


class _Model(ctypes.Structure):
    _fields_ = (
        *((name, _POINTER) for name in ("words", "word_scales", "positions", "segments")),
        ("norm", _Norm),
        ("widen", _Matrix),
        *((name, _POINTER) for name in ("nearby", "layers", "pooler", "pooler_bias")),
        *((name, _POINTER) for name in ("head", "head_bias")),
        *((name, _INT) for name in ("n_layers", "n_heads", "D", "E", "F", "C")),
        *((name, _INT) for name in ("longest", "nearby_width", "activation", "pooler_activation")),
        ("eps", _FLOAT),
    )


class _Batch(ctypes.Structure):
    _fields_ = (
        *(
            (name, _POINTER)
            for name in ("ids", "segments", "cu_seqlens", "reads", "cu_reads", "order")
        ),
        ("n_sequences", _INT),
        ("logits", _POINTER),
    )


def why_not_native(shape: EncoderConfig) -> str | None:
    """Why this engine can't run a model of this shape here; None if it can."""
    bricks = shape.bricks
    known = Bricks(
        first_position=bricks.first_position,
        embedding_size=bricks.embedding_size,
        distance_buckets=bricks.distance_buckets,
        own_layers=bricks.own_layers,
    )
    if bricks != known:
        return f"it doesn't compute {shape.family.title}'s attention"
    if shape.hidden_size % (LANES * shape.num_attention_heads):
        return f"its heads are not a multiple of {LANES} wide"
    if (bricks.embedding_size or LANES) % LANES:
        return f"its embeddings are not a multiple of {LANES} wide"
    return library()[1]


class NativeEngine:
    """Runs an int8 bundle. Its tensors are copied into the order in which the C code reads them."""

    name = "native"
    title: ClassVar[str] = "onelayer's own engine"
    package: ClassVar[str | None] = None

    @classmethod
    def why_not(cls, bundle: Bundle) -> str | None:
        """Why it can't run a bundle here: it only computes in int8, and needs a C compiler or a
        prebuilt library."""
        if bundle.precision != "int8":
            return "it runs int8 bundles only (onelayer export RUN --int8)"
        return why_not_native(bundle.config)

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> NativeEngine:
        pooler_shape = bundle.config.family.class_named(bundle.architecture).pooler_shape
        return cls(bundle.tensors, bundle.config, pooler_shape)

    def __init__(
        self,
        tensors: Mapping[str, Array],
        shape: EncoderConfig,
        pooler_shape: PoolerShape = BERTS_POOLER,
        threads: int | None = None,
    ) -> None:
        """Lays out the weights.

        Parameters
        ----------
        tensors
            The result of `packed_weights.quantized`.
        shape
            The model's configuration.
        pooler_shape
            The dense layer before the output layer, if the tensors have one.
        threads
            By default the number of processors.

        Raises
        ------
        UsageError
            Where the engine can't run.
        CheckpointError
            For tensors of another model.
        """
        found, _ = library()
        if (reason := why_not_native(shape)) or found is None:
            raise UsageError(f"no native engine: {reason}")
        check(tensors, shape)
        self._library = found
        self._threads = threads or cores()
        self._kept: list[Any] = []  # what the C structures point to
        self._model = self._laid_out(tensors, shape, pooler_shape)
        self._segments = shape.type_vocab_size > 1
        self._limits = {
            "token": shape.vocab_size,
            "segment": max(shape.type_vocab_size, 1),
            "position": shape.longest,
        }

    def logits(self, encodings: Encodings) -> Logits:
        """(R, C) fp32 logits. A row's bits don't depend on the other rows of the batch."""
        if not self._segments:
            encodings = replace(encodings, segment_ids=np.zeros_like(encodings.segment_ids))
        self._check(encodings)
        # The C code forms groups from sequences sorted by length, the longest first.
        order = np.argsort(-encodings.lengths, kind="stable")
        arrays: list[Array] = [
            encodings.ids.astype(np.int32, copy=False),
            encodings.segment_ids.astype(np.uint8, copy=False),
            encodings.cu_seqlens.astype(np.int64, copy=False),
            encodings.reads.astype(np.int32, copy=False),
            encodings.cu_reads.astype(np.int64, copy=False),
            order.astype(np.int64, copy=False),
        ]
        arrays = list(map(np.ascontiguousarray, arrays))
        out = np.empty((len(encodings.reads), self._model.C), dtype=np.float32)
        if len(order):
            batch = _Batch(*(array.ctypes.data for array in arrays), len(order), out.ctypes.data)
            least, most = GROUP_TOKENS
            group = min(most, max(least, len(encodings.ids) // (GROUPS * self._threads)))
            model = ctypes.byref(self._model)
            if self._library.run(model, ctypes.byref(batch), self._threads, group):
                raise MemoryError("no memory for the activations of a batch")
        return out

    def _check(self, encodings: Encodings) -> None:
        """Raises UsageError for an index outside its table, which the C code doesn't check."""
        lengths, counts = encodings.lengths, np.diff(encodings.cu_reads)
        inside = encodings.reads < np.repeat(lengths, counts)
        for what, values in (
            ("token", encodings.ids),
            ("segment", encodings.segment_ids),
            ("position", lengths - 1),
        ):
            if len(values) and not 0 <= values.min() <= values.max() < self._limits[what]:
                raise UsageError(f"a {what} outside of the model's {self._limits[what]}")
        if not inside.all() or (len(inside) and encodings.reads.min() < 0):
            raise UsageError("a vector is read that its sequence doesn't have")

    def _laid_out(
        self, tensors: Mapping[str, Array], shape: EncoderConfig, pooler_shape: PoolerShape
    ) -> _Model:
        bricks, order = shape.bricks, shape.bricks.order(shape.num_hidden_layers)
        own = {i: self._layer(tensors, f"encoder.layers.{i}") for i in set(order)}
        layers = (_Layer * len(order))(*(own[i] for i in order))
        self._kept.append(layers)
        width, n_outputs = shape.hidden_size, len(tensors["head.bias"])
        narrow, widen = bricks.embedding_size or width, "encoder.embeddings.widen"
        pooled = "pooler.weight" in tensors
        head = _padded(tensors["head.weight"].T, LANES)
        words = "encoder.embeddings.word"
        # The C code always adds a segment's vector; a family without segments gets zeros.
        nothing = np.zeros((1, narrow), dtype=np.float32)
        segments = tensors.get("encoder.embeddings.segment.weight", nothing)
        return _Model(
            words=self._pointer(tensors[f"{words}.weight"]),
            word_scales=self._pointer(tensors[f"{words}.scale"]),
            positions=self._pointer(
                tensors["encoder.embeddings.position.weight"][bricks.first_position :]
            ),
            segments=self._pointer(segments),
            norm=self._norm(tensors, "encoder.embeddings.norm"),
            widen=self._matrix(tensors, widen) if bricks.embedding_size else _Matrix(),
            nearby=self._nearby(tensors, shape) if bricks.distance_buckets else None,
            layers=ctypes.addressof(layers),
            pooler=self._pointer(tensors["pooler.weight"].T) if pooled else None,
            pooler_bias=self._pointer(tensors["pooler.bias"]) if pooled else None,
            head=self._pointer(head),
            head_bias=self._pointer(_padded(tensors["head.bias"], LANES)),
            n_layers=shape.num_hidden_layers,
            n_heads=shape.num_attention_heads,
            D=width,
            E=narrow,
            F=-(-shape.intermediate_size // LANES) * LANES,
            C=n_outputs,
            longest=shape.longest,
            nearby_width=2 * shape.longest - 1 + LANES,
            activation=ACTIVATIONS.index(shape.hidden_act),
            pooler_activation=ACTIVATIONS.index(pooler_shape.activation),
            eps=shape.layer_norm_eps,
        )

    def _nearby(self, tensors: Mapping[str, Array], shape: EncoderConfig) -> int:
        """The bias of each head for each distance, with room for the padding keys that read it."""
        weight = tensors["encoder.distances.weight"]
        bias_HW = weight[bucket_of_distances(shape.longest, len(weight))].T * POWERS_OF_TWO
        return self._pointer(np.pad(bias_HW, ((0, 0), (0, LANES))))

    def _layer(self, tensors: Mapping[str, Array], name: str) -> _Layer:
        return _Layer(
            qkv=self._matrix(tensors, f"{name}.attention.qkv"),
            output=self._matrix(tensors, f"{name}.attention.output"),
            attention_norm=self._norm(tensors, f"{name}.attention.norm"),
            up=self._matrix(tensors, f"{name}.feed_forward.up"),
            down=self._matrix(tensors, f"{name}.feed_forward.down"),
            feed_forward_norm=self._norm(tensors, f"{name}.feed_forward.norm"),
        )

    def _norm(self, tensors: Mapping[str, Array], name: str) -> _Norm:
        return _Norm(*(self._pointer(tensors[f"{name}.{kind}"]) for kind in ("weight", "bias")))

    def _matrix(self, tensors: Mapping[str, Array], name: str) -> _Matrix:
        """(K, N) int8 -> (N / PANEL, K / 4, PANEL, 4): panels of columns, in which four inputs of a
        column are neighbours, as one instruction multiplies them."""
        weight = tensors[f"{name}.weight"]
        weight = np.pad(weight, ((0, -len(weight) % LANES), (0, -weight.shape[1] % PANEL)))
        k, n = weight.shape
        panels = weight.reshape(k // 4, 4, n // PANEL, PANEL).transpose(2, 0, 3, 1)
        step = _padded(tensors[f"{name}.scale"], PANEL)
        return _Matrix(
            weight=self._pointer(panels),
            step=self._pointer(step),
            total=self._pointer(weight.sum(axis=0, dtype=np.int32).astype(np.float32) * step),
            bias=self._pointer(_padded(tensors[f"{name}.bias"], PANEL)),
            K=k,
            N=n,
        )

    def _pointer(self, array: Array) -> int:
        """The address of a copy that is contiguous, begins at a cache line, and is kept alive."""
        room = np.empty(array.nbytes + 63, dtype=np.uint8)
        at = -room.ctypes.data % 64
        copy = room[at : at + array.nbytes].view(array.dtype).reshape(array.shape)
        copy[...] = array
        self._kept.append(copy)
        return int(copy.ctypes.data)


def _padded(array: Array, multiple: int) -> Array:
    """The array with zeros appended to its last axis, up to a multiple."""
    return np.pad(array, [(0, 0)] * (array.ndim - 1) + [(0, -array.shape[-1] % multiple)])
