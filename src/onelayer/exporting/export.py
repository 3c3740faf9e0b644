"""Exports a run as a bundle, which is written completely if it passes its checks, or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx
from numpy.typing import NDArray

from onelayer import __version__
from onelayer.base import digest
from onelayer.base.disk import publish, restore, write_json, write_text
from onelayer.base.errors import OneLayerError, Place, UsageError
from onelayer.base.json_values import to_plain
from onelayer.base.result import Result, Table
from onelayer.checkpoint.bundle import (
    FOLDER,
    GRAPH,
    RECORD,
    WEIGHTS,
    is_bundle,
    read_bundle,
)
from onelayer.checkpoint.config import CONFIG, EncoderConfig, read_config
from onelayer.checkpoint.export_record import ExportRecord, FourBitWords, ModelBytes, Parity
from onelayer.checkpoint.record import ModelRecord
from onelayer.checkpoint.single_file import SUFFIX, is_single_file, publish_single_file
from onelayer.checkpoint.source import path_beside, resolve
from onelayer.data.in_memory import Source
from onelayer.engines.engine import Engine
from onelayer.engines.native.four_bit_words import bytes_saved
from onelayer.engines.native.packed_weights import quantized
from onelayer.engines.onnx_engine import OnnxEngine
from onelayer.engines.registry import engines_for
from onelayer.engines.torch_engine import TorchEngine
from onelayer.exporting.bundle_card import bundle_card, cells, signed
from onelayer.exporting.calibrate import calibration_rows, ranges
from onelayer.exporting.dev_rows import RowsOfRun, rows_of_run
from onelayer.exporting.graph import inputs_of, model_graph
from onelayer.exporting.nodes import Nodes
from onelayer.exporting.parity import Kept, failed_checks, parity
from onelayer.exporting.products import Calibrated, Product, by_token, in_float
from onelayer.exporting.speed import machine, speeds, versions, work
from onelayer.exporting.vocabulary import WORDS, TrimmedModel
from onelayer.exporting.vocabulary import trim_vocabulary as trim_to_rows
from onelayer.exporting.weights_file import write_weights
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns
from onelayer.tokens.tokenizer import Tokenizer

Say = Callable[[str], None]

CLOSE = 0.25
"""The share of ``max_drop`` by which the faster of two int8 graphs may score less."""


def export_run(
    run: str | Path,
    *,
    out: str | Path | None = None,
    int8: bool = False,
    four_bit_words: bool = False,
    trim_vocabulary: bool = False,
    keep_dev_pieces: bool = True,
    single_file: bool = False,
    max_drop: float = 1.0,
    accept: bool = False,
    train: Source | None = None,
    dev: Source | None = None,
    columns: Columns | None = None,
    say: Say = lambda _: None,
) -> Exported:
    """Exports a run as a bundle.

    Parameters
    ----------
    run
        The run's directory.
    out
        The bundle's directory; by default next to the run.
    int8
        Whether to quantize; otherwise the bundle is fp32.
    four_bit_words
        Whether an int8 bundle stores word vectors in four bits.
    trim_vocabulary
        Whether to keep only the pieces of the run's rows.
    keep_dev_pieces
        Whether those of dev rows are kept, too. Without them the bundle's dev scores tell what new
        texts lose.
    single_file
        Whether the bundle becomes one file, which the C++ library maps, in place of a directory.
    max_drop
        The points of the metric that int8 may cost.
    accept
        Write the bundle even if it fails its checks.
    train, dev, columns
        The rows, if they aren't where the run found them; see `rows_of_run`.
    say
        Is called with remarks.

    Raises
    ------
    OneLayerError
        For a bundle that fails its checks; nothing is written.
    UsageError
        If there are no rows to compare on.
    """
    folder = resolve(run)
    if is_bundle(folder):
        raise UsageError("is a bundle already", place=Place(folder), hint="give the run itself")
    if four_bit_words and not int8:
        raise UsageError("only int8 has word vectors in four bits", hint="add --int8")
    target = _target(run, out, int8, single_file)
    if single_file and not int8:
        say("--single-file in fp32: the C++ library runs int8 bundles only (--int8)")
    predictor = load(folder)
    rows = rows_of_run(predictor, train, dev, columns or Columns(), say)
    precision = "int8" if int8 else "fp32"
    torch = Kept(predictor.engine, predictor.tokenizer)
    trimmed = None
    if trim_vocabulary:
        width = _state(predictor)[WORDS].shape[1]
        # In int8 each vector has a scale.
        size = width + 4 - four_bit_words * bytes_saved(1, width) if int8 else 4 * width
        trimmed = trim_to_rows(
            predictor,
            torch,
            rows,
            read_config(folder)[1],
            say,
            bytes_per_piece=size,
            keep_dev_pieces=keep_dev_pieces,
        )
    job = _Job(
        predictor,
        torch,
        folder,
        rows,
        target,
        precision,
        max_drop,
        accept,
        say,
        four_bit_words=four_bit_words,
        trimmed=trimmed,
    )
    (publish_single_file if single_file else publish)(target, job.write)
    return Exported(bundle=target, found=job.found)


def _target(run: str | Path, out: str | Path | None, int8: bool, single_file: bool) -> Path:
    """Where the bundle goes: beside the run, or here where that has its name on the Hub. What is
    there already may only be another bundle."""
    ending = f"-{_suffix(int8)}{SUFFIX if single_file else ''}"
    target = Path(out) if out is not None else path_beside(run, ending)
    restore(target)
    taken = target.exists() and not (target.is_dir() and not any(target.iterdir()))
    if single_file and target.is_dir():
        raise UsageError(
            "is a directory", place=Place(target), hint="name a file: --out NAME.onelayer"
        )
    if taken and not (is_single_file(target) if single_file else is_bundle(target)):
        raise UsageError(
            "is there already, and no bundle", place=Place(target), hint="choose another --out"
        )
    return target


def _suffix(int8: bool) -> str:
    return "int8" if int8 else "onnx"


@dataclass(frozen=True, slots=True, repr=False)
class Exported(Result):
    """A bundle, and what was measured."""

    bundle: Path
    found: ExportRecord

    def parts(self) -> list[str | Table]:
        return [cells(self.found), f"saved {self.bundle}"]

    def to_json(self) -> dict[str, Any]:
        return {"bundle": str(self.bundle), **to_plain(self.found)}


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A graph in ONNX Runtime, and its comparison to the run."""

    name: str
    path: Path
    engine: OnnxEngine
    parity: Parity


