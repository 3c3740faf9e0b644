"""Reads files of a model directory, which may come from anybody.

Its content is data, never code. No file may block the process, fill the memory or be a link to a
file somewhere else.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onelayer.base.errors import CheckpointError, Place

LARGEST = 32 << 20
"""Bytes of a JSON file or a vocabulary, at most. LaBSE's half a million tokens take 13 MB."""
HEAVIEST = 160 << 20
"""Bytes that a JSON file's values may take in memory, at most; LaBSE's take 100 MB."""

_CODE = ("auto_map", "custom_pipelines")


def find(folder: Path, name: str) -> Path | None:
    """The file ``name`` in a model directory, or None.

    Raises CheckpointError for anything but a regular file, and for a link out of the directory.
    A link may only lead to the blobs that huggingface_hub's cache keeps next to its snapshots.
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
    """The text of a file. Raises CheckpointError if it is too large or isn't UTF-8."""
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
    """The JSON object in a file. Raises CheckpointError if it holds anything else."""
    value = read_json_value(path)
    if not isinstance(value, dict):
        raise CheckpointError("isn't a JSON object", place=Place(path))
    return value


def read_json_value(path: Path) -> Any:
    """The JSON value in a file, of any kind. Raises CheckpointError if it holds none."""
    text = read_text(path)
    _refuse_heavy(text, path)
    return parse_json(text, path)


def parse_json(text: str, path: Path) -> Any:
    """Parses JSON. Raises CheckpointError with line and column, also for a name that an object has
    twice: other readers would take the other value."""
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
    """Raises CheckpointError for a model that comes with its own code: without it, its weights
    make another model."""
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
    """Raises CheckpointError for JSON whose values would fill the memory. Three bytes, ``[],``,
    take a hundred in memory; the estimate counts brackets, quotes and commas, and multiplies by the
    size of CPython's objects."""
    lists = text.count("[") + text.count("{")
    weight = 64 * lists + 80 * text.count('"') + 32 * text.count(",")
    if weight > HEAVIEST:
        raise CheckpointError(
            f"its values would take {weight >> 20} MB of memory, which no model's take",
            place=Place(path),
        )
