"""A bundle of two models: the smaller one answers where it is sure, and the larger one the rest."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.robustness.mutated_bundles import files_of, mutated, outcome
from onelayer.base.compiled_code import compiler
from onelayer.base.errors import CheckpointError
from onelayer.checkpoint.bundle import FIRST, FOLDER, GRAPH, RECORD, WEIGHTS, read_bundle
from onelayer.checkpoint.config import CONFIG
from onelayer.checkpoint.export_record import FORMAT
from onelayer.checkpoint.record import ModelRecord
from onelayer.checkpoint.single_file import write_single_file
from onelayer.engines.two_engines import TwoEngines, distances
from onelayer.prediction.formats import prediction_json
from onelayer.prediction.from_bundle import open_bundle
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings, cumulate
from support.from_tokens import MakePredictor
from support.native_bundles import NativeBundle, bundle_of_two
from support.native_library import NativeFailure, NativeModel, run_program
from support.native_lines import lines_for, lines_of_python
from support.task_cases import CASES, TEXTS, Case

MARGINS = (0.0, 0.4, 1e9)
"""The smaller model answers everything, some, and nothing."""
CHOOSING = [
    case
    for case in CASES
    if case.task in ("classify", "tag") and case.name != "classify multi-label"
]

needs_compiler = pytest.mark.skipif(compiler("C++") is None, reason="no C++ compiler")


def encodings_of(read_counts: list[int]) -> Encodings:
    """Sequences of two tokens whose ids are the sequence's number, with a number of reads each."""
    n = len(read_counts)
    each = np.arange(n + 1)
    return Encodings(
        ids=np.repeat(np.arange(n), 2),
        segment_ids=np.zeros(2 * n, np.uint8),
        cu_seqlens=2 * each,
        reads=np.zeros(sum(read_counts), np.int32),
        cu_reads=cumulate(read_counts),
        cu_examples=each,
        cu_rows=each,
        second_at=np.full(n, 2),
    )


@dataclass
class Known:
    """An engine with known logits for the reads of each sequence, by its number."""

    of_sequence: list[list[list[float]]]
    name: str = "known"
    asked: list[int] = field(default_factory=list)

    def logits(self, encodings: Encodings) -> Logits:
        numbers = encodings.ids[encodings.cu_seqlens[:-1]].tolist()
        self.asked += numbers
        found = [read for number in numbers for read in self.of_sequence[number]]
        return np.array(found, np.float32).reshape(-1, 3)


NAN = float("nan")
SURE, UNSURE, UNKNOWN = [0.0, 9.0, 1.0], [5.0, 4.5, 0.0], [NAN, 1.0, 0.0]


def test_larger_model_is_asked_where_a_read_of_the_sequence_is_not_clear() -> None:
    first = Known([[SURE], [UNSURE], [SURE, UNSURE, SURE], [SURE, SURE], [UNKNOWN], []])
    other = [[[float(i), 0, 0]] * len(reads) for i, reads in enumerate(first.of_sequence)]
    rest = Known(other)
    logits = TwoEngines(first, rest, 1.0).logits(encodings_of([1, 1, 3, 2, 1, 0]))
    assert rest.asked == [1, 2, 4]
    assert logits.tolist() == [SURE, *other[1], *other[2], SURE, SURE, *other[4]]


def test_distance_is_that_of_the_two_largest_logits() -> None:
    logits = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    counts = [1, 3, 0, 36]
    found = distances(encodings_of(counts), logits)
    for one, reads in zip(found, np.split(logits, np.cumsum(counts)[:-1]), strict=True):
        ordered = np.sort(reads, axis=1)
        assert one == np.min(ordered[:, -1] - ordered[:, -2], initial=np.inf)


@needs_compiler
@pytest.mark.parametrize("case", CHOOSING, ids=lambda case: case.name)
@pytest.mark.parametrize("margin", MARGINS)
def test_program_writes_the_lines_of_predict(
    case: Case, margin: float, make_predictor: MakePredictor, tmp_path: Path
) -> None:
    bundle = bundle_of_two(tmp_path / "bundle", make_predictor(case)[0], margin)
    lines = lines_for(case)
    found = run_program(bundle.folder, "--threads", "2", given="\n".join(lines).encode())
    assert found.code == 0, found.err
    assert found.out == lines_of_python(bundle.predictor, lines)


@pytest.fixture
def pair(make_predictor: MakePredictor, tmp_path: Path) -> NativeBundle:
    """Two classifiers of three labels."""
    return bundle_of_two(tmp_path / "bundle", make_predictor(CASES[0])[0], 0.4)


