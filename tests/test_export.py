"""Export: the bundle predicts the same as its run, or nothing is written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import onelayer
from onelayer.base.disk import write_json
from onelayer.base.errors import CheckpointError, OneLayerError, UsageError
from onelayer.checkpoint.bundle import read_bundle
from onelayer.checkpoint.source import path_beside, resolve
from onelayer.cli import main as cli
from onelayer.data.layout import Layout
from onelayer.engines.onnx_engine import OnnxEngine
from onelayer.engines.registry import engines_for
from onelayer.exporting import export as write
from onelayer.exporting.dev_rows import rows_of_run
from onelayer.exporting.export import export_run as export
from onelayer.exporting.parity import Kept
from onelayer.prediction.load import load
from onelayer.recipe import Columns
from onelayer.tokens.encodings import Encodings
from support.from_tokens import record_of
from support.tiny_bert import MakeBert

pytestmark = pytest.mark.slow

LONG = "the good cat and the bad cats of the town " * 12
ROWS: dict[str, tuple[str, tuple[str, ...], list[dict[str, Any]]]] = {
    "classify": (
        "BertForSequenceClassification",
        ("no", "yes"),
        [{"text": "a good cat", "label": "yes"}, {"text": LONG, "label": "no"}],
    ),
    "regress": (
        "BertForSequenceClassification",
        ("LABEL_0",),
        [
            {"text": "a good cat", "label": 2.5},
            {"text": "x", "label": -1},
            {"text": LONG, "label": 3},
        ],
    ),
    "tag": (
        "BertForTokenClassification",
        ("O", "B-X", "I-X"),
        [
            {"tokens": ["a", "cat"], "tags": ["O", "B-X"]},
            {"tokens": LONG.split(), "tags": ["O"] * 120},
        ],
    ),
    "answer": (
        "BertForQuestionAnswering",
        (),
        [
            {
                "id": "a",
                "question": "what?",
                "context": LONG,
                "answers": [{"text": "cat", "answer_start": 9}],
            },
            {"id": "b", "question": "who?", "context": "a cat", "answers": []},
        ],
    ),
    "choose": (
        "BertForMultipleChoice",
        (),
        [
            {"context": "a cat", "question": "what?", "options": ["good", "bad cats"], "label": 0},
            {"context": "x", "question": "y", "options": ["z", "b", "c d"], "label": 2},
        ],
    ),
}
INPUTS = {
    "classify": ["a bad cat", LONG],
    "regress": ["a bad cat", LONG],
    "tag": ["a bad cat", LONG],
    "answer": [("what?", LONG), ("who is it?", "the cat")],
    "choose": [("a", "b", ["c", "d e f"]), ("the cat", "what?", ["x", "y", "z"])],
}

Exported = Callable[[str, bool], Path]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    """One round of each measurement, and one engine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            write, "engines_for", lambda _: {"onnxruntime": lambda b: OnnxEngine(b.graph)}
        )
        patch.setattr("onelayer.exporting.speed.ROUNDS", 1)
        patch.setattr("onelayer.exporting.speed.ALONE", 1)
        yield


def write_rows(folder: Path, task: str) -> Path:
    path = folder / "dev.jsonl"
    lines = [json.dumps(row) for row in ROWS[task][2] * 4]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def model_for(make_bert: MakeBert, task: str) -> Path:
    architecture, labels, _ = ROWS[task]
    more = {"problem_type": "regression"} if task == "regress" else {}
    return make_bert(architecture, labels=labels, **more)


