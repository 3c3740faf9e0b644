"""Writes a bundle's weights file: safetensors, with slices that are the graph's external data."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 64
"""Bytes of a cache line. Tensors that engines map instead of copying should begin at one."""

_TYPES = {np.dtype(np.float32): "F32", np.dtype(np.int8): "I8"}


def write_weights(path: Path, tensors: Mapping[str, NDArray[Any]]) -> dict[str, tuple[int, int]]:
    """Writes fp32 and int8 tensors, and returns each one's offset and length in the file, in bytes.

    safetensors allows no gaps. Tensors that fill whole cache lines come first, so all of them begin
    at one. The others, such as an output layer's biases, begin at a multiple of their item's size.
    """
    whole = {name: array.nbytes % ALIGNMENT == 0 for name, array in tensors.items()}
    order = sorted(tensors, key=lambda name: (not whole[name], -tensors[name].itemsize))
    header: dict[str, Any] = {}
    end = 0
    for name in order:
        begin, end = end, end + tensors[name].nbytes
        kind = _TYPES[tensors[name].dtype]
        shape = list(tensors[name].shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % ALIGNMENT)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            file.write(np.ascontiguousarray(tensors[name]).data)
    base = 8 + len(text)
    return {
        name: (base + begin, stop - begin)
        for name, (begin, stop) in ((name, header[name]["data_offsets"]) for name in order)
    }