@needs_compiler
def test_library_joins_engines_as_python_does(
    pair: NativeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_graphs(pair, monkeypatch)
    bundle = read_bundle(pair.folder)
    opened = open_bundle(bundle, "native")
    rows = [opened.row_of(text, i) for i, text in enumerate(TEXTS, 1)]
    found, wanted = (one.run_rows(rows)[2] for one in (opened, pair.predictor))
    np.testing.assert_array_equal(found, wanted)
    assert opened.row_model() is not None
    predictions = map(prediction_json, opened.predict(TEXTS))
    assert list(predictions) == list(map(prediction_json, pair.predictor.predict(TEXTS)))


@needs_compiler
def test_model_that_answers_first_is_a_bundle_of_its_own(
    pair: NativeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_graphs(pair, monkeypatch)
    bundle = read_bundle(pair.folder)
    assert bundle.first is not None
    assert bundle.export.first is not None
    assert bundle.first.export.sha256 == bundle.export.first.sha256 != bundle.export.sha256
    assert (bundle.first.export.first, bundle.first.first) == (None, None)


def with_graphs(pair: NativeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Adds graphs, which only other engines read."""
    for folder in (pair.folder, pair.folder / FIRST):
        (folder / FOLDER / GRAPH).touch()
    monkeypatch.setattr("onelayer.checkpoint.bundle.check_graph", lambda *_: None)


@needs_compiler
def test_both_models_answer_some_rows(pair: NativeBundle) -> None:
    engine = pair.predictor.engine
    assert isinstance(engine, TwoEngines)
    answers = [
        list(map(prediction_json, replace(pair.predictor, engine=one).predict(TEXTS)))
        for one in (engine, engine.first, engine.rest)
    ]
    asked = [both == of_rest for both, _, of_rest in zip(*answers, strict=True)]
    assert {True, False} == set(asked)
    for rest, (both, of_first, of_rest) in zip(asked, zip(*answers, strict=True), strict=True):
        assert both == (of_rest if rest else of_first)


@needs_compiler
def test_single_file_is_the_directory(pair: NativeBundle, tmp_path: Path) -> None:
    file = tmp_path / "one.onelayer"
    write_single_file(pair.folder, file)
    given = [{"text": text} for text in TEXTS]
    assert NativeModel(file).predict(given).json() == NativeModel(pair.folder).predict(given).json()


def change(path: Path, *keys: str, **values: Any) -> None:
    """Changes members of an object of a JSON file."""
    data = json.loads(path.read_text(encoding="utf-8"))
    part = data
    for key in keys:
        part = part[key]
    part.update(values)
    path.write_text(json.dumps(data), encoding="utf-8")


def damage(folder: Path, name: str) -> None:
    weights = folder / FIRST / FOLDER / WEIGHTS
    match name:
        case "other weights":
            weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
        case "no weights":
            weights.unlink()
        case "no first model":
            (folder / FIRST / CONFIG).unlink()
        case "more segments":
            change(folder / FIRST / CONFIG, type_vocab_size=3)
        case "fewer positions":
            change(folder / FIRST / CONFIG, max_position_embeddings=60)
        case "more layers":
            change(folder / FIRST / CONFIG, num_hidden_layers=2)
        case "no margin":
            change(folder / RECORD, "export", "first", margin="much")
        case "several labels":
            change(folder / RECORD, "task", multi_label=True, threshold=0.5)


DAMAGED = {
    "other weights": "not as onelayer exported it",
    "no weights": "model.safetensors",
    "no first model": "config.json",
    "more segments": "reads other tokens",
    "fewer positions": "reads other tokens",
    "more layers": "config.json",
    "no margin": "margin",
    "several labels": "no model answers first",
}


@needs_compiler
@pytest.mark.parametrize(("name", "message"), DAMAGED.items())
def test_damaged_bundle_is_refused_in_both_languages(
    name: str, message: str, pair: NativeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_graphs(pair, monkeypatch)
    assert read_bundle(pair.folder).first is not None
    NativeModel(pair.folder)
    damage(pair.folder, name)
    with pytest.raises(NativeFailure, match=message):
        NativeModel(pair.folder)
    with pytest.raises(CheckpointError, match=message):
        read_bundle(pair.folder)


@needs_compiler
def test_record_of_two_has_a_format_of_its_own(pair: NativeBundle) -> None:
    values = json.loads((pair.folder / RECORD).read_text(encoding="utf-8"))
    assert values["format"] == FORMAT
    again = ModelRecord.from_json(values)
    assert again.export == pair.predictor.record.export  # type: ignore[union-attr]


@needs_compiler
def test_mutated_bundles_are_refused_or_answer(pair: NativeBundle) -> None:
    files = files_of(pair.folder)
    found = [outcome(mutated(files, seed)) for seed in range(300)]
    assert 0 < found.count("answered") < len(found) / 2
    assert any(FIRST in one for one in found)
