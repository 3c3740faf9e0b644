"""Reads the lists and objects that a text holds as JSON or as Python writes them."""

from __future__ import annotations

import ast
import json
import re
from typing import Any

LONGEST_WRITTEN = 1 << 20
"""Characters of a text that is read as Python, at most: Python's parser takes hundreds of bytes of
memory a character."""

_STRING = r"""(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")"""
_STRINGS = re.compile(rf"\[\s*{_STRING}(?:\s+{_STRING})+\s*\]", re.DOTALL)
_NUMBERS = re.compile(r"\[\s*[-+.\de]+(?:\s+[-+.\de]+)+\s*\]")
_ONE_STRING = re.compile(_STRING, re.DOTALL)
_NAMES = {"None": None, "nan": None, "null": None, "true": True, "false": False}


def written_value(text: str) -> list[Any] | dict[str, Any] | None:
    """The list or object that a text holds; None if it holds anything else.

    Understood are JSON, Python's lists, tuples, sets and dicts, and NumPy's arrays, which pandas
    writes into csv files: ``['a' 'b']``, ``[1 0]`` and ``{'text': array(['a'], dtype=object)}``.
    """
    text = text.strip()
    if text[:1] not in ("[", "{", "("):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = _python_value(text)
    return found if isinstance(found, (list, dict)) else None


def _python_value(text: str) -> Any:
    if len(text) > LONGEST_WRITTEN:
        return None
    try:
        if _STRINGS.fullmatch(text):  # Python would read 'a' 'b' as one string
            return [ast.literal_eval(one) for one in _ONE_STRING.findall(text)]
        if _NUMBERS.fullmatch(text):
            text = ",".join(text.split()).replace("[,", "[").replace(",]", "]")
        return _value_of(ast.parse(text, mode="eval").body)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _value_of(node: ast.expr) -> Any:
    """The value of a literal. Raises ValueError for code that isn't one."""
    match node:
        case ast.Constant(value=str() | int() | float() | None):
            return node.value
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.List(elts=items) | ast.Tuple(elts=items) | ast.Set(elts=items):
            return [_value_of(item) for item in items]
        case ast.Dict(keys=keys, values=values) if None not in keys:
            names = [_value_of(key) for key in keys if key]
            return dict(zip(map(str, names), map(_value_of, values), strict=True))
        case ast.Call(func=ast.Name(id="array"), args=[ast.List() as items]):
            return _value_of(items)
    raise ValueError
