"""Describes a labelled file and its problems, or a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from onelayer.base.errors import DataError
from onelayer.base.result import Result, Table, place_text
from onelayer.checkpoint import read as checkpoints
from onelayer.checkpoint.bundle import Bundle, is_bundle, read_bundle
from onelayer.checkpoint.config import EncoderConfig, read_config, read_tokenizer
from onelayer.checkpoint.default_model import SAMPLE_ROWS, model_for
from onelayer.checkpoint.export_record import ExportRecord
from onelayer.checkpoint.record import HeldOutScores, ModelRecord, ParameterCounts, RunData
from onelayer.checkpoint.source import resolve
from onelayer.data.in_memory import Source, source_path
from onelayer.data.readers import open_table
from onelayer.data.rows import Rows, read_rows
from onelayer.engines.registry import engines_for
from onelayer.inspection.label_errors import DEFAULT_POSITIONS, LabelErrors, wrong_labels
from onelayer.inspection.repeats import RepeatedText, Repeats, find_repeats
from onelayer.recipe import Columns, Recipe
from onelayer.tasks import AnyTask, task_called
from onelayer.tasks.infer_columns import InferredColumns, infer_columns, inferred_like
from onelayer.tokens.coverage import coverage
from onelayer.tokens.tokenizer import Tokenizer
from onelayer.training.notebook import default_reporter
from onelayer.training.progress import Reporter

MAX_SAMPLED_ROWS = 2000
"""About how many rows are tokenized for the lengths. More rows take longer and change little."""
MAX_PRINTED_VALUES = 40
"""Values of a field that are printed; ``to_json`` has all."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FileInspection(Result):
    """The contents and the problems of a labelled file."""

    file: str
    format: str
    columns: tuple[str, ...]
    task: str
    read_as: Mapping[str, str | tuple[str, ...]]
    """The column of each role."""
    rows: int
    labels: Mapping[str, int]
    """How often each label occurs, the most frequent first."""
    tokens: Mapping[str, int]
    """Quantiles of the length of a row's texts, special tokens not counted."""
    problems: tuple[str, ...]
    remarks: tuple[str, ...]
    conflicting_labels: tuple[RepeatedText, ...]
    """Texts with different labels."""
    rows_in_several_files: Mapping[str, int]
    """By file: the number of rows whose texts are also in another file."""
    in_several_files: tuple[RepeatedText, ...]
    label_errors: LabelErrors | None = None
    """None unless a model judged the labels."""

    def parts(self) -> list[str | Table]:
        return self.parts_with(0)

    def parts_with(self, n_rows: int) -> list[str | Table]:
        """As `parts`, with the first ``n_rows`` entries of each list."""
        lists = ("conflicting_labels", "in_several_files", "label_errors")
        parts: list[str | Table] = _lines(self, lists)
        for name in lists[:2]:
            if found := getattr(self, name):
                shown = f", the first {n_rows}" if 0 < n_rows < len(found) else ""
                parts.append(f"{name.replace('_', ' ')}: {len(found):,}{shown}")
            for group in found[:n_rows]:
                parts.append(f"  {group.text}")
                for row in group.rows:
                    place = f"{row.file}:{place_text(row.line, row.id)}"
                    parts.append(f"    {place}: {row.label}")
        return parts + (self.label_errors.parts_with(n_rows) if self.label_errors else [])


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ModelInspection(Result):
    """A model: architecture, task, recipe, data and scores. What is unknown is None."""

    model: str = ""
    architecture: str | None = None
    shape: str = ""
    parameters: ParameterCounts | None = None
    bytes: int = 0
    task: Mapping[str, Any] | None = None
    """As ``onelayer.json`` has it, without long tables."""
    labels: tuple[str, ...] | None = None
    columns: Mapping[str, str | tuple[str, ...]] | None = None
    recipe: Mapping[str, str | int | float | bool | None] | None = None
    choices: tuple[str, ...] | None = None
    data: RunData | None = None
    dev: HeldOutScores | None = None
    export: ExportRecord | None = None
    engines: tuple[str, ...] | None = None
    """The installed engines that can run it."""
    made_by: str

    def parts(self) -> list[str | Table]:
        return list(_lines(self))


