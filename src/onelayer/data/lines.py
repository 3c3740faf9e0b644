"""Reads the lines of a UTF-8 file, and plain text as one text per line."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator
from functools import partial
from itertools import islice

from onelayer.base.errors import DataError, Place
from onelayer.data.file_format import FileFormat
from onelayer.data.table import Record, Table

LONGEST = 1 << 22
"""Characters of a line or field, at most. A long novel has three million; anything longer is
another kind of file, or a quote that is never closed."""
LARGEST_DOCUMENT = 1 << 30
"""Bytes of a document that is read as a whole, at most."""

_MARK = "\ufeff"
"""The byte order mark, which isn't part of the first line."""

HEAD_LINES = 1000
HEAD_CHARACTERS = 1 << 20


def text_lines(path: str) -> Iterator[str]:
    """The lines of a file with their line ends, as a stream, without a BOM.

    Only ``\\n`` ends a line, as in editors: U+2028 and the like are text.

    Raises
    ------
    DataError
        At the first byte that isn't UTF-8, the first NUL, or a line of more than ``LONGEST``
        characters.
    """
    for number, line in enumerate(_pieces(path, LONGEST), 1):
        if len(line) == LONGEST and line[-1] != "\n":
            raise DataError(
                f"a line longer than {LONGEST:,} characters",
                place=Place(path, number),
                hint="a row a line, and no row is as long as a book",
            )
        yield line


def head_lines(path: str) -> list[str]:
    """The first lines, by which a file's format is recognised: at most ``HEAD_LINES`` lines and
    ``HEAD_CHARACTERS`` characters. A longer first line is cut."""
    lines: list[str] = []
    room = HEAD_CHARACTERS
    for line in islice(_pieces(path, HEAD_CHARACTERS), HEAD_LINES):
        room -= len(line)
        if room < 0 and lines:
            break
        lines.append(line)
    return lines


def whole_text(path: str) -> str:
    """The whole text of a file. Raises DataError as ``text_lines`` does, and for a file of more
    than ``LARGEST_DOCUMENT`` bytes."""
    if os.path.getsize(path) > LARGEST_DOCUMENT:
        raise DataError(
            f"more than {LARGEST_DOCUMENT >> 30} GB in one JSON document, which is read at once",
            place=Place(path),
            hint="write a JSON object a line, in a file named .jsonl",
        )
    return "".join(_pieces(path, HEAD_CHARACTERS))


def _pieces(path: str, longest: int) -> Iterator[str]:
    """The lines; a line of more than ``longest`` characters comes in pieces of that length."""
    line, column = 1, 1
    with open(path, encoding="utf-8-sig", newline="\n") as file:
        try:
            for piece in iter(partial(file.readline, longest), ""):
                if "\0" in piece:
                    raise DataError(
                        "a NUL byte, which no text has",
                        place=Place(path, line, column + piece.index("\0")),
                        hint="is this a text file, saved as UTF-8?",
                    )
                if piece[-1] == "\n":
                    line, column = line + 1, 1
                else:
                    column += len(piece)
                yield piece
        except UnicodeDecodeError:
            raise _bad_byte(path) from None


def _bad_byte(path: str) -> DataError:
    """The error for the first byte that isn't UTF-8. Python decodes in blocks and doesn't know the
    line, so the bytes are read again, line by line."""
    line, column = 1, 1
    decoder = codecs.getincrementaldecoder("utf-8")()
    with open(path, "rb") as file:
        for piece in iter(partial(file.readline, LONGEST), b""):
            try:
                text = decoder.decode(piece, final=piece.endswith(b"\n"))
            except UnicodeDecodeError as error:  # error.object also has bytes of the last piece
                column += len(error.object[: error.start].decode().removeprefix(_MARK))
                return _not_utf8(path, line, column, error.object[error.start])
            column = 1 if text.endswith("\n") else column + len(text.removeprefix(_MARK))
            line += text.endswith("\n")
    cut_off, _ = decoder.getstate()
    return _not_utf8(path, line, column, cut_off[0] if cut_off else 0)


def _not_utf8(path: str, line: int, column: int, byte: int) -> DataError:
    return DataError(
        f"not valid UTF-8: byte 0x{byte:02x}",
        place=Place(path, line, column),
        hint="save the file as UTF-8: iconv -f GB18030 -t UTF-8 converts GBK and GB18030, "
        "iconv -c -f UTF-8 -t UTF-8 drops broken bytes",
    )


def read_lines(path: str) -> Table:
    """Reads plain text: one text per line, in the column ``text``; blank lines are skipped."""

    def records() -> Iterator[Record]:
        for number, line in enumerate(text_lines(path), 1):
            if not line.isspace():
                yield Record({"text": line.rstrip("\r\n")}, number)

    return Table(path, "lines", ("text",), records, note="plain text: one text a line")


LINES = FileFormat(lambda _: True, lambda sample: read_lines(sample.path))
