"""The files of a model directory: regular ones, in their place, and of a size that makes sense.

A directory comes from anywhere. What it names is data, never code, and none of its files may stop
us, fill the memory or stand for a file that is elsewhere.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onelayer.base.errors import CheckpointError, Place

LARGEST = 32 << 20
"""Bytes of a JSON file or a vocabulary. Half a million tokens, LaBSE's, take 13 MB."""
HEAVIEST = 160 << 20
"""Bytes that the values of a JSON file may take in memory; LaBSE's take 100 MB."""

_CODE = ("auto_map", "custom_pipelines")


def find(folder: Path, name: str) -> Path | None:
    """The file ``name`` in a model directory, None where there is none.

    Raises CheckpointError for what is no regular file and for a link that leads out of the
    directory. Into the blobs that huggingface_hub's cache keeps beside its snapshots it may lead.
    """
    path = folder / name
    if not path.is_symlink():
        if not path.exists():
            return None
    else:
        try:
            home, real = folder.resolve(), path.resolve(strict=True)
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop, until Python 3.12
            raise CheckpointError("a link that leads nowhere", place=Place(path)) from error
        if not real.is_relative_to(home) and real.parent != home.parent.parent / "blobs":
            raise CheckpointError(
                "a link that leads out of its directory",
                place=Place(path),
                hint="put the file itself there if you trust it",
            )
    if not path.is_file():
        raise CheckpointError("not a regular file", place=Place(path))
    return path


def read_text(path: Path) -> str:
    """A text file of a model directory. Raises CheckpointError: too large, or no UTF-8."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise CheckpointError(f"can't be read: {error.strerror}", place=Place(path)) from error
    if len(data) > LARGEST:
        raise CheckpointError(
            f"more than {LARGEST >> 20} MB, which no model's takes", place=Place(path)
        )
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CheckpointError("isn't UTF-8 text", place=Place(path)) from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of a model directory; CheckpointError where there is none."""
    text = read_text(path)
    _refuse_heavy(text, path)
    value = parse_json(text, path)
    if not isinstance(value, dict):
        raise CheckpointError("isn't a JSON object", place=Place(path))
    return value


def parse_json(text: str, path: Path) -> Any:
    """The value that ``text`` spells. Raises CheckpointError, which names line and column, and
    for a name that an object has twice: readers differ in which they take."""
    try:
        return json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise CheckpointError(
            f"isn't JSON: {error.msg}",
            place=Place(path, error.lineno, error.colno),
            hint="fetch the file again",
        ) from error
    except RecursionError as error:
        raise CheckpointError("isn't JSON: nested too deeply", place=Place(path)) from error
    except _TwiceError as error:
        raise CheckpointError(f"names {error.args[0]!r} twice", place=Place(path)) from error
    except ValueError as error:  # Python reads whole numbers of 4,300 digits and no more
        raise CheckpointError("a number of thousands of digits", place=Place(path)) from error


def refuse_code(data: Mapping[str, Any], path: str | Path) -> None:
    """A model with code of its own is not the one that its weights would make here."""
    for name in _CODE:
        if data.get(name):
            raise CheckpointError(
                f"{name} names code, and onelayer runs none of a model's",
                place=Place(path),
                hint=f"remove {name} if the model is a known one without it",
            )
    if data.get("trust_remote_code"):
        raise CheckpointError(
            "trust_remote_code is set, and onelayer runs none of a model's code",
            place=Place(path),
            hint="remove it if the model is a known one",
        )


class _TwiceError(Exception):
    """A name that a JSON object has twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _TwiceError(Counter(name for name, _ in pairs).most_common(1)[0][0])
    return found


def _refuse_heavy(text: str, path: Path) -> None:
    """Three bytes of JSON, ``[],``, are a hundred in memory: what the values will take is
    estimated from the marks between them, by what CPython's objects take."""
    lists = text.count("[") + text.count("{")
    weight = 64 * lists + 80 * text.count('"') + 32 * text.count(",")
    if weight > HEAVIEST:
        raise CheckpointError(
            f"its values would take {weight >> 20} MB of memory, which no model's take",
            place=Place(path),
        )