def _lines(inspected: Result, without: Collection[str] = ()) -> list[str | Table]:
    """A line for each field; nested values are indented."""
    values = {name: it for name, it in inspected.to_json().items() if name not in without}
    return [line for name, value in values.items() for line in _item(name, value)]


def _item(name: str, value: Any, indent: str = "") -> list[str | Table]:
    name = name if indent else name.replace("_", " ")
    if value is None or value == {} or value == []:
        return []
    inner = f"{indent}  "
    if isinstance(value, dict):
        items = list(value.items())[:MAX_PRINTED_VALUES]
        return [f"{indent}{name}:", *chain.from_iterable(_item(k, v, inner) for k, v in items)]
    if isinstance(value, list) and not all(isinstance(item, (int, float)) for item in value):
        return [f"{indent}{name}:", *(f"{inner}{item}" for item in value[:MAX_PRINTED_VALUES])]
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value
    return [f"{indent}{name}: {text}"]


def inspect_file(
    source: Source,
    columns: Columns,
    *,
    others: Sequence[Source] = (),
    task: str | None = None,
    model: str | None = None,
    judge: str | Path | None = None,
    folds: int = 5,
    reporter: Reporter | None = None,
) -> FileInspection:
    """Format, task, columns, labels, lengths and problems of a labelled file; the texts that have
    different labels or are also in one of the other files; and with the run ``judge`` the probable
    label errors."""
    asked = columns.asked
    if task is not None:
        task_called(task)  # report a wrong name before the file is read
    table = open_table(source, columns)
    inferred = infer_columns(table, task=task, asked=asked)
    kind, layout = inferred.kind, inferred.layout
    found = read_rows(kind, table, layout)
    rows = list(found)
    about_model: list[str] = []
    sample = rows[:SAMPLE_ROWS]
    model = model_for(
        model, lambda: [text for row in sample for text in kind.texts(row)], about_model.append
    )
    folder = resolve(model)
    tokenizer = read_tokenizer(folder, read_config(folder)[0])
    alike = (_alike(other, i, inferred, columns) for i, other in enumerate(others, start=2))
    files = [found, *alike]
    repeats = find_repeats(files)
    refusal = [found.refusal.message] if found.refusal else []
    bad = [line for rows_of_one in files for line in _bad_rows(rows_of_one)]
    errors = None
    if judge is not None:
        told = reporter or default_reporter()
        errors = wrong_labels(source, judge, columns, folds=folds, reporter=told)
    return FileInspection(
        file=source_path(source),
        format=table.format,
        columns=tuple(table.columns),
        task=kind.name,
        read_as=layout.columns,
        rows=len(rows) + found.n_bad,
        labels=dict(Counter(chain.from_iterable(map(kind.labels_in, rows))).most_common()),
        tokens=_lengths(kind, rows, tokenizer),
        problems=tuple(bad + _problems(kind, rows, tokenizer) + _repeat_problems(repeats)),
        remarks=(*inferred.remarks, *found.remarks, *refusal, *about_model),
        conflicting_labels=repeats.conflicts,
        rows_in_several_files=repeats.across if others else {},
        in_several_files=repeats.shared,
        label_errors=errors,
    )


def _alike(source: Source, number: int, first: InferredColumns, columns: Columns) -> Rows:
    """The rows of another file, by the columns of the first one if it has them."""
    kind, layout = first.kind, first.layout
    table = open_table(source, columns, layout.columns.values())
    if table.container is not None:  # several DataFrames have one name
        table = replace(table, path=f"{table.path} {number}")
    if layout.fits(table.columns):
        found = inferred_like(layout, kind, table)
    else:
        found = infer_columns(table, task=kind.name, asked=columns.asked)
    return read_rows(kind, table, found.layout)


