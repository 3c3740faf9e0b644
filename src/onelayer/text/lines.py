"""Lines of a UTF-8 file, and plain text read as one text a line."""

from __future__ import annotations

from collections.abc import Iterator

from onelayer.errors import DataError, Place
from onelayer.text.table import Record, Table


def text_lines(path: str) -> Iterator[str]:
    """The lines of a file with their ends, as a stream; a BOM is left out.

    Lines end at ``\\n`` alone, as editors count them: U+2028 and the like are text.

    Raises:
        DataError: at the first byte that is not UTF-8 and at the first NUL.
    """
    with open(path, encoding="utf-8-sig", newline="\n") as file:
        try:
            for number, line in enumerate(file, 1):
                if "\0" in line:
                    raise DataError(
                        "a NUL byte, which no text has",
                        place=Place(path, number, line.index("\0") + 1),
                        hint="is this a text file, saved as UTF-8?",
                    )
                yield line
        except UnicodeDecodeError:
            raise _bad_byte(path) from None


def _bad_byte(path: str) -> DataError:
    """The text layer decodes in blocks and can't tell the line, so the bytes are read again."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                column = len(error.object[: error.start].decode("utf-8")) + 1
                return DataError(
                    f"not valid UTF-8: byte 0x{error.object[error.start]:02x}",
                    place=Place(path, number, column),
                    hint="save the file as UTF-8: iconv -f GB18030 -t UTF-8 mends GBK and GB18030, "
                    "iconv -c -f UTF-8 -t UTF-8 drops broken bytes",
                )
    return DataError("not valid UTF-8", place=Place(path))


def read_lines(path: str) -> Table:
    """Plain text: one text a line in the column ``text``; blank lines are passed over."""

    def records() -> Iterator[Record]:
        for number, line in enumerate(text_lines(path), 1):
            if not line.isspace():
                yield Record({"text": line.rstrip("\r\n")}, number)

    return Table(path, "lines", ("text",), records, note="plain text: one text a line")
