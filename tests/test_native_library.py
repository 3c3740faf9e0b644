"""The C++ library answers as Python does, to the last byte of JSON."""

from __future__ import annotations

import ctypes
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onelayer
from benchmarks.robustness.mutated_bundles import (
    JSON_FILES,
    RECORD,
    WEIGHTS,
    files_of,
    mutated,
    outcome,
    seed_of,
)
from onelayer.base.compiled_code import compiler
from onelayer.checkpoint.single_file import write_single_file
from onelayer.prediction.formats import prediction_json
from onelayer.tasks.calibration import calibrate_labels
from support.from_tokens import MakePredictor
from support.native_bundles import OTHER_FAMILIES, NativeBundle, native_bundle
from support.native_library import NativeFailure, NativeModel, library, run_program
from support.native_lines import SORTED, lines_for, lines_of_python
from support.task_cases import CASES, TEXTS, Case

pytestmark = pytest.mark.skipif(compiler("C++") is None, reason="no C++ compiler")


@pytest.fixture
def sorter(make_predictor: MakePredictor, tmp_path: Path) -> NativeBundle:
    """A classifier of three labels."""
    return native_bundle(tmp_path / "bundle", make_predictor(CASES[0])[0])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_program_writes_the_lines_of_predict(
    case: Case, make_predictor: MakePredictor, tmp_path: Path
) -> None:
    bundle = native_bundle(tmp_path / "bundle", make_predictor(case)[0])
    lines = lines_for(case)
    found = run_program(bundle.folder, "--threads", "2", given="\r\n".join(lines).encode())
    assert found.code == 0, found.err
    wanted = lines_of_python(bundle.predictor, lines)
    assert found.out.decode().split("\n") == wanted.decode().split("\n")


@pytest.mark.parametrize("model_type", OTHER_FAMILIES)
def test_families_answer_as_in_python(
    model_type: str, make_predictor: MakePredictor, tmp_path: Path
) -> None:
    made, _ = make_predictor(replace(CASES[0], choices={"max_length": 32}))
    bundle = native_bundle(
        tmp_path / "bundle", made, model_type=model_type, **OTHER_FAMILIES[model_type]
    )
    inputs = [text for text in SORTED if not text.startswith("{")]
    found = NativeModel(bundle.folder).predict([{"text": text} for text in inputs]).json()
    assert found == list(map(prediction_json, bundle.predictor.predict(inputs)))


def test_promises_are_those_of_python(make_predictor: MakePredictor, tmp_path: Path) -> None:
    made, _ = make_predictor(CASES[0])
    rng = np.random.default_rng(1)
    gold = rng.integers(3, size=400)
    calibration = calibrate_labels(rng.normal(size=(400, 3)) + 4 * np.eye(3)[gold], gold)
    made = replace(made, task=replace(made.task, calibration=calibration))
    bundle = native_bundle(tmp_path / "bundle", made)
    texts = [text for text in SORTED if not text.startswith("{")]
    for flags in ({"coverage": 0.9}, {"abstain": 0.1}, {"coverage": 0.8, "abstain": 0.2}):
        arguments = [str(word) for name, value in flags.items() for word in (f"--{name}", value)]
        found = run_program(bundle.folder, *arguments, given="\n".join(texts).encode())
        predictor = bundle.predictor.with_guarantees(**flags)
        assert found.out == lines_of_python(predictor, texts), found.err
        model = NativeModel(bundle.folder).with_options(**flags)
        assert model.predict([{"text": texts[0]}]).json()[0] == prediction_json(
            predictor.predict(texts[:1])[0]
        )


