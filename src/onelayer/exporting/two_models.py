"""Joins two bundles of one vocabulary: the smaller model answers where it is sure, and the larger
one the rest.

Most texts are easy, and a small model knows which of them are not: its two largest logits are close
to each other there.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from onelayer.base import digest
from onelayer.base.disk import publish, write_json, write_text
from onelayer.checkpoint.bundle import (
    FIRST,
    FOLDER,
    GRAPH,
    RECORD,
    WEIGHTS,
    Bundle,
    read_bundle,
    reads_other_tokens,
)
from onelayer.checkpoint.bundle_weights import read_slices
from onelayer.checkpoint.config import CONFIG
from onelayer.checkpoint.export_record import ExportRecord, FirstModel
from onelayer.data.rows import Rows
from onelayer.engines.engine import Engine
from onelayer.engines.registry import RUN_ENGINE, engines_for
from onelayer.engines.two_engines import distances
from onelayer.exporting.bundle_card import bundle_card
from onelayer.exporting.dev_rows import RowsOfRun
from onelayer.exporting.graph import inputs_of
from onelayer.exporting.parity import Kept, parity
from onelayer.exporting.speed import machine, speeds, versions
from onelayer.prediction.predictor import Predictor
from onelayer.tasks import AnyTask

Say = Callable[[str], None]


def can_be_joined(first: Bundle, rest: Bundle) -> bool:
    """Whether one bundle can answer first for the other: both are in int8, read the same tokens,
    and choose one of the same outputs."""
    return (
        first.precision == rest.precision == "int8"
        and first.tokenizer.digest == rest.tokenizer.digest
        and not reads_other_tokens(first.config, rest.config)
        and first.task.outputs == rest.task.outputs
        and rest.task.chooses_an_output
    )


@dataclass(frozen=True, slots=True)
class Joining:
    """Joins bundles of a run."""

    run: Predictor
    torch: Kept
    """Its engine."""
    rows: RowsOfRun
    say: Say

    def join(self, first: Path, rest: Path, out: Path, *, what: str, share: float) -> None:
        """Writes a bundle of two that `can_be_joined`.

        Parameters
        ----------
        first, rest
            The smaller bundle, which answers first, and the larger one, whose card and record the
            new one has.
        out
            The new bundle's directory.
        what
            What the smaller one is, in words.
        share
            The share of the dev rows' sequences for which the larger one is asked.
        """
        publish(out, lambda folder: self._write(first, rest, folder, out.name, what, share))

    def _write(
        self, first: Path, rest: Path, folder: Path, name: str, what: str, share: float
    ) -> None:
        small, large = read_bundle(first), read_bundle(rest)
        shutil.copytree(rest, folder, dirs_exist_ok=True)
        unit = _unit(small.task, large.task)
        weights = _write_first(small, folder / FIRST, unit)
        margin = unit * margin_for(small, self.rows.dev, share)
        made = FirstModel(what=what, margin=margin, share=share, sha256=digest.of_file(weights))
        self.say(f"{name}: {made.in_words()}")
        self._write_record(folder, large, large.task, replace(large.export, first=made))
        bundle = read_bundle(folder)
        engines = {engine: make(bundle) for engine, make in engines_for(bundle).items()}
        kept = {engine: Kept(one, bundle.tokenizer) for engine, one in engines.items()}
        export = self._measured(bundle, engines, kept)
        task = self._tuned(bundle.task, next(iter(kept.values())))
        self._write_record(folder, large, task, export)
        told = replace(self.run, task=task)
        card = bundle_card(told, name, large.architecture, inputs_of(large.config), export)
        write_text(folder / "README.md", card)

    def _measured(
        self, bundle: Bundle, engines: Mapping[str, Engine], kept: Mapping[str, Kept]
    ) -> ExportRecord:
        """The bundle's record, with what it loses against the run in each engine, and speeds."""
        answering = {
            name: replace(self.run, engine=one, tokenizer=bundle.tokenizer)
            for name, one in engines.items()
        }
        models = (bundle.folder / FOLDER, bundle.folder / FIRST / FOLDER)
        size = sum(file.stat().st_size for model in models for file in model.iterdir())
        task, dev = self.run.task, self.rows.dev
        return replace(
            bundle.export,
            engines={name: parity(task, self.torch, one, dev) for name, one in kept.items()},
            speed=speeds({RUN_ENGINE: self.run, **answering}, dev),
            why=None,  # it was about the graph of the larger one
            bytes=replace(bundle.export.bytes, bundle=size),
            machine=machine(),
            versions=versions(),
        )

    def _tuned(self, task: AnyTask, both: Kept) -> AnyTask:
        """The task with its decoding tuned on what both models say of dev rows. Rows that were
        learned don't tell how."""
        if self.rows.learned:
            return task
        both.rewind()
        tuned, _ = task.tune(self.rows.dev, both.chunks(task, self.rows.dev))
        return tuned

    def _write_record(
        self, folder: Path, large: Bundle, task: AnyTask, export: ExportRecord
    ) -> None:
        record = replace(large.record, task=task, export=export)
        write_json(folder / RECORD, record.to_json())


def margin_for(small: Bundle, rows: Rows, share: float) -> float:
    """The distance of a sequence's two largest logits below which a model leaves this share of the
    rows' sequences to another one."""
    make = next(iter(engines_for(small).values()))
    model = Kept(make(small), small.tokenizer)
    found = [
        distances(encodings, logits) for _, encodings, logits in model.chunks(small.task, rows)
    ]
    return float(np.quantile(np.concatenate(found), share))


def _unit(small: AnyTask, large: AnyTask) -> float:
    """By what the small model's logits are multiplied, so that both are as sure as their logits
    say by one temperature."""
    own, other = small.label_temperature, large.label_temperature
    return other / own if own and other else 1.0


def _write_first(small: Bundle, folder: Path, unit: float) -> Path:
    """Writes the files of the model that answers first, and returns that of its weights."""
    (folder / FOLDER).mkdir(parents=True)
    for name in (CONFIG, f"{FOLDER}/{GRAPH}", f"{FOLDER}/{WEIGHTS}"):
        shutil.copyfile(small.folder / name, folder / name)
    weights = folder / FOLDER / WEIGHTS
    slices = read_slices(weights)
    with weights.open("r+b") as file:
        for name in ("head.weight", "head.bias"):
            file.seek(slices[name].offset)
            file.write((small.tensors[name] * np.float32(unit)).tobytes())
    return weights
