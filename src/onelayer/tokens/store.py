"""Encodings on the disk: a flat file per array, written in chunks and memory-mapped to read."""

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

ARRAYS = (
    *("ids", "segment_ids", "cu_seqlens", "reads", "cu_reads", "cu_examples", "cu_rows"),
    "second_at",
)


class EncodingsWriter:
    """Appends encodings to the files of a folder. ``offsets`` are left out: only decoding needs
    them, and these rows are for training."""

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
        """Appends rows, which must have targets."""
        self._cut += encodings.cut
        for name in ARRAYS:
            array = getattr(encodings, name)
            if name.startswith("cu_"):
                # Counts of a later chunk continue where the chunk before ended, without the 0.
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
        """What ``open_encodings`` needs to know about the files, as JSON values."""
        keys = ("dtype", "shape", "crc32")
        arrays = {name: {key: about[key] for key in keys} for name, about in self._about.items()}
        return {"arrays": arrays, "cut": astuple(self._cut)}


def open_encodings(folder: Path, record: Mapping[str, Any]) -> Encodings:
    """Opens written encodings, memory-mapped: they may be larger than the memory.

    Parameters
    ----------
    folder
        Where the files are.
    record
        The result of `EncodingsWriter.record`.

    Raises
    ------
    ValueError, OSError
        Where a file is missing or has changed.
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