def test_spans_are_counted_in_three_units(make_predictor: MakePredictor, tmp_path: Path) -> None:
    case = next(case for case in CASES if case.name == "tag IOB2")
    bundle = native_bundle(tmp_path / "bundle", make_predictor(case)[0])
    text = "a 🙂 b 北京 cats, é🙂x"
    (found,) = (NativeModel(bundle.folder).predict([{"text": text}]),)
    labels = NativeModel(bundle.folder).labels()
    (wanted,) = bundle.predictor.predict([text])
    words = [found[0].words[i] for i in range(found[0].n_words)]
    assert [labels[word.label] for word in words] == list(wanted.tags)
    for word, (start, end) in zip(words, wanted.words, strict=True):
        span = word.span
        assert (span.point_begin, span.point_end) == (start, end)
        assert text.encode()[span.byte_begin : span.byte_end].decode() == text[start:end]
        utf16 = text.encode("utf-16-le")[2 * span.utf16_begin : 2 * span.utf16_end]
        assert utf16.decode("utf-16-le") == text[start:end]
    given = NativeModel(bundle.folder).predict([{"text": "ab🙂c", "words": [(0, 1), (1, 6)]}])
    assert json.loads(given.json()[0])["words"] == ["a", "b🙂"]


def test_text_that_is_no_utf8_is_read_with_replacements(sorter: NativeBundle) -> None:
    broken = b"a \xff cat \xe2\x82 \xf0\x9f\x99"
    found = NativeModel(sorter.folder).predict([{"text": broken}]).json()
    wanted = sorter.predictor.predict([broken.decode(errors="replace")])
    assert found == list(map(prediction_json, wanted))


def test_results_outlive_their_model(sorter: NativeBundle) -> None:
    model = NativeModel(sorter.folder)
    given = [{"text": text} for text in TEXTS]
    results = model.predict(given)
    library().onelayer_close(model.model)
    model.model = ctypes.c_void_p(None)
    assert results.json() == NativeModel(sorter.folder).predict(given).json()
    assert [results[i].n_outputs for i in range(len(results))] == [3] * len(TEXTS)


def test_library_describes_its_model(sorter: NativeBundle) -> None:
    model = NativeModel(sorter.folder, threads=3)
    found = json.loads(model.describe())
    task = sorter.predictor.task
    assert found["labels"] == model.labels() == list(task.labels)
    assert (found["task"], found["max_length"], found["threads"]) == ("classify", 64, 3)
    assert found["layout"] == json.loads(json.dumps(sorter.predictor.layout.to_json()))
    assert library().onelayer_version().decode() == onelayer.__version__


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([{"text": "a"}, {"text": "a", "pair": "b"}], "input 2: a pair, and the model was trained"),
        ([{"text": "a", "words": [(1, 0)]}], ""),
    ],
)
def test_inputs_of_another_kind_are_refused(
    sorter: NativeBundle, given: list[dict[str, Any]], message: str
) -> None:
    model = NativeModel(sorter.folder)
    if not message:
        assert len(model.predict(given)) == 1  # only tag reads words
        return
    with pytest.raises(NativeFailure, match=message) as refused:
        model.predict(given)
    assert refused.value.status == 2


def test_null_and_bad_options_are_refused(sorter: NativeBundle) -> None:
    found = library()
    assert not found.onelayer_open(None, None)
    assert found.onelayer_error() == b"no path: it is NULL"
    assert not found.onelayer_predict(None, None, ctypes.c_size_t(1))
    assert found.onelayer_count(None) == found.onelayer_n_labels(None) == 0
    found.onelayer_close(None)
    found.onelayer_free(None)
    for options in ({"coverage": 1.5}, {"abstain": -1.0}, {"threads": -1}):
        with pytest.raises(NativeFailure, match=next(iter(options))):
            NativeModel(sorter.folder, **options)


