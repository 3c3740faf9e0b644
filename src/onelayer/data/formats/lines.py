"""Reads the lines of a text file, and plain text as one text per line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from io import BufferedIOBase, StringIO
from itertools import islice

from onelayer.base.errors import DataError, Place
from onelayer.data.formats.decoding import UndecodableError, decoded_blocks
from onelayer.data.formats.file_format import FileFormat
from onelayer.data.formats.unpacking import DataPath, open_unpacked, stored_at
from onelayer.data.table import Record, Table

LONGEST = 1 << 22
"""Characters of a line or field, at most. A long novel has three million; anything longer is
another kind of file, or a quote that is never closed."""
LARGEST_DOCUMENT = 1 << 30
"""Bytes of a document that is read as a whole, at most."""

HEAD_LINES = 1000
HEAD_CHARACTERS = 1 << 20


def text_lines(path: str) -> Iterator[str]:
    """The lines of a file with their line ends, as a stream, without a BOM.

    Only ``\\n`` ends a line, as in editors: U+2028 and the like are text. The file may be packed;
    see ``unpacking.py``.

    Raises
    ------
    DataError
        At the first byte that isn't in the file's encoding, the first NUL, or a line of more than
        ``LONGEST`` characters.
    """
    with open_unpacked(path) as file:
        yield from lines_of(file, path)


def lines_of(file: BufferedIOBase, path: str) -> Iterator[str]:
    """As `text_lines`, for an open file or pipe that messages call ``path``: each line as soon as
    it has arrived."""
    for number, line in enumerate(_pieces(file, path, LONGEST), 1):
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
    with open_unpacked(path) as file:
        for line in islice(_pieces(file, path, HEAD_CHARACTERS), HEAD_LINES):
            room -= len(line)
            if room < 0 and lines:
                break
            lines.append(line)
    return lines


def whole_text(path: str) -> str:
    """The whole text of a file. Raises DataError as ``text_lines`` does, and for a file of more
    than ``LARGEST_DOCUMENT`` bytes."""
    blocks, room = [], LARGEST_DOCUMENT
    if os.path.getsize(stored_at(path)) > LARGEST_DOCUMENT:
        raise _too_large(path)
    with open_unpacked(path) as file:
        for block in _pieces(file, path, HEAD_CHARACTERS):
            room -= len(block)
            if room < 0:
                raise _too_large(path)
            blocks.append(block)
    return "".join(blocks)


def _too_large(path: str) -> DataError:
    return DataError(
        f"more than {LARGEST_DOCUMENT >> 30} GB in one JSON document, which is read at once",
        place=Place(path),
        hint="write a JSON object a line, in a file named .jsonl",
    )


def _pieces(file: BufferedIOBase, path: str, longest: int) -> Iterator[str]:
    """The lines; a line of more than ``longest`` characters comes in pieces of that length."""
    line, cut, rest = 1, 0, ""  # the characters of the line that were yielded, and those not yet
    encoding = path.encoding if isinstance(path, DataPath) else None
    try:
        for block in decoded_blocks(file, encoding):
            if not block:
                continue
            pieces = StringIO(rest + block, newline="\n") if "\n" in block else (rest + block,)
            rest = ""
            for piece in pieces:
                while len(piece) > longest or (len(piece) == longest and piece[-1] != "\n"):
                    yield piece[:longest]
                    piece, cut = piece[longest:], cut + longest
                if piece.endswith("\n"):
                    yield piece
                    line, cut = line + 1, 0
                else:
                    rest = piece
    except UndecodableError as error:
        place = Place(path, line, cut + len(rest) + 1)
        raise DataError(str(error), place=place, hint=error.hint) from None
    if rest:
        yield rest


def read_lines(path: str) -> Table:
    """Reads plain text: one text per line, in the column ``text``; blank lines are skipped."""

    def records() -> Iterator[Record]:
        for number, line in enumerate(text_lines(path), 1):
            if not line.isspace():
                yield Record({"text": line.rstrip("\r\n")}, number)

    return Table(path, "lines", ("text",), records, note="plain text: one text a line")


LINES = FileFormat(lambda _: True, lambda sample: read_lines(sample.path))