@pytest.fixture(scope="module")
def exported(make_bert: MakeBert, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """``exported(task, int8)`` returns a bundle of a model saved by transformers."""
    made: dict[tuple[str, bool], Path] = {}

    def make(task: str, int8: bool) -> Path:
        if (task, int8) not in made:
            folder = tmp_path_factory.mktemp(task)
            out = folder / "bundle"
            dev = write_rows(folder, task)
            export(model_for(make_bert, task), dev=dev, out=out, int8=int8, max_drop=100)
            made[task, int8] = out
        return made[task, int8]

    return make


@pytest.mark.parametrize("task", ROWS)
def test_bundle_predicts_the_same_as_the_run(
    make_bert: MakeBert, exported: Exported, task: str
) -> None:
    run, bundle = load(model_for(make_bert, task)), load(exported(task, False), "onnxruntime")

    assert bundle.engine.name == "onnxruntime"
    for one, other in zip(run.predict(INPUTS[task]), bundle.predict(INPUTS[task]), strict=True):
        assert_alike(one.to_json(), other.to_json())


def assert_alike(one: Any, other: Any) -> None:
    """Asserts equality, for numbers within 1e-4."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_alike(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_alike(a, b)
    elif isinstance(one, float):
        assert one == pytest.approx(other, abs=1e-4)
    else:
        assert one == other


def test_bundle_has_nothing_of_single_steps_or_a_second_vocabulary(
    make_bert: MakeBert, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(model_for(make_bert, "classify"), run)
    made, layout = load(run), Layout(columns={"text": "text", "label": "label"})
    write_json(run / "onelayer.json", record_of(made.task, layout).to_json())
    made.tokenizer.write(run, max_length=64)
    dev, out = write_rows(tmp_path, "classify"), tmp_path / "bundle"
    export(run, dev=dev, out=out)

    history = json.loads((out / "onelayer.json").read_text(encoding="utf-8"))["history"]
    assert [history[name] for name in ("losses", "lrs", "tokens")] == [[], [], []]
    assert history["steps"] == history["best_step"] == 4
    assert [one["step"] for one in history["evaluations"]] == [2, 4]

    for folder, curves in ((run, True), (out, False)):
        onelayer.report(folder, dev, out=tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        assert "Dev accuracy" in page
        assert ("Training loss" in page) == ("Learning rate" in page) == curves

    assert (run / "vocab.txt").exists()
    assert not (out / "vocab.txt").exists()
    ids = [one.ids for one in made.tokenizer.encode(["a bad cat 我们"])]
    assert [one.ids for one in load(out).tokenizer.encode(["a bad cat 我们"])] == ids


@pytest.mark.parametrize("task", ROWS)
def test_record_and_card_report_precision_loss_size_and_speed(
    exported: Exported, task: str
) -> None:
    folder = exported(task, True)
    record = json.loads((folder / "onelayer.json").read_text())["export"]
    card = (folder / "README.md").read_text()
    tensors = load_file(folder / "onnx" / "model.safetensors")

    assert record["precision"] == "int8"
    assert record["activations"] == "dynamic"  # there were no training rows
    one = record["engines"]["onnxruntime"]
    assert one["rows"] == 4 * len(ROWS[task][2])
    assert one["logits"] > 0
    assert record["bytes"]["bundle"] < record["bytes"]["run"]
    assert all(speed["tokens_per_second"] > 0 for speed in record["speed"].values())
    assert f"| {one['metric']} |" in card
    assert tensors["encoder.layers.0.attention.qkv.weight"].dtype == np.int8
    assert tensors["encoder.layers.0.attention.qkv.weight"].shape == (32, 96)
    assert tensors["encoder.layers.0.attention.norm.weight"].dtype == np.float32


def test_every_engine_that_can_run_the_bundle_is_measured(
    make_bert: MakeBert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "engines_for", engines_for)
    dev, out = write_rows(tmp_path, "tag"), tmp_path / "bundle"

    record = export(
        model_for(make_bert, "tag"), dev=dev, out=out, int8=True, max_drop=100
    ).to_json()

    assert record["engines"].keys() == engines_for(read_bundle(out)).keys()
    assert record["speed"].keys() == {"torch", *record["engines"]}


def test_engine_is_named_or_chosen(
    exported: Exported, make_bert: MakeBert, capsys: pytest.CaptureFixture[str]
) -> None:
    int8, fp32 = exported("classify", True), exported("classify", False)
    assert load(int8, "onnxruntime").engine.name == "onnxruntime"
    assert load(fp32).engine.name in ("onnxruntime", "openvino")
    with pytest.raises(UsageError, match=r"no engine 'native' for this bundle.*onnxruntime"):
        load(fp32, "native")
    model = model_for(make_bert, "classify")
    assert cli.main(["predict", str(model), "--engine", "native"]) == 2
    assert "export it first" in capsys.readouterr().err


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "reviews.csv"
    rows = [f"{'good' if i % 3 else 'bad'} cat {i},{'yes' if i % 2 else 'no'}" for i in range(60)]
    path.write_text("review,verdict\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(make_bert: MakeBert, reviews: Path) -> Path:
    """A run of ours whose dev rows were split from its file."""
    out = reviews.with_name("run")
    onelayer.finetune(
        reviews,
        out=out,
        model=str(make_bert()),
        label="verdict",
        epochs=2,
        lr=1e-2,
        seed=3,
        folds=0,
    )
    return out


def test_export_uses_the_dev_rows_of_training(run: Path) -> None:
    predictor = load(run)
    rows = rows_of_run(predictor, None, None, Columns(), lambda _: None)
    assert predictor.record is not None
    assert predictor.record.dev is not None
    learned = {row.text for row in rows.train or ()}

    assert predictor.evaluate(rows.dev)() == pytest.approx(predictor.record.dev.scores)
    assert len(learned) == 54
    assert learned.isdisjoint(row.text for row in rows.dev)
    assert rows.name == "reviews.csv, kept as dev"


def test_dev_rows_of_a_multi_seed_run_come_from_the_first_seed(
    make_bert: MakeBert, reviews: Path
) -> None:
    out = reviews.with_name("seeds")
    predictor = onelayer.finetune(
        reviews,
        out=out,
        model=str(make_bert()),
        label="verdict",
        epochs=1,
        seeds=2,
        seed=5,
        folds=0,
    )
    assert predictor.record is not None
    assert predictor.record.dev is not None
    rows = rows_of_run(predictor, None, None, Columns(), lambda _: None)

    assert predictor.evaluate(rows.dev)() == pytest.approx(predictor.record.dev.scores)


def test_dev_file_is_found_again_and_checked(make_bert: MakeBert, reviews: Path) -> None:
    dev = reviews.with_name("held.csv")
    dev.write_text("review,verdict\nbad cat,no\ngood cat,yes\n", encoding="utf-8")
    predictor = onelayer.finetune(
        reviews, dev=dev, out=reviews.with_name("held"), model=str(make_bert()), epochs=1
    )
    rows = rows_of_run(predictor, None, None, Columns(), lambda _: None)

    assert (len(rows.dev), rows.name, len(rows.train or ())) == (2, "held.csv", 60)
    dev.write_text("review,verdict\nbad cat,yes\ngood cat,yes\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"dev file held.csv: not at .*held.csv as it was.*--dev"):
        rows_of_run(predictor, None, None, Columns(), lambda _: None)


def test_missing_or_changed_data_file_is_refused(
    make_bert: MakeBert, run: Path, reviews: Path, tmp_path: Path
) -> None:
    predictor, text = load(run), reviews.read_text()
    moved = tmp_path / "moved.csv"
    moved.write_text(text)
    try:
        reviews.write_text(text + "one more,yes\n")
        with pytest.raises(UsageError, match=r"train file reviews.csv: not at .*--train FILE"):
            rows_of_run(predictor, None, None, Columns(), lambda _: None)
        with pytest.raises(UsageError, match="SHA-256 differs"):
            rows_of_run(predictor, reviews, None, Columns(), lambda _: None)
        assert len(rows_of_run(predictor, moved, None, Columns(), lambda _: None).dev) == 6
    finally:
        reviews.write_text(text)
    with pytest.raises(UsageError, match=r"chosen are not known .*--dev FILE"):
        export(make_bert("BertForSequenceClassification", labels=("no", "yes")))


def test_exporting_twice_writes_the_same_bytes(run: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        export(run, out=tmp_path / name)
    for name in ("model.onnx", "model.safetensors"):
        one, other = ((tmp_path / of / "onnx" / name).read_bytes() for of in "ab")
        assert one == other


def test_one_of_two_int8_graphs_is_kept_with_the_reason(run: Path, tmp_path: Path) -> None:
    remarks: list[str] = []
    found = export(run, out=tmp_path / "b", int8=True, max_drop=100, say=remarks.append).to_json()

    assert found["activations"] in ("static", "dynamic")
    assert found["why"].startswith(found["activations"])
    assert [path.name for path in sorted((tmp_path / "b" / "onnx").iterdir())] == [
        "model.onnx",
        "model.safetensors",
    ]
    assert {one.split(":")[0] for one in remarks} >= {"static", "dynamic"}


def test_bundle_with_different_logits_is_refused_unless_accepted(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    right = OnnxEngine.logits

    def wrong(engine: OnnxEngine, encodings: Encodings) -> Any:
        return right(engine, encodings) + np.float32([2e-4, 0])

    monkeypatch.setattr(OnnxEngine, "logits", wrong)
    assert cli.main(["export", str(run), "--out", str(tmp_path / "b")]) == 1
    (line,) = (x for x in capsys.readouterr().err.splitlines() if x.startswith("onelayer:"))
    assert "logits in onnxruntime differ by up to 0.0002" in line
    assert not list(tmp_path.iterdir())

    assert cli.main(["export", str(run), "--out", str(tmp_path / "b"), "--accept"]) == 0
    assert "It did not pass its checks" in (tmp_path / "b" / "README.md").read_text()

    monkeypatch.setattr(OnnxEngine, "logits", lambda e, x: right(e, x) * np.float32("nan"))
    with pytest.raises(OneLayerError, match="logits in onnxruntime are not finite numbers"):
        export(run, out=tmp_path / "b", accept=True)
    assert "It did not pass its checks" in (tmp_path / "b" / "README.md").read_text()


def test_int8_beyond_max_drop_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(OneLayerError, match=r"points of accuracy, and -100 are allowed") as caught:
        export(run, out=tmp_path / "b", int8=True, max_drop=-100)
    assert caught.value.exit_code == 1
    assert not list(tmp_path.iterdir())


def test_thresholds_that_lose_score_in_a_bundle_are_reported(
    make_bert: MakeBert, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"text": f"the cat {i}", "label": [["x"], ["y"], ["x", "y"]][i % 3]} for i in range(12)]
    dev = tmp_path / "rows.jsonl"
    dev.write_text("\n".join(map(json.dumps, rows)) + "\n")
    several = {"problem_type": "multi_label_classification"}
    model = make_bert("BertForSequenceClassification", labels=("x", "y"), **several)
    right = OnnxEngine.logits
    monkeypatch.setattr(OnnxEngine, "logits", lambda e, x: right(e, x) - np.float32(9))
    remarks: list[str] = []

    found = export(model, dev=dev, out=tmp_path / "b", accept=True, say=remarks.append).to_json()

    one = found["engines"]["onnxruntime"]
    assert one["after"] < one["tuned"]
    assert any("decided on fp32 logits" in line for line in remarks)


def test_only_a_bundle_is_overwritten(run: Path, exported: Exported, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for taken in (tmp_path / "mine", tmp_path / "mine" / "thesis.txt", run):
        with pytest.raises(UsageError, match="no bundle"):
            export(run, out=taken)
    with pytest.raises(UsageError, match="is a bundle already"):
        export(exported("classify", False))
    export(run, out=tmp_path / "b")
    before = (tmp_path / "b" / "onnx" / "model.onnx").stat().st_ino
    export(run, out=tmp_path / "b")
    assert (tmp_path / "b" / "onnx" / "model.onnx").stat().st_ino != before


def test_result_is_beside_the_run_however_that_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run" / "inner").mkdir(parents=True)
    beside = tmp_path / "run-int8"
    assert path_beside(tmp_path / "run", "-int8") == beside
    monkeypatch.chdir(tmp_path / "run")
    assert path_beside(".", "-int8") == beside
    monkeypatch.chdir("inner")
    assert path_beside("..", "-int8") == beside
    assert path_beside("name/on-the-hub", "-int8") == Path("on-the-hub-int8")


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [(OSError(28, "No space left on device"), 1, "No space left"), (KeyboardInterrupt(), 130, "")],
    ids=["disk full", "Ctrl-C"],
)
def test_failed_export_leaves_nothing(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: BaseException,
    code: int,
    message: str,
) -> None:
    def stop(*_: object) -> None:
        raise raised

    monkeypatch.setattr(write, "parity", stop)
    assert cli.main(["export", str(run), "--out", str(tmp_path / "b")]) == code
    assert message in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_directory_without_a_model_and_unknown_format_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", str(tmp_path)]) == 2
    assert cli.main(["export", str(tmp_path), "--to", "tflite"]) == 2
    one, other = capsys.readouterr().err.splitlines()
    assert "config.json" in one
    assert "tflite" in other


def test_logits_are_computed_once_for_several_passes(exported: Exported) -> None:
    predictor = load(exported("tag", False), "onnxruntime")
    rows = [predictor.row_of(item, i) for i, item in enumerate(INPUTS["tag"], start=1)]
    parts = [predictor.task.encode([row], predictor.tokenizer, False) for row in rows]
    asked: list[Encodings] = []

    class Counting:
        name = "onnxruntime"

        def logits(self, encodings: Encodings) -> Any:
            asked.append(encodings)
            return predictor.engine.logits(encodings)

    kept = Kept(Counting(), predictor.tokenizer)
    first = [kept.logits(part) for part in parts]
    kept.rewind()
    second = [kept.logits(part) for part in parts]

    assert len(asked) == 2
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_tampered_bundle_is_refused(exported: Exported, tmp_path: Path) -> None:
    def spoilt(name: str) -> Path:
        return Path(shutil.copytree(exported("classify", True), tmp_path / name))

    folder = spoilt("weights")
    data = bytearray((folder / "onnx" / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "onnx" / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match="not as onelayer exported it"):
        load(folder)
    folder = spoilt("record")
    record = json.loads((folder / "onelayer.json").read_text())
    record["export"]["precision"] = "fp7"
    (folder / "onelayer.json").write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="has no export record"):
        load(folder)
    folder = spoilt("missing")
    (folder / "onelayer.json").unlink()
    with pytest.raises(CheckpointError, match=r"holds no onelayer.json"):
        load(folder)
    folder = spoilt("link")
    (folder / "onnx").rename(tmp_path / "elsewhere")
    (folder / "onnx").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="a link in place of a folder"):
        load(folder)
    folder = spoilt("code")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": {"x": "y.z"}}))
    with pytest.raises(CheckpointError, match="names code"):
        load(folder)


def test_inspect_describes_a_bundle(exported: Exported, capsys: pytest.CaptureFixture[str]) -> None:
    folder = exported("classify", False)
    assert cli.main(["inspect", str(folder), "--json"]) == 0

    shown = json.loads(capsys.readouterr().out)
    assert shown["export"]["precision"] == "fp32"
    assert "onnxruntime" in shown["engines"]


@pytest.mark.process
def test_bundle_predicts_without_importing_torch(exported: Exported) -> None:
    script = (
        "import sys, onelayer\n"
        "model = onelayer.load(sys.argv[1], 'onnxruntime')\n"
        "assert model.predict(['a bad cat'])[0].label in ('no', 'yes')\n"
        "assert 'torch' not in sys.modules and 'onnx' not in sys.modules\n"
    )
    folder = resolve(exported("classify", False))
    subprocess.run([sys.executable, "-c", script, str(folder)], check=True, timeout=60)
