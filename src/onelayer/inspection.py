"""What is in a file, and what is wrong with it; what a model is, and how good it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.checkpoint import load as checkpoints
from onelayer.checkpoint.record import read_record
from onelayer.checkpoint.source import resolve
from onelayer.errors import DataError
from onelayer.recipe import Columns, Recipe
from onelayer.tasks import TASKS, Task
from onelayer.tasks.layout import see
from onelayer.tasks.rows import Rows, read_rows
from onelayer.text.coverage import coverage
from onelayer.text.files import read
from onelayer.text.tokenizer import Tokenizer

SAMPLE = 2000
POSITIONS = 512


def inspect_file(
    path: str | Path, columns: Columns, *, task: str | None = None, model: str = "starter"
) -> dict[str, Any]:
    """Format, task, columns, labels, lengths and problems of a labelled file, before training."""
    asked = columns.asked
    table = read(path, named=tuple(asked.values()))
    seen = see(table, task=task, asked=asked)
    kind = TASKS[seen.task]
    found = read_rows(kind, table, seen.layout)
    rows = list(found)
    tokenizer = Tokenizer.read(resolve(model))
    return {
        "file": str(path),
        "format": table.format,
        "columns": list(table.columns),
        "task": seen.task,
        "read as": dict(seen.layout.columns),
        "rows": len(rows) + found.n_bad,
        "labels": dict(_labels(rows).most_common()),
        "tokens": _lengths(kind, rows, tokenizer),
        "problems": _bad(found) + _problems(kind, rows, tokenizer),
        "remarks": list(seen.remarks),
    }


def inspect_run(path: str | Path) -> dict[str, Any]:
    """What a model directory is, how it was made and how good it is."""
    checkpoint = checkpoints.read(resolve(path))
    config, info = checkpoint.config, checkpoint.onelayer or {}
    if info:
        read_record(info, checkpoint.folder, config.max_position_embeddings)
    encoder = sum(tensor.numel() for tensor in checkpoint.encoder.values())
    head = sum(tensor.numel() for tensor in checkpoint.head.values())
    size = sum(file.stat().st_size for file in Path(checkpoint.folder).iterdir() if file.is_file())
    return {
        "model": str(path),
        "architecture": checkpoint.architecture,
        "shape": f"{config.num_hidden_layers} layers, width {config.hidden_size}, "
        f"{config.max_position_embeddings} positions, {config.vocab_size:,} tokens",
        "parameters": info.get("parameters") or {"all": encoder + head},
        "bytes": size,
        "task": info.get("task"),
        "labels": checkpoint.labels,
        "columns": info.get("layout", {}).get("columns"),
        "recipe": info.get("recipe"),
        "choices": info.get("choices"),
        "data": info.get("data"),
        "dev": info.get("dev"),
        "made by": f"onelayer {info['onelayer']}" if "onelayer" in info else "transformers",
    }


def _labels(rows: Sequence[Any]) -> Counter[str]:
    """How often each label occurs: classes, tags, entity types, or whether there is an answer."""
    counts: Counter[str] = Counter()
    for row in rows:
        if getattr(row, "tags", None) is not None:
            counts.update(row.tags)
        elif getattr(row, "spans", None) is not None:
            counts.update(span.label for span in row.spans)
        elif getattr(row, "answers", None) is not None:
            counts["answer" if row.answers else "no answer"] += 1
        elif isinstance(getattr(row, "label", None), tuple):
            counts.update(row.label)
        elif isinstance(getattr(row, "label", None), str):
            counts[row.label] += 1
        elif hasattr(row, "options"):
            counts[f"option {row.answer}"] += 1
    return counts


def _lengths(kind: type[Task], rows: Sequence[Any], tokenizer: Tokenizer) -> dict[str, int]:
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


def _problems(kind: type[Task], rows: Sequence[Any], tokenizer: Tokenizer) -> list[str]:
    if not rows:
        return []
    problems = []
    try:
        kind.fit(rows, tokenizer, Recipe(), POSITIONS)
    except DataError as error:
        problems.append(str(error))
    repeats = Counter(kind.texts(row) for row in rows)
    twice = sum(n - 1 for n in repeats.values())
    if twice:
        problems.append(f"{twice:,} rows repeat the texts of another row")
    labelled: dict[tuple[str, ...], set[Any]] = {}
    for row in rows:
        if getattr(row, "label", None) is not None:
            labelled.setdefault(kind.texts(row), set()).add(row.label)
    conflicts = sum(len(labels) > 1 for labels in labelled.values())
    if conflicts:
        problems.append(f"{conflicts:,} texts occur with different labels")
    step = max(1, len(rows) // SAMPLE)
    found = coverage(tokenizer, [text for row in rows[::step] for text in kind.texts(row)])
    if found.poor:
        problems.append(found.advice())
    return problems