def _repeat_problems(repeats: Repeats) -> list[str]:
    lines = []
    if repeats.rows:
        alike = repeats.differently_written
        differing = f", {alike:,} of them with other case, spaces or width" if alike else ""
        lines.append(f"{repeats.rows:,} rows repeat the texts of another row{differing}")
    if repeats.conflicting:
        lines.append(f"{repeats.conflicting:,} texts occur with different labels")
    return lines


def inspect_run(path: str | Path) -> ModelInspection:
    """Architecture, task, recipe, data and scores of a model directory."""
    folder = resolve(path)
    if is_bundle(folder):
        return _inspect_bundle(read_bundle(folder))
    checkpoint = checkpoints.read_checkpoint(folder)
    config = checkpoint.config
    record = checkpoint.record
    parts = (checkpoint.encoder, *checkpoint.poolers.values(), checkpoint.head)
    n_parameters = sum(tensor.numel() for part in parts for tensor in part.values())
    size = sum(file.stat().st_size for file in Path(checkpoint.folder).iterdir() if file.is_file())
    known = _from_record(record) if record else ModelInspection(made_by="transformers")
    return replace(
        known,
        model=str(path),
        architecture=checkpoint.architecture,
        shape=_shape(config),
        parameters=known.parameters or ParameterCounts(all=n_parameters),
        bytes=size,
        labels=tuple(checkpoint.labels) if checkpoint.labels else None,
        export=None,
    )


def _inspect_bundle(bundle: Bundle) -> ModelInspection:
    return replace(
        _from_record(bundle.record),
        model=str(bundle.folder),
        shape=_shape(bundle.config),
        bytes=sum(file.stat().st_size for file in bundle.folder.rglob("*") if file.is_file()),
        engines=tuple(engines_for(bundle)),
    )


def _from_record(record: ModelRecord) -> ModelInspection:
    """What ``onelayer.json`` says of a model."""
    return ModelInspection(
        parameters=record.parameters,
        task={"name": record.task.name, **record.task.in_short()},
        columns=record.layout.columns,
        recipe=record.recipe,
        choices=record.choices,
        data=record.data,
        dev=record.dev,
        export=record.export,
        made_by=f"onelayer {record.onelayer}",
    )


def _shape(config: EncoderConfig) -> str:
    return (
        f"{config.num_hidden_layers} layers, width {config.hidden_size}, "
        f"{config.longest} positions, {config.vocab_size:,} tokens"
    )


def _lengths(kind: type[AnyTask], rows: Sequence[Any], tokenizer: Tokenizer) -> dict[str, int]:
    """Quantiles of the tokens of a row's texts, without special tokens, in a sample of the rows."""
    step = max(1, len(rows) // MAX_SAMPLED_ROWS)
    lengths = [int(tokenizer.pieces(kind.texts(row)).lengths.sum()) for row in rows[::step]]
    if not lengths:
        return {}
    quantiles = {"median": 0.5, "p95": 0.95, "p99": 0.99, "longest": 1.0}
    return {name: int(np.quantile(lengths, q)) for name, q in quantiles.items()}


def _bad_rows(found: Rows) -> list[str]:
    more = found.n_bad - len(found.bad)
    return [str(error) for error in found.bad] + (
        [f"… and {more:,} more rows that can't be used"] if more else []
    )


def _problems(kind: type[AnyTask], rows: Sequence[Any], tokenizer: Tokenizer) -> list[str]:
    if not rows:
        return []
    problems = []
    try:
        kind.fit(rows, tokenizer, Recipe(), DEFAULT_POSITIONS)
    except DataError as error:
        problems.append(str(error))
    step = max(1, len(rows) // MAX_SAMPLED_ROWS)
    found = coverage(tokenizer, [text for row in rows[::step] for text in kind.texts(row)])
    if found.poor:
        problems.append(found.advice())
    return problems
