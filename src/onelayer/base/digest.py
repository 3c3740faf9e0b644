"""Digests, by which a changed file or text is noticed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def of_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def of_data(path: str | Path) -> str:
    """SHA-256 of a data file, or of the names and contents of all files of a folder."""
    if not Path(path).is_dir():
        return of_file(path)
    files = sorted(file for file in Path(path).rglob("*") if file.is_file())
    return of_text("\n".join(f"{file.relative_to(path)} {of_file(file)}" for file in files))


def of_buffers(buffers: Iterable[memoryview]) -> str:
    """SHA-256 of the bytes of contiguous buffers, one after the other, in hexadecimal."""
    found = hashlib.sha256()
    for buffer in buffers:
        found.update(buffer)
    return found.hexdigest()


def of_text(text: str) -> str:
    """SHA-256 of a text in UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
