"""The compiled kernels: from the package, or else built for this machine when first needed.

A library that a wheel brings is as quick as one for this very machine
(benchmarks/training/kernel_speed.py). Building needs a C compiler with OpenMP (gcc, or clang with
libomp). Without either, or with ``ONELAYER_KERNELS=0``, PyTorch does the same more slowly.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from functools import cache

import torch

from onelayer.base.compiled_code import build_failure, compiler, open_library
from onelayer.nn.kernel_builds import kernel_code, prebuilt_kernels

LANES = 16
"""Floats in a vector, at most (``kernels.h``): widths must be multiples of it."""

_POINTER, _INT, _FLOAT, _SEED = ctypes.c_void_p, ctypes.c_int64, ctypes.c_float, ctypes.c_uint64


class AttentionArguments(ctypes.Structure):
    """``Attention`` in ``attention.h``."""

    _fields_ = (
        ("q", _POINTER),
        ("k", _POINTER),
        ("v", _POINTER),
        ("q_stride", _INT),
        ("kv_stride", _INT),
        ("d", _INT),
        ("cu_q", _POINTER),
        ("cu_k", _POINTER),
        ("n_sequences", _INT),
        ("n_heads", _INT),
        ("reach", _INT),
        ("bias", _POINTER),
        ("longest", _INT),
        ("places", _POINTER),
        ("scale", _FLOAT),
        ("p", _FLOAT),
        ("seed", _SEED),
    )


class Bf16AttentionArguments(ctypes.Structure):
    """``Bf16Attention`` in ``bf16_attention.c``."""

    _fields_ = (
        ("qkv", _POINTER),
        ("d", _INT),
        ("n_heads", _INT),
        ("cu", _POINTER),
        ("n_sequences", _INT),
        ("scale", _FLOAT),
        ("p", _FLOAT),
        ("seed", _SEED),
    )


class Moments(ctypes.Structure):
    """``Moments`` in ``adamw.c``."""

    _fields_ = (
        ("weights", _POINTER),
        ("means", _POINTER),
        ("squares", _POINTER),
        ("beta1", ctypes.c_double),
        ("beta2", ctypes.c_double),
        ("eps", _FLOAT),
        ("decays", ctypes.c_int32),
    )


class Learned(ctypes.Structure):
    """``Learned`` in ``adamw.c``."""

    _fields_ = (("moments", Moments), ("grad", _POINTER), ("n", _INT))


_ATTENTION = ctypes.POINTER(AttentionArguments)
_BF16_ATTENTION = ctypes.POINTER(Bf16AttentionArguments)
_MOMENTS = ctypes.POINTER(Moments)
_LEARNED = ctypes.POINTER(Learned)
_SIGNATURES = {
    "attention_forward": [_ATTENTION, _POINTER],
    "attention_backward": [_ATTENTION] + [_POINTER] * 5,
    "disentangled_forward": [_ATTENTION] + [_POINTER] * 3,
    "disentangled_backward": [_ATTENTION] + [_POINTER] * 8,
    "gelu_forward": [_POINTER] * 2 + [_INT],
    "gelu_backward": [_POINTER] * 3 + [_INT],
    "gated_gelu_forward": [_POINTER] * 2 + [_INT, _INT],
    "gated_gelu_backward": [_POINTER] * 3 + [_INT, _INT],
    "rotate": [_POINTER] * 4 + [_INT] * 5,
    "dropout": [_POINTER] * 2 + [_INT, _INT, _FLOAT, _SEED],
    "n_chunks": [_INT],
    "add_norm_forward": [_POINTER] * 7 + [_INT, _INT, _FLOAT, _FLOAT, _SEED],
    "add_norm_backward": [_POINTER] * 8 + [_INT, _INT, _FLOAT, _SEED],
    "gradient_norm": [_LEARNED, _INT],
    "adamw": [_LEARNED, _INT, _POINTER, _FLOAT],
    "adamw_catch_up": [_MOMENTS, _POINTER, _POINTER, _INT, _INT, _POINTER, ctypes.c_int32],
    "adamw_rows": [_MOMENTS, _POINTER, _POINTER, _INT, _INT, _POINTER, _POINTER, _FLOAT],
    "sum_rows": [_POINTER] * 3 + [_INT, _INT, _POINTER],
    "weight_backward": [_POINTER] * 4 + [_INT] * 3,
    "bf16_works": [],
    "bf16_pack": [_POINTER] * 2 + [_INT] * 3,
    "bf16_linear": [_POINTER] * 4 + [_INT] * 3,
    "bf16_linear_gelu": [_POINTER] * 5 + [_INT] * 3,
    "bf16_linear_gelu_backward": [_POINTER] * 4 + [_INT] * 3,
    "bf16_weight_backward": [_POINTER] * 4 + [_INT] * 3,
    "bf16_add_norm_forward": [_POINTER] * 7 + [_INT, _INT, _FLOAT, _FLOAT, _SEED],
    "bf16_add_norm_backward": [_POINTER] * 8 + [_INT, _INT, _FLOAT, _SEED],
    "bf16_attention_forward": [_BF16_ATTENTION] + [_POINTER] * 2,
    "bf16_attention_backward": [_BF16_ATTENTION] + [_POINTER] * 4,
}

_RESULTS = {"n_chunks": _INT, "bf16_works": _INT, "gradient_norm": ctypes.c_double}
"""The types of the functions' results; the others have none."""


def declare(library: ctypes.CDLL) -> ctypes.CDLL:
    """Gives the library's functions their types."""
    for name, arguments in _SIGNATURES.items():
        function = getattr(library, name)
        function.argtypes = arguments
        function.restype = _RESULTS.get(name)
    return library


def kernels() -> ctypes.CDLL | None:
    """The library, or None where it can't be used: `why_no_kernels` says why."""
    return _loaded()[0]


def why_no_kernels() -> str | None:
    """Why the kernels can't be used, for the user; None where they can."""
    return _loaded()[1]


@cache
def _loaded() -> tuple[ctypes.CDLL | None, str | None]:
    """The library, or why there is none."""
    if os.environ.get("ONELAYER_KERNELS") == "0":
        return None, "compiled kernels are turned off (ONELAYER_KERNELS=0): training is slower"
    command, functions = compiler(), tuple(_SIGNATURES)
    try:
        if found := prebuilt_kernels():
            library = open_library(found, functions)
        elif command is not None:
            # Another torch may bring another OpenMP.
            library = kernel_code("-march=native", functions, torch.__version__).load(command)
        else:
            return None, "no C compiler (gcc, clang) for the compiled kernels: training is slower"
    except subprocess.SubprocessError as error:
        reason = build_failure(str(command), error)
        return None, f"no compiled kernels, so training is slower: {reason}"
    except OSError as error:
        return None, f"no compiled kernels, so training is slower: {error}"
    return declare(library), None
