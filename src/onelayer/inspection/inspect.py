"""What is in a file, and what is wrong with it; what a model is, and how good it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.base.errors import DataError
from onelayer.checkpoint import read as checkpoints
from onelayer.checkpoint.bundle import Bundle, is_bundle, read_bundle
from onelayer.checkpoint.config import EncoderConfig, read_config, read_tokenizer
from onelayer.checkpoint.source import resolve
from onelayer.data.layout import Layout
from onelayer.data.readers import read_table
from onelayer.data.rows import Rows, read_rows
from onelayer.engines.registry import engines_for
from onelayer.inspection.repeats import Repeats, find_repeats
from onelayer.recipe import Columns, Recipe
from onelayer.tasks import AnyTask, task_called
from onelayer.tasks.infer_columns import infer_columns
from onelayer.tokens.coverage import coverage
from onelayer.tokens.tokenizer import Tokenizer

SAMPLE = 2000
POSITIONS = 512


def inspect_file(
    path: str | Path,
    columns: Columns,
    *,
    others: Sequence[str | Path] = (),
    task: str | None = None,
    model: str = "starter",
) -> dict[str, Any]:
    """Format, task, columns, labels, lengths and problems of a labelled file, before training; and
    which of its texts are labelled differently elsewhere, or stand in one of the others too."""
    asked = columns.asked
    if task is not None:
        task_called(task)  # a wrong name is told before the file is read
    table = read_table(path, named=tuple(asked.values()))
    inferred = infer_columns(table, task=task, asked=asked)
    kind, layout = inferred.kind, inferred.layout
    found = read_rows(kind, table, layout)
    rows = list(found)
    folder = resolve(model)
    tokenizer = read_tokenizer(folder, read_config(folder)[0])
    beside = [_like(other, kind, layout, asked) for other in others]
    repeats = find_repeats([found, *beside])
    bad = [line for rows_of_one in (found, *beside) for line in _bad(rows_of_one)]
    return {
        "file": str(path),
        "format": table.format,
        "columns": list(table.columns),
        "task": kind.name,
        "read as": dict(layout.columns),
        "rows": len(rows) + found.n_bad,
        "labels": dict(Counter(chain.from_iterable(map(kind.labels_in, rows))).most_common()),
        "tokens": _lengths(kind, rows, tokenizer),
        "problems": bad + _problems(kind, rows, tokenizer) + _repeated(repeats),
        "remarks": list(inferred.remarks),
        "conflicting labels": repeats.conflicts,
        "rows in several files": repeats.across if others else {},
        "in several files": repeats.shared,
    }


def _like(path: str | Path, kind: type[AnyTask], layout: Layout, asked: Mapping[str, str]) -> Rows:
    """Another file's rows, read in the same way where it has the same columns."""
    table = read_table(path, named=tuple(asked.values()))
    if not layout.fits(table.columns):
        layout = infer_columns(table, task=kind.name, asked=asked).layout
    return read_rows(kind, table, layout)


def _repeated(repeats: Repeats) -> list[str]:
    lines = []
    if repeats.rows:
        alike = repeats.differently_written
        but = f", {alike:,} of them but for case, spaces or width" if alike else ""
        lines.append(f"{repeats.rows:,} rows repeat the texts of another row{but}")
    if repeats.conflicting:
        lines.append(f"{repeats.conflicting:,} texts occur with different labels")
    return lines


def inspect_run(path: str | Path) -> dict[str, Any]:
    """What a model directory is, how it was made and how good it is."""
    folder = resolve(path)
    if is_bundle(folder):
        return _inspect_bundle(read_bundle(folder))
    checkpoint = checkpoints.read_checkpoint(folder)
    config = checkpoint.config
    info = checkpoint.record.to_json() if checkpoint.record else {}
    encoder = sum(tensor.numel() for tensor in checkpoint.encoder.values())
    head = sum(tensor.numel() for tensor in checkpoint.head.values())
    size = sum(file.stat().st_size for file in Path(checkpoint.folder).iterdir() if file.is_file())
    return {
        "model": str(path),
        "architecture": checkpoint.architecture,
        "shape": _shape(config),
        "parameters": info.get("parameters") or {"all": encoder + head},
        "bytes": size,
        "task": _without_tables(info.get("task") or {}),
        "labels": checkpoint.labels,
        "columns": info.get("layout", {}).get("columns"),
        "recipe": info.get("recipe"),
        "choices": info.get("choices"),
        "data": info.get("data"),
        "dev": info.get("dev"),
        "made by": f"onelayer {info['onelayer']}" if "onelayer" in info else "transformers",
    }


def _inspect_bundle(bundle: Bundle) -> dict[str, Any]:
    config, info = bundle.config, bundle.record.to_json()
    return {
        "model": str(bundle.folder),
        "shape": _shape(config),
        "parameters": info.get("parameters"),
        "bytes": sum(file.stat().st_size for file in bundle.folder.rglob("*") if file.is_file()),
        "task": _without_tables(info["task"]),
        "columns": info["layout"].get("columns"),
        "recipe": info.get("recipe"),
        "data": info.get("data"),
        "dev": info.get("dev"),
        "export": info["export"],
        "engines": list(engines_for(bundle)),
        "made by": f"onelayer {info.get('onelayer')}",
    }


def _shape(config: EncoderConfig) -> str:
    return (
        f"{config.num_hidden_layers} layers, width {config.hidden_size}, "
        f"{config.max_position_embeddings} positions, {config.vocab_size:,} tokens"
    )


def _without_tables(task: Mapping[str, Any]) -> dict[str, Any]:
    """A task's record without the hundreds of numbers that its calibration keeps."""
    known = task.get("calibration")
    if not known:
        return dict(task)
    return {**task, "calibration": {name: known[name] for name in ("rows", "temperature")}}


def _lengths(kind: type[AnyTask], rows: Sequence[Any], tokenizer: Tokenizer) -> dict[str, int]:
    """Tokens of a row's texts, special tokens not counted, in a sample of the rows."""
    step = max(1, len(rows) // SAMPLE)
    lengths = [
        sum(len(encoding.ids) for encoding in tokenizer.encode(kind.texts(row)))
        for row in rows[::step]
    ]
    if not lengths:
        return {}
    quantiles = {"median": 0.5, "95 %": 0.95, "99 %": 0.99, "longest": 1.0}
    return {name: int(np.quantile(lengths, q)) for name, q in quantiles.items()}


def _bad(found: Rows) -> list[str]:
    more = found.n_bad - len(found.bad)
    return [str(error) for error in found.bad] + (
        [f"… and {more:,} more rows that can't be used"] if more else []
    )


def _problems(kind: type[AnyTask], rows: Sequence[Any], tokenizer: Tokenizer) -> list[str]:
    if not rows:
        return []
    problems = []
    try:
        kind.fit(rows, tokenizer, Recipe(), POSITIONS)
    except DataError as error:
        problems.append(str(error))
    step = max(1, len(rows) // SAMPLE)
    found = coverage(tokenizer, [text for row in rows[::step] for text in kind.texts(row)])
    if found.poor:
        problems.append(found.advice())
    return problems
