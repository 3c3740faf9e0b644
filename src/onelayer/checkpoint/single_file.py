"""A bundle in a single file, which is easy to move and which the C++ library maps.

The format is described in ``docs/single-file.md``, and read in C++ by ``csrc/bundle/single_file``.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from onelayer.base import digest
from onelayer.base.disk import behind_links, publish, put
from onelayer.base.errors import CheckpointError, OneLayerError, Place
from onelayer.base.machine import cache_home
from onelayer.base.model_files import parse_json

SUFFIX = ".onelayer"
MAGIC = b"onelayer"
FORMAT = 1
"""The newest format that this version reads."""
_HEAD, _ALIGNMENT = 64, 64
"""Bytes before the table, and the multiple at which files begin: a cache line."""
_LARGEST_TABLE = 1 << 20
_BLOCK = 1 << 20
_NAME = re.compile(r"(?!\.)[\w.-]+(/(?!\.)[\w.-]+)*", re.ASCII)


class _Part(NamedTuple):
    name: str
    offset: int
    size: int
    sha256: str


def is_single_file(path: Path) -> bool:
    """Whether a path is a bundle in a single file, by its first bytes."""
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def publish_single_file(target: Path, write: Callable[[Path], None]) -> None:
    """As `publish`, for a bundle in a single file: ``write`` fills a directory."""
    real = behind_links(target)
    parts, packed = (real.with_name(f".{real.name}.{kind}") for kind in ("parts", "packed"))
    try:
        publish(parts, write)
        write_single_file(parts, packed)
        put(packed, real)
    except OSError as error:
        raise OneLayerError(f"can't be written: {error.strerror}", place=Place(target)) from error
    finally:
        shutil.rmtree(parts, ignore_errors=True)
        packed.unlink(missing_ok=True)


def write_single_file(folder: Path, file: Path) -> None:
    """Writes a bundle's directory as a single file. The weights come last, so that all that
    describes them is near the beginning."""
    paths = sorted(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: (path.suffix == ".safetensors", path.relative_to(folder).as_posix()),
    )
    names = [path.relative_to(folder).as_posix() for path in paths]
    facts = [(path.stat().st_size, digest.of_file(path)) for path in paths]
    head, places = head_of(names, facts)
    with file.open("wb") as out:
        out.write(head)
        for path, place in zip(paths, places, strict=True):
            out.write(bytes(place - out.tell()))
            with path.open("rb") as part:
                shutil.copyfileobj(part, out, _BLOCK)


def head_of(names: Sequence[str], facts: Sequence[tuple[int, str]]) -> tuple[bytes, list[int]]:
    """The bytes before the files, and where each file begins, by the size and SHA-256 of each."""
    # The table's length decides where the files begin, and it holds these places: count until the
    # two agree.
    table, length, places = b"", -1, [0]
    while len(table) != length:
        length, at = len(table), _aligned(_HEAD + len(table))
        files, places = [], []
        for name, (size, sha256) in zip(names, facts, strict=True):
            files.append({"name": name, "offset": at, "size": size, "sha256": sha256})
            places.append(at)
            at = _aligned(at + size)
        table = json.dumps({"files": files}, ensure_ascii=False).encode()
    sizes = FORMAT.to_bytes(4, "little") + len(table).to_bytes(4, "little")
    return MAGIC + sizes + hashlib.sha256(table).digest() + bytes(16) + table, places


def unpacked_bundle(file: Path) -> Path:
    """A directory with the files of a single file, in the user's cache, or where that can't be
    written, in a temporary folder. Raises CheckpointError for a damaged file."""
    with _parts_of(file) as (raw, parts, sha256):
        folder = cache_home() / "bundles" / sha256
        if folder.is_dir():
            return folder

        def write(target: Path) -> None:
            for part in parts:
                _copy(raw, part, target / part.name, file)

        try:
            publish(folder, write)
        except (OneLayerError, OSError) as error:
            if isinstance(error, CheckpointError):
                raise
            folder = _temporary_folder(sha256)
            write(folder)
    return folder


@cache
def _temporary_folder(sha256: str) -> Path:
    """A folder for the files of a table with this digest, while this process runs."""
    return Path(tempfile.mkdtemp(prefix=f"onelayer-{sha256[:8]}-"))


@contextmanager
def _parts_of(file: Path) -> Iterator[tuple[BinaryIO, list[_Part], str]]:
    with file.open("rb") as raw:
        head = raw.read(_HEAD)
        version, length = (int.from_bytes(head[at : at + 4], "little") for at in (8, 12))
        if not head.startswith(MAGIC) or len(head) < _HEAD or version < 1:
            raise _damaged(file, "no table")
        if version > FORMAT:
            raise CheckpointError(
                f"written in format {version}, and this version knows {FORMAT}",
                place=Place(file),
                hint="pip install --upgrade onelayer",
            )
        table = raw.read(length) if length <= _LARGEST_TABLE else b""
        found = hashlib.sha256(table)
        if len(table) != length or found.digest() != head[16:48]:
            raise _damaged(file, "its table")
        size = raw.seek(0, 2)
        yield raw, list(_checked(table, size, file)), found.hexdigest()


def _checked(table: bytes, size: int, file: Path) -> Iterator[_Part]:
    """The parts that a table lists, each inside the file and behind the one before."""
    values: Any = parse_json(table.decode(errors="replace"), file)
    at, names = _HEAD + len(table), set()
    try:
        parts = [_Part(*(one[field] for field in _Part._fields)) for one in values["files"]]
        for part in parts:
            inside = at <= part.offset <= part.offset + part.size <= size
            if not inside or part.offset % _ALIGNMENT or part.name in names:
                raise ValueError
            if not _NAME.fullmatch(part.name):
                raise ValueError
            names.add(part.name)
            at = part.offset + part.size
            yield part
    except (KeyError, TypeError, ValueError):
        raise _damaged(file, "its table") from None
    if at != size:
        raise _damaged(file, "its length")


def _copy(raw: BinaryIO, part: _Part, path: Path, file: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    raw.seek(part.offset)
    left, found = part.size, hashlib.sha256()
    with path.open("wb") as out:
        while left and (block := raw.read(min(left, _BLOCK))):
            found.update(block)
            out.write(block)
            left -= len(block)
    if left or found.hexdigest() != part.sha256:
        raise _damaged(file, part.name)


def _damaged(file: Path, what: str) -> CheckpointError:
    hint = "fetch the file again, or export the run again"
    return CheckpointError(f"truncated or damaged: {what}", place=Place(file), hint=hint)


def _aligned(at: int) -> int:
    return -(-at // _ALIGNMENT) * _ALIGNMENT
