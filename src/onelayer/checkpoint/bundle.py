"""A bundle, the result of an export: read and checked without torch.

It is a directory like a run's, with tokenizer and record, but its weights are in
``onnx/model.safetensors``, and ``onnx/model.onnx`` is the graph that refers to them. In ``first``
there may be configuration, weights and graph of a smaller model that answers first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.model_files import find, read_json
from onelayer.checkpoint.bundle_weights import (
    check_multipliers,
    check_slices,
    read_slices,
    read_tensors,
)
from onelayer.checkpoint.config import (
    CONFIG,
    EncoderConfig,
    architecture_of,
    read_config,
    read_tokenizer,
)
from onelayer.checkpoint.export_record import ExportRecord, FirstModel
from onelayer.checkpoint.onnx_file import check_graph
from onelayer.checkpoint.record import ModelRecord, read_record
from onelayer.data.layout import Layout
from onelayer.tasks import AnyTask
from onelayer.tokens.tokenizer import Tokenizer

RECORD = "onelayer.json"
FOLDER, GRAPH, WEIGHTS = "onnx", "model.onnx", "model.safetensors"
FIRST = "first"
PRECISIONS = ("fp32", "int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """An exported model, which any engine except torch's can run."""

    folder: Path
    config: EncoderConfig
    architecture: str
    """transformers' class."""
    task: AnyTask
    layout: Layout
    tokenizer: Tokenizer
    record: ModelRecord
    """``onelayer.json``."""
    export: ExportRecord
    """What export measured; a part of the record."""
    graph: Path
    tensors: Mapping[str, NDArray[Any]]
    """The weights by our names: a copy, which doesn't change with the file."""
    first: Bundle | None = None
    """The smaller model that answers first, if there is one, as a bundle of its own."""

    @property
    def precision(self) -> str:
        """``fp32`` or ``int8``."""
        return self.export.precision


def is_bundle(folder: Path) -> bool:
    """Whether a directory is a bundle: it has a graph, and no weights where a run has them."""
    return (folder / FOLDER / GRAPH).exists() and not (folder / WEIGHTS).exists()


def read_bundle(folder: Path) -> Bundle:
    """Reads a bundle. Raises CheckpointError for files that are missing, damaged, or not as export
    wrote them."""
    config, data = read_config(folder)
    record_file = _file(folder, RECORD)
    record = read_record(read_json(record_file), folder, config.longest)
    task, export = record.task, record.export
    if export is None or export.precision not in PRECISIONS:
        raise CheckpointError(
            "has no export record that this version can read", place=Place(record_file)
        )
    graph, tensors = _read_model(folder, config, task, export)
    tokenizer = read_tokenizer(folder, config)
    bundle = Bundle(
        folder=folder,
        config=config,
        architecture=architecture_of(data, config),
        task=task,
        layout=record.layout,
        tokenizer=tokenizer,
        record=record,
        export=export,
        graph=graph,
        tensors=tensors,
    )
    if export.first is None:
        return bundle
    return replace(bundle, first=_read_first(bundle, export.first))


def _read_model(
    folder: Path, config: EncoderConfig, task: AnyTask, export: ExportRecord
) -> tuple[Path, Mapping[str, NDArray[Any]]]:
    """The graph of a folder's model, and its weights, which must have the export's digest."""
    if (folder / FOLDER).is_symlink():
        raise CheckpointError("a link in place of a folder", place=Place(folder / FOLDER))
    graph, weights = (_file(folder, f"{FOLDER}/{name}") for name in (GRAPH, WEIGHTS))
    slices = read_slices(weights)
    check_slices(weights, slices, config, len(task.outputs), export.precision)
    check_graph(graph, WEIGHTS, slices)
    tensors, sha256 = read_tensors(weights, slices)
    if sha256 != export.sha256:
        raise CheckpointError(
            "not as onelayer exported it: truncated, damaged or replaced",
            place=Place(weights),
            hint="fetch the bundle again, or export the run again",
        )
    check_multipliers(weights, tensors)
    return graph, tensors


def _read_first(bundle: Bundle, record: FirstModel) -> Bundle:
    folder, task = bundle.folder / FIRST, bundle.task
    if folder.is_symlink():
        raise CheckpointError("a link in place of a folder", place=Place(folder))
    config, data = read_config(folder)
    if reads_other_tokens(config, bundle.config):
        place = Place(folder / CONFIG)
        raise CheckpointError("reads other tokens than the larger model", place=place)
    if not task.chooses_an_output:
        place = Place(bundle.folder / RECORD)
        raise CheckpointError(f"no model answers first for {task.name}", place=place)
    export = replace(bundle.export, sha256=record.sha256, first=None)
    graph, tensors = _read_model(folder, config, task, export)
    return replace(
        bundle,
        config=config,
        architecture=architecture_of(data, config),
        export=export,
        graph=graph,
        tensors=tensors,
    )


def reads_other_tokens(one: EncoderConfig, other: EncoderConfig) -> bool:
    """Whether two encoders can't read the same encodings."""
    parts = ("vocab_size", "longest", "type_vocab_size")
    return any(getattr(one, part) != getattr(other, part) for part in parts)


def _file(folder: Path, name: str) -> Path:
    path = find(folder, name)
    if path is None:
        raise CheckpointError(f"holds no {name}", place=Place(folder), hint="export the run again")
    return path
