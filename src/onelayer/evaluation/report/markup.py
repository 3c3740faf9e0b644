"""HTML in which nothing but our own markup is markup."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

# What a page must not be handed as it is: controls (HTML forbids most), marks that turn the
# direction of all that follows, line separators, byte order marks, halves of surrogate pairs.
_HOSTILE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\ufeff\ufffe\uffff\ud800-\udfff]"
)


class Html(str):
    """Markup. A plain ``str`` is text, and is escaped wherever it meets markup."""

    __slots__ = ()


def text(value: str) -> Html:
    """A text as markup; characters that would harm the page are named: ``‹U+202E›``."""
    if isinstance(value, Html):
        return value
    return Html(escape(_HOSTILE.sub(lambda found: f"‹U+{ord(found[0]):04X}›", value)))


def join(parts: Iterable[str], between: str = "") -> Html:
    return Html(text(between).join(map(text, parts)))


def tag(name: str, /, *content: str, **attributes: str | int | None) -> Html:
    """An element. A trailing underscore of an attribute's name goes (``class_``), others become
    hyphens; one that is None is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    closing = "" if name in ("meta", "input") else f"</{name}>"
    return Html(f"<{name}{given}>{join(content)}{closing}")


def clipped(name: str, longest: int = 60) -> str:
    """A name short enough for a table's cell."""
    return name if len(name) <= longest else name[: longest - 1] + "…"
