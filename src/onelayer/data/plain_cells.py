"""Rows and cells of Python objects, as the readers of files give them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

MISSING = ("NAType", "NaTType")
"""The types of pandas' ``NA`` and ``NaT``, by name: pandas is not imported."""
WRITTEN_AS_TEXT = (date, time, timedelta, Decimal)
"""The types of values that JSON lacks, and that have one usual form as a text."""


def plain_cell(value: Any) -> Any:
    """A cell as JSON has it: NumPy's scalars and arrays as numbers, texts and lists, NaN and NA as
    None, dates and decimals as texts. Other objects stay: the error names their type if they are
    used."""
    kind = type(value)
    if value is None or kind in (str, bool, int):
        return value
    if kind is float:
        return None if value != value else value
    if kind.__name__ in MISSING:
        return None
    if isinstance(value, str):
        return str.__str__(value)
    if hasattr(value, "tolist"):
        return plain_cell(value.tolist())
    if hasattr(value, "as_py"):
        return plain_cell(value.as_py())
    if isinstance(value, Mapping):
        return {str(key): plain_cell(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_cell(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain_cell(item) for item in value), key=str)
    return str(value) if isinstance(value, WRITTEN_AS_TEXT) else value


def cells_by_name(item: Any) -> dict[str, Any] | None:
    """The cells of a row that has names: a dict, a named tuple, a row of a database. None for
    anything else."""
    if hasattr(item, "_asdict"):
        item = item._asdict()
    if not hasattr(item, "keys"):
        return None
    return {str(key): plain_cell(item[key]) for key in item.keys()}  # noqa: SIM118 - sqlite3.Row
