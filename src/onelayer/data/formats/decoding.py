"""From bytes to text: which encoding a file has, and where it breaks it."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedIOBase

from onelayer.base.errors import UsageError

BLOCK = 1 << 16
"""Bytes that are decoded together."""
_MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""The byte order marks. UTF-32's begins with that of UTF-16, so it comes first."""
_USUAL = "such as gb18030, cp1252, cp1251, big5, shift_jis or euc_kr"
_COMMON_HANZI = frozenset(
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过子说"
    "产种面而方后多定行学法所民得经三之进着等部度家电里如水化高自二理起小物现实加都两体制机当使点从"
    "业本去把性好应开它合还因由其些然前外天政四日那社义事平形相全表间样与关各重新内数正心反你明看原又"
    "么利比或但质气第向道命此变条只没结解问意建月公无系军很情者最立代想已通并提直题程展五果料象员位入"
    "常文总次品式活设及管特件长求老头资边流路级少图山统接知较将组见计别她手角期根论运指几区放决西被做"
    "房店差店服务快慢买卖价钱吃味送货退换新闻体育"
)
_WESTERN = re.compile(r"[A-Za-zÀ-ÖØ-öø-ÿŒœŠšŽžŸ\x00-\x7f‘’“”–—…•€£§©®™°«»¡¿·´º\xa0]*")
_INSIDE_WORD = re.compile(r"[a-z][^\x00-\x7fÀ-ÖØ-öø-ÿŒœŠšŽž’\xa0–—][a-z]")


class UndecodableError(Exception):
    """Bytes that are no text, at the end of what was decoded; ``hint`` says what to do."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def decoded_blocks(file: BufferedIOBase, encoding: str | None) -> Iterator[str]:
    """The text of a file, as a stream: each block as soon as its bytes have arrived.

    Parameters
    ----------
    file
        The file, open at its beginning.
    encoding
        The name of a codec; by default a byte order mark decides, else it is UTF-8.

    Raises
    ------
    UsageError
        For an encoding that isn't known.
    UndecodableError
        At the first byte that the encoding doesn't have, and at the first NUL.
    """
    first = _beginning(file)
    mark, found = next(((m, e) for m, e in _MARKS.items() if first.startswith(m)), (b"", "utf-8"))
    name = _known(encoding) if encoding else found
    block, at_end = first, not first
    if found.startswith(name.removesuffix("-sig")):
        name, block = found, first[len(mark) :]
    decoder = codecs.getincrementaldecoder(name)()
    while True:
        try:
            text = decoder.decode(block, at_end)
        except UnicodeDecodeError as error:
            yield _before(error, name)
            raise _undecodable(error, name) from None
        except UnicodeError as error:  # of codecs that aren't for whole texts, such as idna
            raise UndecodableError(f"not valid {name}: {error}", "is --encoding right?") from None
        if "\0" in text:
            yield text[: text.index("\0")]
            raise _nul(block, name)
        if text:
            yield text
        if at_end:
            return
        block = file.read1(BLOCK)
        at_end = not block


def _beginning(file: BufferedIOBase) -> bytes:
    """The first bytes that arrive, and as many more as make a mark whole."""
    first: bytes = file.read1(BLOCK)
    while any(mark.startswith(first) and mark != first for mark in _MARKS) and first:
        more = file.read1(BLOCK)
        if not more:
            break
        first += more
    return first


def _known(encoding: str) -> str:
    """A codec's name. Raises UsageError for one that isn't known, or isn't one of texts."""
    try:
        codec = codecs.lookup(encoding)
        with suppress(UnicodeError):
            b"a".decode(codec.name)
    except (LookupError, ValueError):
        raise UsageError(f"--encoding: {encoding!r} is not known", hint=f"one {_USUAL}") from None
    return codec.name


def _before(error: UnicodeDecodeError, encoding: str) -> str:
    """What is right before the bytes that are wrong."""
    return bytes(error.object[: error.start]).decode(encoding, errors="replace")


def _undecodable(error: UnicodeDecodeError, encoding: str) -> UndecodableError:
    byte = error.object[error.start] if error.start < len(error.object) else 0
    name = "UTF-8" if encoding == "utf-8" else encoding
    message = f"not valid {name}: byte 0x{byte:02x}"
    if encoding != "utf-8":
        return UndecodableError(message, "is --encoding right? without it a file is UTF-8")
    block = bytes(error.object)
    if _without_mark(block):
        return _nul(block, encoding)
    guess = _likely(block)
    if guess is None:
        return UndecodableError(
            message,
            f"name its encoding with --encoding, {_USUAL}; "
            "iconv -c -f UTF-8 -t UTF-8 drops broken bytes",
        )
    line = block[block.rfind(b"\n", 0, error.start) + 1 :].split(b"\n", 1)[0]
    shown = line.decode(guess, errors="replace").strip()
    return UndecodableError(message, f"--encoding {guess} would read {shown[:40]!r}")


def _likely(block: bytes) -> str | None:
    """The encoding that a block of bytes most likely has; None where nothing is clear.

    Chinese in GB18030 has common characters. Western European text in cp1252 has letters with
    accents between other letters.
    """
    as_utf8 = block.decode(errors="replace")
    if sum(c > "\x7f" and c != "\ufffd" for c in as_utf8) > as_utf8.count("\ufffd"):
        return None  # UTF-8 with some broken bytes
    chinese = block.decode("gb18030", errors="replace")
    hanzi = [c for c in chinese if "\u4e00" <= c <= "\u9fff"]
    broken = chinese.count("\ufffd")
    if len(hanzi) > 20 * broken and sum(c in _COMMON_HANZI for c in hanzi) > len(hanzi) / 4:
        return "gb18030"
    western = block.decode("cp1252", errors="replace")
    strange = _INSIDE_WORD.search(western) or not _WESTERN.fullmatch(western)
    pairs = re.search(rb"[\x80-\xff]{4}", block)
    return None if strange or pairs else "cp1252"


def _nul(block: bytes, encoding: str) -> UndecodableError:
    guess = _without_mark(block) if encoding == "utf-8" else None
    hint = f"is it UTF-16 without its mark? --encoding {guess}" if guess else "is this a text file?"
    return UndecodableError("a NUL byte, which no text has", hint)


def _without_mark(block: bytes) -> str | None:
    """The kind of UTF-16 in which every second byte of a block is 0; None for any other block."""
    even, odd = block[::2].count(0), block[1::2].count(0)
    if max(even, odd) <= len(block) / 8 or min(even, odd) > max(even, odd) / 8:
        return None
    return "utf-16-le" if odd > even else "utf-16-be"
