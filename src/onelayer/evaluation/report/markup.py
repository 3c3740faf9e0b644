"""The report's templates, which escape every value."""

from __future__ import annotations

import math
import re
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from onelayer.evaluation.report.excerpts import excerpt, in_full

# Characters that would break the page or its appearance: control characters (HTML forbids most),
# marks that change the writing direction, line separators, byte order marks, lone surrogates.
_HOSTILE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
    "\ufeff\ufffe\uffff\ud800-\udfff]"
)


@cache
def templates(package: str | None = None) -> Environment:
    """Templates that escape every value, those of a package before the report's. An undefined name
    is an error."""
    packages = ([package] if package else []) + ["onelayer.evaluation.report"]
    made = Environment(
        loader=ChoiceLoader([PackageLoader(one, ".") for one in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=harmless,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {"figure": figure, "clip": clip, "percent": "{:.1%}".format}
    made.filters |= {"setting": setting, "excerpt": excerpt, "in_full": in_full}
    return made


def harmless(value: Any) -> Any:
    """A value as text; harmful characters are shown by their codes: ``‹U+202E›``."""
    if hasattr(value, "__html__"):
        return value
    return _HOSTILE.sub(lambda found: f"‹U+{ord(found[0]):04X}›", str(value))


def figure(value: Any) -> str:
    """A number with thousands separators or four digits; other values as text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int) or (float(value).is_integer() and abs(value) > 1):
        return f"{value:,.0f}"
    return f"{value:.4f}" if 1e-3 <= abs(value) < 1 or value in (0, 1) else f"{value:,.4g}"


def setting(value: Any) -> str:
    """A value of a recipe, as one would write it: 0.1, not 0.1000."""
    return f"{value:.6g}" if isinstance(value, float) else figure(value)


def fixed(value: float, decimals: int) -> str:
    """A number of a column, all of them with the same decimals."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else str(value)
    text = f"{value:,.{decimals}f}"
    return text.removeprefix("-") if not text.strip("-0.,") else text


def clip(name: str, longest: int = 60) -> str:
    """A name cut to ``longest`` characters, to fit into a cell of a table."""
    return name if len(name) <= longest else name[: longest - 1] + "…"
