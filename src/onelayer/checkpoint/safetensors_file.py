"""Opens a safetensors file after checks that the library doesn't make. No torch.

The library checks that types are known and that tensors fill the file without gaps. It accepts a
huge header, which takes gigabytes to parse, and two tensors of one name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.model_files import parse_json

LARGEST_HEADER = 1 << 20
"""Bytes of a header, at most; BERT-Large's has 50,000."""


@contextmanager
def open_safetensors(path: Path, framework: Literal["pt", "np"]) -> Iterator[safe_open]:
    """Opens a file to read tensors for torch (``pt``) or numpy (``np``), memory-mapped if possible.

    Raises CheckpointError for a truncated or damaged file, also while its tensors are read.
    """
    with path.open("rb") as raw:
        length = int.from_bytes(raw.read(8), "little")
        if length > LARGEST_HEADER:
            raise damaged(path, f"a header of {length:,} bytes, and a BERT's has some ten thousand")
        header = raw.read(length)
    try:
        with safe_open(path, framework=framework) as file:
            parse_json(header.decode(), path)  # refuses two tensors of one name
            yield file
    except (SafetensorError, OSError, ValueError, OverflowError) as error:
        raise damaged(path, " ".join(str(error).split())) from error


def damaged(path: Path, reason: str) -> CheckpointError:
    """The error for a damaged file, or the better one for a Git LFS pointer."""
    return pointer(path) or CheckpointError(
        f"truncated or damaged: {reason}", place=Place(path), hint="fetch the file again"
    )


def pointer(path: Path) -> CheckpointError | None:
    """The error for a Git LFS pointer, which a clone without Git LFS has instead of weights; None
    for other files."""
    with path.open("rb") as file:
        if not file.read(40).startswith(b"version https://git-lfs"):
            return None
    return CheckpointError(
        "a Git LFS pointer, not the weights", place=Place(path), hint="run: git lfs pull"
    )