@dataclass(slots=True)
class _Job:
    run: Predictor
    torch: Kept
    """Its engine."""
    folder: Path
    rows: RowsOfRun
    target: Path
    precision: str
    max_drop: float
    accept: bool
    say: Say
    four_bit_words: bool = False
    trimmed: TrimmedModel | None = None
    _found: ExportRecord | None = None

    @property
    def tokenizer(self) -> Tokenizer:
        """The bundle's."""
        return self.trimmed.tokenizer if self.trimmed else self.run.tokenizer

    def answering(self, engine: Engine) -> Predictor:
        """The bundle in an engine."""
        return replace(self.run, engine=engine, tokenizer=self.tokenizer)

    @property
    def found(self) -> ExportRecord:
        assert self._found is not None, "set when the graph is chosen"
        return self._found

    def write(self, folder: Path) -> None:
        """Writes the bundle's folder, and compares every engine that can run it to the run."""
        graphs = folder / FOLDER
        graphs.mkdir()
        config, architecture = self._write_config(folder)
        state = _state(self.run)
        if self.trimmed:
            state = self.trimmed.state(state)
        tensors = state
        if self.precision == "int8":
            tensors = quantized(state, four_bit_words=self.four_bit_words)
        places = write_weights(graphs / WEIGHTS, tensors)
        candidates = []
        for name, product in self._products(state, config, architecture).items():
            path = graphs / f"{name}.onnx"
            nodes = Nodes(tensors, places, WEIGHTS)
            onnx.save(model_graph(nodes, config, product, architecture), path)
            engine = OnnxEngine(path)
            candidates.append(_Candidate(name, path, engine, self._compared(name, engine)))
        chosen, why = self._choice(candidates)
        for candidate in candidates:
            if candidate is not chosen:
                candidate.path.unlink()
        chosen.path.rename(graphs / GRAPH)
        self._found = self._facts(chosen, why, graphs)
        self._write_record(folder)
        self._ask_all(folder, chosen)
        self._judge()
        self._write_record(folder)
        self._write_card(folder, architecture, inputs_of(config))

    def _write_config(self, folder: Path) -> tuple[EncoderConfig, str]:
        if self.trimmed is None:
            shutil.copyfile(self.folder / CONFIG, folder / CONFIG)
        else:
            write_json(folder / CONFIG, self.trimmed.config(read_config(self.folder)[1]))
        config, data = read_config(folder)
        # transformers, transformers.js and onelayer's own readers read tokenizer.json alone.
        self.tokenizer.write(folder, max_length=config.longest, vocab_txt=False)
        return config, data["architectures"][0]

    def _products(
        self, state: dict[str, NDArray[Any]], config: EncoderConfig, architecture: str
    ) -> dict[str, Product]:
        """The products of the graphs to choose from, by the graph's name."""
        if self.precision == "fp32":
            return {"fp32": in_float}
        found: dict[str, Product] = {"dynamic": by_token}
        if self.rows.train is None:
            self.say("the training rows aren't there (--train FILE): only dynamic scales are tried")
            return found
        self.say("int8: ranges are taken from training rows")
        encodings = calibration_rows(self.run.task, self.tokenizer, self.rows.train)
        return {"static": Calibrated(ranges(state, config, architecture, encodings)), **found}

    def _compared(self, name: str, engine: Engine) -> Parity:
        found = parity(self.run.task, self.torch, Kept(engine, self.tokenizer), self.rows.dev)
        self.say(
            f"{name}: {found.metric} {found.after:.4f} on {found.rows:,} rows "
            f"({self.rows.name}), {signed(-found.drop)} points"
        )
        return found

    def _choice(self, candidates: list[_Candidate]) -> tuple[_Candidate, str | None]:
        """The fastest graph of those that score about as well as the best, and the reason."""
        if len(candidates) == 1:
            return candidates[0], None
        by_name = {one.name: self.answering(one.engine) for one in candidates}
        seconds = work(by_name, self.rows.dev)
        near = min(one.parity.drop for one in candidates) + CLOSE * max(self.max_drop, 0.0)
        close = [one for one in candidates if one.parity.drop <= near]
        chosen = min(close or candidates, key=lambda one: seconds[one.name])
        (other,) = (one for one in candidates if one is not chosen)
        cost, other_cost = (signed(-one.parity.drop) for one in (chosen, other))
        times = seconds[other.name] / seconds[chosen.name]
        why = (
            f"{chosen.name} scales of the activations: {cost} points at {times:.2f} times the "
            f"speed of {other.name} ones ({other_cost} points)"
        )
        self.say(why)
        return chosen, why

    def _facts(self, chosen: _Candidate, why: str | None, graphs: Path) -> ExportRecord:
        run_bytes = sum(file.stat().st_size for file in self.folder.glob("*.safetensors"))
        return ExportRecord(
            to="onnx",
            precision=self.precision,
            activations=chosen.name if self.precision == "int8" else None,
            why=why,
            sha256=digest.of_file(graphs / WEIGHTS),
            rows=chosen.parity.rows,
            file=self.rows.name,
            engines={chosen.engine.name: chosen.parity},
            bytes=ModelBytes(
                run=run_bytes or sum(file.stat().st_size for file in self.folder.glob("*.bin")),
                bundle=sum(file.stat().st_size for file in graphs.iterdir()),
            ),
            refused=(),
            max_drop=self.max_drop,
            machine=machine(),
            versions=versions(),
            vocabulary=self.trimmed.record if self.trimmed else None,
            four_bit_words=self._four_bit_words(),
        )

    def _four_bit_words(self) -> FourBitWords | None:
        if not self.four_bit_words:
            return None
        n_words, width = _state(self.run)[WORDS].shape
        if self.trimmed:
            n_words = len(self.trimmed.vocabulary.kept)
        found = FourBitWords(bytes_saved=bytes_saved(n_words, width))
        self.say(found.in_words())
        return found

    def _ask_all(self, folder: Path, chosen: _Candidate) -> None:
        """Compares all other engines that can run the bundle here, and measures all speeds."""
        bundle = read_bundle(folder)
        predictors = {"torch": self.run, "onnxruntime": self.answering(chosen.engine)}
        compared = dict(self.found.engines)
        for name, make in engines_for(bundle).items():
            if name not in predictors:
                predictors[name] = self.answering(make(bundle))
                compared[name] = self._compared(name, predictors[name].engine)
        speed = speeds(predictors, self.rows.dev)
        self._found = replace(self.found, engines=compared, speed=speed)

    def _judge(self) -> None:
        """Raises OneLayerError if the bundle differs too much from the run and isn't accepted."""
        refused: list[str] = []
        for name, one in self.found.engines.items():
            refused += failed_checks(name, one, self.precision, self.max_drop)
            if self.rows.learned:
                continue  # rows that were learned don't tell how decoding is tuned best
            if one.tuned is not None and one.tuned - one.after > CLOSE * one.point:
                self.say(
                    f"{name}: what held-out rows decided of decoding (thresholds, temperature) was "
                    f"decided on fp32 logits; on these, {one.metric} would be "
                    f"{one.tuned:.4f} and not {one.after:.4f}"
                )
        self._found = replace(self.found, refused=tuple(refused))
        if refused and not self.accept:
            raise OneLayerError(
                f"not exported: {'; '.join(refused)}",
                place=Place(self.target),
                hint="--accept writes it all the same; --max-drop says what int8 may cost",
            )

    def _write_record(self, folder: Path) -> None:
        run = self.run
        known = run.record or ModelRecord(onelayer=__version__, task=run.task, layout=run.layout)
        history = known.history and known.history.without_series()
        record = replace(known, sha256=None, history=history, export=self.found)
        write_json(folder / RECORD, record.to_json())

    def _write_card(self, folder: Path, architecture: str, inputs: Sequence[str]) -> None:
        card = bundle_card(self.run, self.target.name, architecture, inputs, self.found)
        write_text(folder / "README.md", card)


def _state(run: Predictor) -> dict[str, NDArray[Any]]:
    """The weights by our names, in fp32."""
    assert isinstance(run.engine, TorchEngine)
    state = run.engine.model.state_dict()
    return {name: tensor.float().cpu().numpy() for name, tensor in state.items()}
