"""A file's bytes, unpacked: gzip, bzip2, xz, Zstandard, and zip archives of one file."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO, Protocol

from onelayer.base.errors import DataError, Place

BOMB = 64 << 20
BOMB_RATIO = 200
"""A file is refused that unpacks to more than ``BOMB`` bytes and more than ``BOMB_RATIO`` times its
size. Text hardly compresses to less than a tenth."""
LONGEST_MARK = 6
"""Bytes by which every packing is recognised."""
_NOT_DATA = ("__MACOSX/", ".")
_OFFICE = ("[Content_Types].xml", "mimetype")
"""Members of the zip archives that are spreadsheets."""


class DataPath(str):
    """A file's path, as messages name it, with what is needed to read its text.

    Readers pass it on as any path; ``lines.py`` looks at the rest.
    """

    __slots__ = ("encoding", "stored")

    encoding: str | None
    """The encoding that the user named."""
    stored: str
    """Where the bytes are: elsewhere for a pipe, which is called ``stdin``."""

    def __new__(
        cls, shown: str, *, encoding: str | None = None, stored: str | None = None
    ) -> DataPath:
        path = super().__new__(cls, shown)
        path.encoding, path.stored = encoding, stored or shown
        return path


class _Reads(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Packing:
    name: str
    mark: bytes
    """The first bytes of such files."""
    unpack: Callable[[BinaryIO, Place], _Reads]


def _zstd(file: BinaryIO, place: Place) -> _Reads:
    import pyarrow as pa

    unpacked: _Reads = pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd")
    return unpacked


def _only_member(file: BinaryIO, place: Place) -> _Reads:
    archive = zipfile.ZipFile(file)
    names = _members(archive)
    if len(names) != 1:
        few = ", ".join(names[:6]) + ", …" * (len(names) > 6)
        raise DataError(
            f"a zip archive of {len(names)} files" + (f": {few}" if names else ""),
            place=place,
            hint="unpack it and name one of them",
        )
    return archive.open(names[0])


def _members(archive: zipfile.ZipFile) -> list[str]:
    """The data files of an archive, without directories and what macOS adds."""
    return [
        name
        for name in archive.namelist()
        if not name.endswith("/")
        and not name.startswith(_NOT_DATA[0])
        and not PurePosixPath(name).name.startswith(_NOT_DATA[1])
    ]


_PACKINGS = (
    _Packing("gzip", b"\x1f\x8b", lambda file, _: gzip.GzipFile(fileobj=file)),
    _Packing("bzip2", b"BZh", lambda file, _: bz2.BZ2File(file)),
    _Packing("xz", b"\xfd7zXZ\x00", lambda file, _: lzma.LZMAFile(file)),  # noqa: SIM115
    _Packing("zstd", b"\x28\xb5\x2f\xfd", _zstd),
    _Packing("zip", b"PK\x03\x04", _only_member),
)
_MARKS = tuple(packing.mark for packing in _PACKINGS)


def _packing_of(first_bytes: bytes) -> _Packing | None:
    return next((p for p in _PACKINGS if first_bytes.startswith(p.mark)), None)


def packing_name(path: str) -> str | None:
    """How a file is packed; None for one that isn't, and for spreadsheets, which are zip archives.
    Raises OSError if it can't be read."""
    packing = _packing_at(path)
    return None if packing is None else packing.name


def _packing_at(path: str) -> _Packing | None:
    with open(stored_at(path), "rb") as file:
        packing = _packing_of(file.read(LONGEST_MARK))
    is_zip = packing is not None and packing.name == "zip"
    return None if is_zip and is_office(path) else packing


def is_office(path: str) -> bool:
    """Whether a zip archive is a spreadsheet or another document of an office program."""
    try:
        with zipfile.ZipFile(stored_at(path)) as archive:
            return any(name in archive.namelist() for name in _OFFICE)
    except (zipfile.BadZipFile, OSError, ValueError):
        return False


