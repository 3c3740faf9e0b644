"""The names that the numbers of a column stand for, where Hugging Face's ``datasets`` wrote them:
in the schema of Parquet and Arrow files, or in ``dataset_info.json``.

Source: https://huggingface.co/docs/datasets/about_dataset_features. A ClassLabel has ``names``,
alone or as the ``feature`` of a list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

ClassNames = Mapping[str, tuple[str, ...]]
"""By column, the names of 0, 1, ..."""

INFO_FILES = ("dataset_info.json", "dataset_infos.json")
MAX_INFO_BYTES = 1 << 24


def names_in_schema(schema: pa.Schema) -> ClassNames:
    """The names in the metadata of an Arrow schema; none where it has none."""
    metadata = (schema.metadata or {}).get(b"huggingface", b"{}")
    with suppress(ValueError, RecursionError, KeyError, TypeError):
        return _names_of(json.loads(metadata)["info"]["features"])
    return {}


def names_beside(path: Path) -> ClassNames:
    """The names that a data set's own description gives: ``dataset_info.json`` next to a file, or
    in the folder of a data set."""
    folder = path if path.is_dir() else path.parent
    for info in (folder / name for name in INFO_FILES):
        with suppress(OSError, ValueError, RecursionError):
            if info.stat().st_size > MAX_INFO_BYTES:
                continue
            found = json.loads(info.read_text(encoding="utf-8"))
            for features in _features(found):
                if names := _names_of(features):
                    return names
    return {}


def _features(info: Any) -> Iterator[Any]:
    """Those of a data set, or of each of its configurations."""
    for part in (info, *(info.values() if isinstance(info, dict) else ())):
        if isinstance(part, dict) and "features" in part:
            yield part["features"]


def _names_of(features: Any) -> ClassNames:
    if not isinstance(features, dict):
        return {}
    found = {column: _class_label(feature) for column, feature in features.items()}
    return {column: names for column, names in found.items() if names}


def _class_label(feature: Any) -> tuple[str, ...]:
    """The names of a ClassLabel, or of a list of them."""
    if isinstance(feature, list) and len(feature) == 1:
        feature = feature[0]
    if not isinstance(feature, dict):
        return ()
    if feature.get("_type") != "ClassLabel":
        return _class_label(feature.get("feature"))
    names = feature.get("names")
    if not isinstance(names, list) or len(set(map(str, names))) < len(names):
        return ()
    return tuple(map(str, names))