def test_single_file_is_the_directory(sorter: NativeBundle, tmp_path: Path) -> None:
    file = tmp_path / "one.onelayer"
    write_single_file(sorter.folder, file)
    given = [{"text": text} for text in TEXTS]
    wanted = NativeModel(sorter.folder).predict(given).json()
    assert NativeModel(file).predict(given).json() == wanted
    whole = file.read_bytes()
    assert NativeModel(whole).predict(given).json() == wanted
    for at in (0, 9, 20, 100, len(whole) // 2, len(whole) - 1):
        damaged = bytearray(whole)
        damaged[at] ^= 1
        with pytest.raises(NativeFailure):
            NativeModel(bytes(damaged))
        with pytest.raises(NativeFailure):
            NativeModel(whole[:at])


def test_damaged_bundle_is_refused_in_one_line(sorter: NativeBundle) -> None:
    weights = sorter.folder / "onnx" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"abcd")
    with pytest.raises(NativeFailure, match="not as onelayer exported it") as refused:
        NativeModel(sorter.folder)
    assert str(refused.value).startswith(str(weights))
    found = run_program(sorter.folder)
    assert found.code == 2
    assert found.err.startswith("onelayer-run: ")
    assert found.err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "modernbert"}, "doesn't compute ModernBERT's attention"),
        ({"model_type": "bart"}, "model_type is 'bart', which isn't known"),
        ({"hidden_size": 33}, "can't be shared by"),
        ({"num_hidden_layers": 3}, "encoder.layers.2.* is not as config.json"),
        ({"is_decoder": True}, "onelayer reads encoders only"),
        ({"auto_map": {"x": "y"}}, "none of a model's is run"),
    ],
)
def test_other_models_are_refused_by_name(
    sorter: NativeBundle, change: dict[str, Any], message: str
) -> None:
    path = sorter.folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(NativeFailure, match=message):
        NativeModel(sorter.folder)


@pytest.mark.parametrize(
    ("given", "out", "message"),
    [
        ("a\n\n{oops\n", 1, "stdin:3: no JSON"),
        ('a\n{"text": "\\ud83d"}\n', 1, "stdin:2: half a character"),
        ('a\n{"text": [1]}\nb', 1, "stdin:2: text is a list"),
        ('{"other": 1}', 0, "stdin:1: an object without the columns"),
        ("text\na\n", 0, "stdin:1: this begins a table with the names of the model's columns"),
        ("[\n", 0, "stdin:1: this begins a JSON document"),
        ("a\nb\0c\n", 1, "stdin:2: a NUL byte"),
    ],
)
def test_program_names_the_line_that_is_wrong(
    sorter: NativeBundle, given: str, out: int, message: str
) -> None:
    found = run_program(sorter.folder, given=given.encode())
    assert found.code == 2
    assert found.err.startswith(f"onelayer-run: {message}")
    assert found.out.count(b"\n") == out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "no bundle"),
        (("a", "b"), "one bundle"),
        (("a", "--threads", "x"), "--threads is 'x'"),
        (("a", "--coverage", "1"), "--coverage is 1"),
        (("a", "--fast"), "no flag --fast"),
        (("no-such-folder",), "no-such-folder"),
    ],
)
def test_wrong_usage_ends_with_2(arguments: tuple[str, ...], message: str) -> None:
    found = run_program(*arguments)
    assert found.code == 2
    assert found.err.startswith(f"onelayer-run: {message}")


def test_help_and_version_are_written() -> None:
    assert run_program("--help").out.startswith(b"usage: onelayer-run BUNDLE")
    assert run_program("--version").out.decode() == f"onelayer-run {onelayer.__version__}\n"


def test_answers_of_a_pipe_are_numbered_by_line(
    make_predictor: MakePredictor, tmp_path: Path
) -> None:
    case = next(case for case in CASES if case.name == "answer")
    bundle = native_bundle(tmp_path / "bundle", make_predictor(case)[0])
    lines = ["", '{"question": "q", "context": "c"}', "", '{"question": "q", "context": "c"}']
    found = BytesIO(lines_of_python(bundle.predictor, lines))
    assert [json.loads(line)["prediction"]["id"] for line in found] == ["2", "4"]


def test_mutated_bundles_are_refused_or_answer(sorter: NativeBundle) -> None:
    files = files_of(sorter.folder)
    found = [outcome(mutated(files, seed)) for seed in range(300)]
    assert 0 < found.count("answered") < len(found) / 2


def test_seed_of_the_fuzzer_is_a_bundle_without_its_digest(sorter: NativeBundle) -> None:
    files = files_of(sorter.folder)
    *texts, weights = seed_of(files).split(b"\0", len(JSON_FILES))
    assert weights == files[WEIGHTS]
    found = dict(zip(JSON_FILES, map(json.loads, texts), strict=True))
    assert found[RECORD]["export"].pop("sha256") == "0" * 64
    wanted = {name: json.loads(files[name]) for name in JSON_FILES}
    assert wanted[RECORD]["export"].pop("sha256") != "0" * 64
    assert found == wanted
