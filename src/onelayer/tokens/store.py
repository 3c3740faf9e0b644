"""Encodings on the disk: one flat file an array, written chunk by chunk, mapped when read."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import astuple
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from onelayer.tokens.encodings import Cut, Encodings

ARRAYS = ("ids", "segment_ids", "cu_seqlens", "reads", "cu_reads", "cu_examples", "cu_rows")


class EncodingsWriter:
    """Appends encodings to the files of a folder. What only decoding needs (``offsets``) is left
    out: these are rows to learn from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._open = ExitStack()
        self._files = {
            name: self._open.enter_context((folder / f"{name}.bin").open("wb"))
            for name in (*ARRAYS, "targets")
        }
        self._about: dict[str, dict[str, Any]] = {}
        self._cut = Cut()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def append(self, encodings: Encodings) -> None:
        """Adds the rows of ``encodings``, which have targets, after those that are there."""
        self._cut += encodings.cut
        for name in ARRAYS:
            array = getattr(encodings, name)
            if name.startswith("cu_"):
                array = array.astype(np.int64)
                if name in self._about:
                    array = array[1:] + self._about[name]["last"]
                self._write(name, array)
                self._about[name]["last"] = int(array[-1]) if len(array) else 0
            else:
                self._write(name, array)
        assert encodings.targets is not None
        self._write("targets", encodings.targets)

    def _write(self, name: str, array: NDArray[np.generic]) -> None:
        data = array.tobytes()
        about = self._about.setdefault(
            name, {"dtype": array.dtype.str, "shape": [0, *array.shape[1:]], "crc32": 0}
        )
        about["shape"][0] += len(array)
        about["crc32"] = zlib.crc32(data, about["crc32"])
        self._files[name].write(data)

    def record(self) -> dict[str, Any]:
        """What ``open_encodings`` needs to know, as JSON can say it."""
        keys = ("dtype", "shape", "crc32")
        arrays = {name: {key: about[key] for key in keys} for name, about in self._about.items()}
        return {"arrays": arrays, "cut": astuple(self._cut)}


def open_encodings(folder: Path, record: Mapping[str, Any]) -> Encodings:
    """The encodings that were written, mapped from the disk: none of it has to fit the memory.

    Raises ValueError or OSError where a file isn't as it was written.
    """
    arrays = {
        name: _mapped(folder / f"{name}.bin", **about) for name, about in record["arrays"].items()
    }
    return Encodings(**arrays, cut=Cut(*record["cut"]))


def _mapped(path: Path, dtype: str, shape: list[int], crc32: int) -> NDArray[Any]:
    kind = np.dtype(dtype)
    if kind.hasobject:
        raise ValueError(f"{path.name}: objects are never read")
    if not math.prod(shape):  # an empty file can't be mapped
        return np.empty(shape, kind)
    array = np.memmap(path, kind, mode="r", shape=tuple(shape)).view(np.ndarray)
    if zlib.crc32(array.data) != crc32:
        raise ValueError(f"{path.name} is not as it was written")
    return array
