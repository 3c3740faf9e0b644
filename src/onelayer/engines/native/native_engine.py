"""The native engine: libonelayer computes an int8 bundle's logits."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from copy import copy
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onelayer.base.errors import CheckpointError, UsageError
from onelayer.base.machine import cores
from onelayer.checkpoint.bundle import Bundle
from onelayer.checkpoint.config import EncoderConfig
from onelayer.checkpoint.family import BERTS_POOLER
from onelayer.data.layout import Layout
from onelayer.engines.native.library import close_with, library, why_no_library
from onelayer.engines.native.native_tokenizer import NativeTokenizer
from onelayer.engines.native.row_model import NativeRowModel
from onelayer.nn.bricks import Bricks, PoolerShape
from onelayer.tasks import AnyTask
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer

LANES = 16
"""As in ``csrc/engine``: floats of a vector. Widths are multiples of it."""
ACTIVATIONS = ("gelu", "gelu_new", "relu", "tanh")
MOST_SEGMENTS = 255
OUT_OF_MEMORY = 3
"""A status of ``onelayer.h``."""
KINDS = {np.dtype(np.float32): 1, np.dtype(np.int8): 0}

Array = NDArray[Any]
_POINTER, _INT, _FLOAT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float
_ERROR_BYTES = 1024


class _Shape(ctypes.Structure):
    _fields_ = (
        *((name, _INT) for name in ("vocabulary", "width", "heads", "feed_forward")),
        ("layers", _POINTER),
        *((name, _INT) for name in ("n_layers", "embedding_width", "positions", "first_position")),
        *((name, _INT) for name in ("longest", "segments", "distance_buckets")),
        *((name, _INT) for name in ("activation", "pooler_activation", "outputs")),
        ("eps", _FLOAT),
    )


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("is_float", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("shape", _INT * 2),
        ("data", _POINTER),
    )


class _Batch(ctypes.Structure):
    _fields_ = (
        *((name, _POINTER) for name in ("ids", "segments", "cu_seqlens", "reads", "cu_reads")),
        ("n_sequences", _INT),
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
    return why_no_library()


class NativeEngine:
    """Runs an int8 bundle."""

    name = "native"
    title: ClassVar[str] = "onelayer's own engine"
    package: ClassVar[str | None] = None

    @classmethod
    def why_not(cls, bundle: Bundle) -> str | None:
        """Why it can't run a bundle here: it only computes in int8, and needs a C++ compiler
        or a prebuilt library."""
        if bundle.precision != "int8":
            return "it runs int8 bundles only (onelayer export RUN --int8)"
        return why_not_native(bundle.config)

    @classmethod
    def of_bundle(cls, bundle: Bundle, threads: int | None = None) -> NativeEngine:
        pooler_shape = bundle.config.family.class_named(bundle.architecture).pooler_shape
        return cls(bundle.tensors, bundle.config, pooler_shape, threads)

    @classmethod
    def of_two(cls, first: NativeEngine, rest: NativeEngine, margin: float) -> NativeEngine:
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        handle = rest.library.onelayer_engine_of_two(
            first.handle, rest.handle, margin, rest._n_outputs, error, len(error)
        )
        if handle is None:
            raise MemoryError(error.value.decode())
        both = copy(rest)
        both.handle = handle
        close_with(both, both.library.onelayer_engine_close, handle)
        return both

    def __init__(
        self,
        tensors: Mapping[str, Array],
        shape: EncoderConfig,
        pooler_shape: PoolerShape = BERTS_POOLER,
        threads: int | None = None,
    ) -> None:
        """Copies the weights into the order in which the library reads them.

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
        self.library = found
        self.threads = threads or cores()
        self._n_words = shape.vocab_size
        self._tokenizer: tuple[Tokenizer, NativeTokenizer] | None = None
        self._n_outputs = len(tensors.get("head.bias", ()))
        order = shape.bricks.order(shape.num_hidden_layers)
        layers = (_INT * len(order))(*order)
        self.handle = self._opened(tensors, _shape(shape, pooler_shape, layers, self._n_outputs))
        close_with(self, found.onelayer_engine_close, self.handle)

    @property
    def instructions(self) -> str:
        """The instruction set in use, such as ``avx2``."""
        name: bytes = self.library.onelayer_engine_instructions(self.handle)
        return name.decode()

    def logits(self, encodings: Encodings) -> Logits:
        """(R, C) fp32 logits. A row's bits don't depend on the other rows of the batch.

        Raises UsageError for a token, segment or position outside of its table.
        """
        ids = encodings.ids
        if len(ids) and not 0 <= encodings.segment_ids.max() <= MOST_SEGMENTS:
            raise UsageError(f"a segment outside of the model's {MOST_SEGMENTS + 1}")
        arrays: list[Array] = [
            np.ascontiguousarray(ids, dtype=np.int32),
            np.ascontiguousarray(encodings.segment_ids, dtype=np.uint8),
            np.ascontiguousarray(encodings.cu_seqlens, dtype=np.int64),
            np.ascontiguousarray(encodings.reads, dtype=np.int32),
            np.ascontiguousarray(encodings.cu_reads, dtype=np.int64),
        ]
        out = np.empty((len(encodings.reads), self._n_outputs), dtype=np.float32)
        batch = _Batch(*(array.ctypes.data for array in arrays), len(encodings.lengths))
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        status = self.library.onelayer_engine_logits(
            self.handle, ctypes.byref(batch), self.threads, out.ctypes.data, error, len(error)
        )
        if status == OUT_OF_MEMORY:
            raise MemoryError("no memory for the activations of a batch")
        if status:
            raise UsageError(error.value.decode())
        return out

    def row_model(self, task: AnyTask, tokenizer: Tokenizer, layout: Layout) -> NativeRowModel:
        """The library's model of this engine and a task. Raises CheckpointError where the library
        doesn't know the task, or the tokenizer's rules."""
        if self._tokenizer is None or self._tokenizer[0] is not tokenizer:
            self._tokenizer = tokenizer, NativeTokenizer(self.library, tokenizer, self._n_words)
        return NativeRowModel(self, self._tokenizer[1], task, layout)

    def _opened(self, tensors: Mapping[str, Array], shape: _Shape) -> int:
        contiguous = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
        for name, tensor in contiguous.items():
            if tensor.dtype not in KINDS or not 1 <= tensor.ndim <= 2:
                raise CheckpointError(
                    f"{name} is {tensor.dtype} {tensor.shape}, which no bundle has"
                )
        named = (_Tensor * len(contiguous))(
            *(
                _Tensor(
                    name.encode(),
                    KINDS[tensor.dtype],
                    tensor.ndim,
                    (_INT * 2)(*tensor.shape),
                    tensor.ctypes.data,
                )
                for name, tensor in contiguous.items()
            )
        )
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        engine: int | None = self.library.onelayer_engine_open(
            ctypes.byref(shape), named, len(named), error, len(error)
        )
        if engine is None:
            raise CheckpointError(error.value.decode())
        return engine


def _shape(
    shape: EncoderConfig,
    pooler_shape: PoolerShape,
    layers: ctypes.Array[ctypes.c_int64],
    n_outputs: int,
) -> _Shape:
    """The sizes as the library reads them. ``layers`` must outlive them."""
    bricks = shape.bricks
    return _Shape(
        vocabulary=shape.vocab_size,
        width=shape.hidden_size,
        heads=shape.num_attention_heads,
        feed_forward=shape.intermediate_size,
        layers=ctypes.addressof(layers),
        n_layers=len(layers),
        embedding_width=bricks.embedding_size or 0,
        positions=shape.max_position_embeddings,
        first_position=bricks.first_position,
        longest=shape.longest,
        segments=shape.type_vocab_size,
        distance_buckets=bricks.distance_buckets,
        activation=ACTIVATIONS.index(shape.hidden_act),
        pooler_activation=ACTIVATIONS.index(pooler_shape.activation),
        outputs=n_outputs,
        eps=shape.layer_norm_eps,
    )
