"""The command line as a user meets it: exit codes, one-line errors and files."""

from __future__ import annotations

import csv
import errno
import io
import itertools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from onelayer.cli import main as cli
from support.tiny_bert import MakeBert

pytestmark = pytest.mark.slow

Main = Callable[..., int]

REVIEWS = [("good cat", "yes"), ("bad cat", "no"), ("the good cats", "yes"), ("a bad day", "no")]


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    lines = [f"{text} {i},{label}" for i, (text, label) in enumerate(REVIEWS * 5)]
    path.write_text("review,verdict\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def main(make_bert: MakeBert, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Main]:
    """Runs ``main("train", ...)`` in an empty folder, with a tiny model where one is needed."""
    monkeypatch.chdir(tmp_path)
    handler = signal.getsignal(signal.SIGTERM)
    bert = make_bert()

    def run(*arguments: object) -> int:
        tokens = [str(argument) for argument in arguments]
        takes_model = tokens[0] == "train" or (tokens[0] == "inspect" and Path(tokens[1]).is_file())
        if takes_model and "--model" not in tokens:
            tokens += ["--model", str(bert)]
        return cli.main(tokens)

    yield run
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def run(main: Main, reviews: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main("train", reviews, "--label", "verdict", "--out", "run", "--epochs", 1) == 0
    capsys.readouterr()
    return Path("run")


@pytest.mark.slow
def test_train_needs_only_a_file_and_saves_a_run(
    main: Main, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main("train", reviews, "--label", "verdict", "--epochs", "1", "--folds", "0")

    out, err = capsys.readouterr()
    assert status == 0
    assert "saved runs/reviews-1" in out
    assert "accuracy" in out
    lines = err.splitlines()
    assert all(line.startswith("· ") for line in lines)
    assert any("task = classify, text = review, label = verdict" in line for line in lines)
    assert any(line.startswith("· epoch 1: dev accuracy ") for line in lines)
    record = json.loads(Path("runs/reviews-1/onelayer.json").read_text())
    assert f"· {record['choices'][0]}" == lines[0]


def test_with_json_every_line_of_stderr_is_an_object(
    main: Main, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--epochs", "1", "--folds", "0", "--json")
    assert main("train", reviews, "--label", "verdict", *options) == 0

    out, err = capsys.readouterr()
    events = [json.loads(line)["event"] for line in err.splitlines()]
    assert {"remark", "start", "step", "evaluation"} <= set(events)
    assert json.loads(out).keys() == {"run", "dev"}
    assert main("train", reviews, "--label", "nothing", "--json") == 2
    out, err = capsys.readouterr()
    *_, last = map(json.loads, err.splitlines())
    assert out == ""
    assert last.keys() == {"error"}
    assert "nothing" in last["error"]


@pytest.mark.process
def test_missing_package_is_named_with_its_extra(reviews: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None; "
        "from onelayer.cli.main import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "train", reviews], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr == (
        "onelayer: this needs torch, which is not installed (pip install 'onelayer[train]')\n"
    )


@pytest.mark.slow
def test_runs_without_out_are_numbered(main: Main, reviews: Path) -> None:
    for _ in range(2):
        assert main("train", reviews, "--label", "verdict", "--epochs", "1") == 0

    assert sorted(path.name for path in Path("runs").iterdir()) == ["reviews-1", "reviews-2"]


def test_eval_gives_every_metric_an_interval(
    main: Main, run: Path, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("eval", run, reviews, "--json") == 0

    result = json.loads(capsys.readouterr().out)
    assert result["rows"] == 20
    assert set(result["scores"]) == {"accuracy", "macro_f1", "mcc", "f1", "log_loss", "ece"}
    for name, score in result["scores"].items():
        low, high = result["intervals"][name]
        assert low is None or low <= score <= high
    assert set(result["by_label"]) == {"no", "yes"}
    for label, values in result["by_label"].items():
        for name, (low, high) in result["by_label_intervals"][label].items():
            assert low <= values[name] <= high
        assert set(result["by_label_intervals"][label]) == {"precision", "recall", "f1"}


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet"])
def test_predictions_keep_columns_and_row_order(
    main: Main, run: Path, reviews: Path, form: str
) -> None:
    assert main("predict", run, reviews, "--out", f"out.{form}") == 0

    out = Path(f"out.{form}")
    if form == "jsonl":
        rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
        labels = [row["prediction"]["label"] for row in rows]
    elif form == "csv":
        rows = list(csv.DictReader(io.StringIO(out.read_text(encoding="utf-8"))))
        labels = [row["prediction"] for row in rows]
    else:
        rows = pq.read_table(out).to_pylist()
        labels = [row["prediction"] for row in rows]
    assert [row["review"] for row in rows] == [
        f"{text} {i}" for i, (text, _) in enumerate(REVIEWS * 5)
    ]
    assert set(labels) <= {"yes", "no"}
    assert not Path(f"out.{form}.part").exists()


def test_lines_from_a_pipe_are_predicted(
    main: Main, run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    piped = io.TextIOWrapper(io.BytesIO('good 😀\n{"review": "bad cat"}\n'.encode()))
    monkeypatch.setattr("sys.stdin", piped)

    assert main("predict", run) == 0

    first, second = map(json.loads, capsys.readouterr().out.splitlines())
    assert first["text"] == "good 😀"
    assert second["review"] == "bad cat"
    assert sum(second["prediction"]["probabilities"].values()) == pytest.approx(1)


def test_predict_skips_bad_rows_with_skip_bad(
    main: Main, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "new.jsonl").write_text('{"review": "good"}\n{"review": ["no"]}\n{"review": "x"}\n')

    assert main("predict", run, "new.jsonl") == 2
    assert "new.jsonl:2:review: text is a list" in capsys.readouterr().err
    assert main("predict", run, "new.jsonl", "--skip-bad") == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert "left out 1 bad rows" in err
    assert "new.jsonl: text = review" in err


def test_pair_model_refuses_single_texts(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "".join(f"the cat {i},a cat {i},{'ab'[i % 2]}\n" for i in range(12))
    (tmp_path / "pairs.csv").write_text("premise,hypothesis,label\n" + rows)
    assert main("train", "pairs.csv", "--out", "pairs", "--epochs", 1) == 0
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"just one\n")))

    assert main("predict", "pairs") == 2

    assert "input:1: the model was trained on pairs" in capsys.readouterr().err


def test_inspect_describes_a_file_and_lists_its_problems(
    main: Main, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\ngood,yes\ngood,no\n,yes\nbad,no\nbad,no\n", encoding="utf-8")

    assert main("inspect", path, "--json") == 0

    found = json.loads(capsys.readouterr().out)
    assert (found["task"], found["rows"]) == ("classify", 5)
    problems = "\n".join(found["problems"])
    assert "rows.csv:4:text: text is empty" in problems
    assert "2 rows repeat" in problems
    assert "1 texts occur with different labels" in problems


def test_inspect_describes_a_model(
    main: Main, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("inspect", run, "--json") == 0

    found = json.loads(capsys.readouterr().out)
    assert found["labels"] == ["no", "yes"]
    assert found["parameters"]["trained"] == found["parameters"]["all"]
    assert found["parameters"]["new"] == 2 * 32 + 2
    assert found["task"]["calibration"].keys() == {"rows", "temperature"}
    assert "accuracy" in found["dev"]["scores"]


def test_inspect_lists_texts_shared_by_several_files(
    main: Main, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "test.csv").write_text("review,verdict\nGood  cat 0,no\n", encoding="utf-8")

    assert main("inspect", reviews, "test.csv", "--label", "verdict") == 0

    out = capsys.readouterr().out
    assert "in several files: 1\n  good cat 0\n    reviews.csv:2: yes\n    test.csv:2: no" in out


@pytest.mark.slow
@pytest.mark.parametrize("seen", [True, False])
def test_inspect_with_a_run_lists_probable_label_errors(
    main: Main,
    run: Path,
    reviews: Path,
    tmp_path: Path,
    seen: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The model is hardly trained: the list may be empty, but the output names the judge."""
    file = reviews
    if not seen:
        file = tmp_path / "new.csv"
        file.write_text(reviews.read_text().replace("a", "the "), encoding="utf-8")
    asked = ("inspect", file, "--with", run, "--folds", 2, "--label", "verdict")

    assert main(*asked) == 0
    out = capsys.readouterr().out
    assert ("by 2-fold cross-validation" if seen else "by the run itself") in out
    assert "labels that are probably wrong: " in out
    assert main(*asked, "--json") == 0
    found = json.loads(capsys.readouterr().out)["label_errors"]
    assert (found["rows"], found["not_judged"]) == (20, 0)
    assert found["probably_wrong"] == len(found["suspects"])


@pytest.mark.slow
def test_compare_gives_a_verdict_in_words(
    main: Main, run: Path, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ("--label", "verdict", "--epochs", 15, "--lr", 0.005)
    assert main("train", reviews, "--dev", reviews, "--out", "better", *more) == 0
    capsys.readouterr()

    assert main("compare", run, "better", reviews, "--json") == 0

    result = json.loads(capsys.readouterr().out)
    accuracy = result["metrics"]["accuracy"]
    assert accuracy["b"] == 1.0 > accuracy["a"]
    assert accuracy["interval"][0] > 0
    assert result["verdict"].startswith("B is better: accuracy +")
    assert result["nearer"] == {"a": 0, "b": len(result["changed"])}

    assert main("compare", run, "better", reviews, "--rows", 1) == 0
    out = capsys.readouterr().out
    assert result["verdict"] in out
    assert "0 rows where A is nearer to the gold label" in out
    assert sum(line.startswith("  ") and "gold" in line for line in out.splitlines()) == 1


@pytest.mark.parametrize(
    ("content", "flags", "expected"),
    [
        (None, [], "gone.csv: "),
        ("", [], "gone.csv: "),
        ("text,label\nfine,a\nfine,a\n", [], "one class only"),
        ("text,label\nfine,a\npoor,b\n", ["--label", "lable"], "did you mean 'label'?"),
        ("text,label\nfine,a\n,b\npoor,b\n", [], "gone.csv:3:text: text is empty"),
        ("text,label\nfine,a\npoor\n", [], "gone.csv:3: "),
        ('text,label\nfine,a\n"poor,b\nbad,b\n', [], "gone.csv:3"),
        ("text,label\nfine,a\n\xff,b\n", [], "gone.csv:3:1: "),
        ("text,label\nfine,a\npoor,b\n", ["--epochs", "-1"], "--epochs must be 0 or above"),
        ("text,label\nfine,a\npoor,b\n", ["--lr", "0"], "--lr must be a number above 0"),
        ("text,label\nfine,a\npoor,b\n", ["--epoch", "1"], "Did you mean --epochs?"),
        ("text,label\nfine,a\npoor,b\n", ["--model", "./nowhere"], "no such directory"),
        ("text,label\n" + "fine,a\npoor,b\n" * 9, ["--freeze", "99"], "the model has 2 layers"),
        ("text,label\nfine,a\npoor,b\n", ["--max-length", "999"], "the model has 64 positions"),
    ],
)
def test_bad_input_is_refused_in_one_line_and_writes_nothing(
    main: Main,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: str | None,
    flags: list[str],
    expected: str,
) -> None:
    if content is not None:
        (tmp_path / "gone.csv").write_bytes(content.encode("latin-1"))

    status = main("train", "gone.csv", *flags)

    out, err = capsys.readouterr()
    errors = [line for line in err.splitlines() if line.startswith("onelayer: ")]
    assert status == 2
    assert out == ""
    assert len(errors) == 1
    assert expected in errors[0]
    assert "Traceback" not in err
    assert not (tmp_path / "runs").exists()


def test_existing_run_is_never_overwritten(
    main: Main, run: Path, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "model.safetensors").read_bytes()

    status = main("train", reviews, "--label", "verdict", "--out", run)

    assert status == 2
    assert "already holds a run" in capsys.readouterr().err
    assert (run / "model.safetensors").read_bytes() == before


def test_label_found_only_in_dev_is_refused(
    main: Main, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev = tmp_path / "dev.csv"
    dev.write_text("review,verdict\ngood cat,perhaps\n", encoding="utf-8")

    status = main("train", reviews, "--dev", dev, "--label", "verdict", "--out", "new")

    assert status == 2
    assert "'perhaps'" in capsys.readouterr().err
    assert not Path("new").exists()


@pytest.fixture
def sure(main: Main, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A run with 60 dev rows, enough for guarantees."""
    dev = tmp_path / "dev.csv"
    lines = [f"{text} {i},{label}" for i, (text, label) in enumerate(REVIEWS * 15)]
    dev.write_text("review,verdict\n" + "\n".join(lines) + "\n", encoding="utf-8")
    flags = ("--dev", dev, "--label", "verdict", "--epochs", 20, "--lr", 0.01, "--out", "sure")
    assert main("train", reviews, *flags) == 0
    capsys.readouterr()
    return Path("sure")


@pytest.mark.slow
def test_predict_gives_label_sets_and_abstains_on_request(
    main: Main, sure: Path, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("predict", sure, reviews) == 0
    plain = [json.loads(line)["prediction"] for line in capsys.readouterr().out.splitlines()]
    assert all(set(row) == {"label", "probability", "probabilities"} for row in plain)
    # A bound far from every row, as another batch may round a text's probability differently.
    low = middle_of_widest_gap([row["probability"] for row in plain])
    record = json.loads((sure / "onelayer.json").read_text(encoding="utf-8"))
    record["task"]["calibration"]["answers"] = [[low, 40, 0], [0.0, 60, 30]]
    (sure / "onelayer.json").write_text(json.dumps(record), encoding="utf-8")

    assert main("predict", sure, reviews, "--coverage", 0.9, "--abstain", 0.1) == 0
    found = [json.loads(line)["prediction"] for line in capsys.readouterr().out.splitlines()]
    for row, before in zip(found, plain, strict=True):
        assert row["label"] == (before["label"] if before["probability"] >= low else None)
        assert row["probabilities"] == before["probabilities"]
        assert row["label_set"][0] == before["label"]
    assert 0 < sum(row["label"] is None for row in found) < len(found)

    assert main("predict", sure, reviews, "--abstain", 0.1, "--out", "out.csv") == 0
    table = list(csv.DictReader(io.StringIO(Path("out.csv").read_text(encoding="utf-8"))))
    assert [row["prediction"] for row in table] == [row["label"] or "" for row in found]
    assert "label_set" not in json.loads(table[0]["prediction_json"])


def middle_of_widest_gap(numbers: list[float]) -> float:
    ordered = sorted(numbers)
    gap, below = max((b - a, a) for a, b in itertools.pairwise(ordered))
    assert gap > 1e-4
    return below + gap / 2


@pytest.mark.slow
def test_eval_scores_coverage_and_abstaining_on_request(
    main: Main, sure: Path, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("eval", sure, reviews, "--coverage", 0.9, "--abstain", 0.4, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    asked = {"coverage", "set_size", "answered", "error"}
    assert asked <= result["scores"].keys()
    assert asked <= result["intervals"].keys()
    assert main("eval", sure, reviews, "--json") == 0
    assert not asked & json.loads(capsys.readouterr().out)["scores"].keys()


def test_unsupported_guarantee_is_refused_in_one_line(
    main: Main, run: Path, reviews: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("predict", run, reviews, "--coverage", 0.9) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "20 calibration rows are too few to promise anything" in err
    rows = "".join(f"the cat {i},{i}.5\n" for i in range(30))
    (tmp_path / "rows.csv").write_text("text,score\n" + rows)
    assert main("train", "rows.csv", "--out", "number", "--epochs", 1) == 0
    capsys.readouterr()
    assert main("eval", "number", "rows.csv", "--abstain", 0.1) == 2
    err = capsys.readouterr().err
    assert "--coverage and --abstain are for classify, and this model is for regress" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(("interrupt", "code"), [(KeyboardInterrupt, 130), (cli.Terminated, 143)])
def test_run_interrupted_before_any_evaluation_leaves_nothing(
    main: Main,
    reviews: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    interrupt: type[BaseException],
    code: int,
) -> None:
    def stop(*_: object) -> float:
        raise interrupt

    monkeypatch.setattr("onelayer.training.fit.update_weights", stop)

    status = main("train", reviews, "--label", "verdict", "--out", "new")

    assert status == code
    assert "onelayer: " in capsys.readouterr().err
    assert not Path("new").exists()


def test_interrupted_run_keeps_the_best_model(
    main: Main,
    reviews: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    losses = iter([0.7])

    def stop_in_the_second_epoch(*_: object) -> float:
        for loss in losses:
            return loss
        signal.raise_signal(signal.SIGINT)
        return 0.6

    monkeypatch.setattr("onelayer.training.fit.update_weights", stop_in_the_second_epoch)

    options = ("--out", "new", "--folds", "0", "--epochs", "3")
    assert main("train", reviews, "--label", "verdict", *options) == 130

    assert "the same command resumes from there; the best" in capsys.readouterr().err
    assert main("predict", "new", reviews) == 0


def test_full_disk_is_one_line_and_leaves_nothing(
    main: Main,
    reviews: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("onelayer.checkpoint.save.save_file", full)

    assert main("train", reviews, "--label", "verdict", "--out", "new", "--epochs", "1") == 1

    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("onelayer: ")
    assert "No space left on device" in last
    assert not Path("new").exists()


def test_record_holds_the_history_of_every_step(main: Main, reviews: Path) -> None:
    options = ("--out", "run", "--epochs", "3", "--folds", "0")
    main("train", reviews, "--label", "verdict", *options)

    history = json.loads(Path("run/onelayer.json").read_text(encoding="utf-8"))["history"]
    assert len(history["losses"]) == len(history["tokens"]) == history["steps"] == 3
    assert [evaluation["step"] for evaluation in history["evaluations"]] == [1, 2, 3]


def test_predict_with_an_untrained_model_names_the_train_command(
    main: Main, make_bert: MakeBert, reviews: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main("predict", make_bert(), reviews) == 2
    assert "onelayer train" in capsys.readouterr().err