def member_name(path: str) -> str | None:
    """The name of the only file in a zip archive; None for other files. Raises DataError for an
    archive of several files, or a damaged one."""
    if packing_name(path) != "zip":
        return None
    with open_unpacked(path) as file:
        file.peek(1)
    with zipfile.ZipFile(stored_at(path)) as archive:
        return _members(archive)[0]


def stored_at(path: str) -> str:
    """Where a path's bytes are."""
    return path.stored if isinstance(path, DataPath) else path


def open_unpacked(path: str) -> io.BufferedReader[Any]:
    """Opens a file; reading gives its unpacked bytes.

    Raises
    ------
    DataError
        Here or while it is read: for a damaged file, a zip archive of several files, and a file
        that unpacks to far more than text does.
    """
    packing, size = _packing_at(path), os.path.getsize(stored_at(path))
    file = open(stored_at(path), "rb")  # noqa: SIM115
    if packing is None:
        return file
    return io.BufferedReader(_Unpacked(packing, file, Place(str(path)), lambda: size))


def unpacked_pipe(
    stream: BinaryIO, place: Place, marks: tuple[bytes, ...] = ()
) -> io.BufferedReader[Any]:
    """The unpacked bytes of a pipe, each as soon as it has arrived. Zip archives aren't unpacked.
    If it begins with one of ``marks``, the whole mark can be peeked at."""
    raw = _PipeBytes(stream)
    file: io.BufferedReader[Any] = io.BufferedReader(raw)
    packing = _packing_of(raw.begins_with((*_MARKS, *marks)))
    if packing is None or packing.name == "zip":
        return file
    return io.BufferedReader(_Unpacked(packing, file, place, lambda: raw.count))


class _PipeBytes(io.RawIOBase):
    """The bytes of a pipe that have arrived; its first ones can be looked at before."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream, self._first, self.count = stream, b"", 0

    def begins_with(self, marks: tuple[bytes, ...]) -> bytes:
        """The first bytes that arrive, as many as are needed to know whether they are a mark."""
        while any(m.startswith(self._first) and m != self._first for m in marks):
            found = self._read(io.DEFAULT_BUFFER_SIZE)
            if not found:
                break
            self._first += found
        return self._first

    def _read(self, size: int) -> bytes:
        """What has arrived, of at most this size."""
        if hasattr(self._stream, "read1"):
            return bytes(self._stream.read1(size))
        return self._stream.read(1 if size else 0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        if self._first:
            found, self._first = self._first[: len(buffer)], self._first[len(buffer) :]
        else:
            found = self._read(len(buffer))
        buffer[: len(found)] = found
        self.count += len(found)
        return len(found)


class _Unpacked(io.RawIOBase):
    """The unpacked bytes of a file; errors are ours."""

    def __init__(
        self, packing: _Packing, file: BinaryIO, place: Place, packed: Callable[[], int]
    ) -> None:
        super().__init__()
        self._packing, self._file, self._place, self._packed = packing, file, place, packed
        self._inner: _Reads | None = None
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        found = self._read(len(buffer))
        buffer[: len(found)] = found
        self._count += len(found)
        if self._count > max(BOMB, BOMB_RATIO * self._packed()):
            raise DataError(
                f"{self._packed():,} bytes that unpack to more than {self._count:,}",
                place=self._place,
                hint="text doesn't compress that well; is it the right file?",
            )
        return len(found)

    def _read(self, size: int) -> bytes:
        try:
            if self._inner is None:
                self._inner = self._packing.unpack(self._file, self._place)
            read = getattr(self._inner, "read1", self._inner.read)
            return bytes(read(size))
        except DataError:
            raise
        except (OSError, EOFError, RuntimeError, ValueError, zlib.error, lzma.LZMAError) as error:
            raise self._damaged(error) from None
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception) -> DataError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return DataError(
            f"not a readable {self._packing.name} file: {reason}",
            place=self._place,
            hint="is it whole, and without a password? unpack it by hand",
        )

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
