"""The report's templates, in which only our own markup is markup."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from onelayer.evaluation.report.excerpts import excerpt

# What a page must not contain as it is: controls (HTML forbids most), marks that turn the
# direction of all that follows, line separators, byte order marks, halves of surrogate pairs.
_HOSTILE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\ufeff\ufffe\uffff\ud800-\udfff]"
)


@cache
def templates() -> Environment:
    """Every value is escaped where it meets a template, and a name without a value is an error."""
    made = Environment(
        loader=PackageLoader("onelayer.evaluation.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"figure": figure, "clip": clip, "percent": "{:.1%}".format, "excerpt": excerpt}
    return made


def harmless(value: Any) -> Any:
    """A value as text; characters that would harm the page are named: ``‹U+202E›``."""
    if hasattr(value, "__html__"):
        return value
    return _HOSTILE.sub(lambda found: f"‹U+{ord(found[0]):04X}›", str(value))


def figure(value: Any) -> str:
    """A number as people read it."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) > 1):
        return f"{value:,.0f}"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1 or value in (0, 1) else f"{value:,.4g}"


def clip(name: str, longest: int = 60) -> str:
    """A name short enough for a table's cell."""
    return name if len(name) <= longest else name[: longest - 1] + "…"
