"""``onelayer shrink`` from the command to the model that it writes."""

from __future__ import annotations

import io
import json
import shutil
import signal
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

import onelayer
from onelayer.base.locks import locked
from onelayer.checkpoint.bundle import read_bundle
from onelayer.cli import main as cli
from onelayer.exporting.dev_rows import rows_of_run
from onelayer.recipe import Columns
from onelayer.shrinking import school, students
from onelayer.shrinking.ladder import Ladder, Made
from onelayer.shrinking.made_texts import MadeTexts
from onelayer.shrinking.shrunk import Shrunk
from onelayer.training.progress import Silent
from onelayer.training.trainer import Trainer
from support.made_ladder import ladder
from support.quick_ladders import quick_ladders
from support.tiny_bert import MakeBert

pytestmark = pytest.mark.slow

WORDS = ["good cat", "the cat x", "bad", "y bad bad"]


@pytest.fixture(scope="module", autouse=True)
def quick() -> Iterator[None]:
    with quick_ladders():
        yield


@pytest.fixture(scope="module")
def home(make_bert: MakeBert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run ``run``, its files, and ``texts.txt`` without labels."""
    home = tmp_path_factory.mktemp("home")
    lines = [f"{WORDS[i % 4]} {i},{'yes' if i % 4 < 2 else 'no'}" for i in range(24)]
    for name, chosen in (("train", lines), ("dev", lines[:12]), ("test", lines[6:])):
        (home / f"{name}.csv").write_text("\n".join(["review,verdict", *chosen]) + "\n")
    (home / "texts.txt").write_text("\n".join(f"{WORDS[i % 4]} and {i}" for i in range(9)) + "\n")
    columns = {"text": "review", "label": "verdict"}
    onelayer.finetune(
        home / "train.csv",
        dev=home / "dev.csv",
        out=home / "run",
        model=str(make_bert()),
        epochs=1,
        **columns,
    )
    return home


@pytest.fixture(scope="module")
def stopped(home: Path) -> tuple[int, dict[str, int]]:
    """The exit code of a call that is interrupted while a smaller model is trained, and when each
    file of the ladder was written until then."""
    calls = 0
    advance = Trainer.advance

    def interrupt(*given: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            signal.raise_signal(signal.SIGINT)
        advance(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "advance", interrupt)
        code = cli.main(["shrink", str(home / "run")])
    return code, written(home / "run-rungs")


def written(folder: Path) -> dict[str, int]:
    """When each file of weights in a folder was written."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*.safetensors")
    }


@pytest.fixture(scope="module")
def refused(home: Path, stopped: object) -> tuple[str, str]:
    """Output and the last line of errors of the same call again, with a budget that no model
    keeps."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        assert cli.main(["shrink", str(home / "run"), "--budget", "1kB"]) == 2
    assert not (home / "run-small").exists()
    return out.getvalue(), err.getvalue().splitlines()[-1]


@pytest.fixture(scope="module")
def printed(home: Path, refused: object) -> tuple[str, str]:
    """Output and errors of a third call, with test rows and as JSON: the ladder is finished."""
    before = written(home / "run-rungs")
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(MadeTexts, "of", None)  # no model is left that learns from made texts
        given = ["shrink", str(home / "run"), "--test", str(home / "test.csv"), "--json"]
        assert cli.main(given) == 0, err.getvalue()
    assert written(home / "run-rungs") == before
    return out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def shrunk(home: Path, printed: object) -> Shrunk:
    """What that call left in the ladder's folder."""
    return Shrunk.read(home / "run-rungs")


def said(capsys: pytest.CaptureFixture[str], *given: object) -> str:
    """The one line of a command that is refused."""
    capsys.readouterr()
    assert cli.main(["shrink", *map(str, given)]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    return error[0]


def test_interrupted_call_is_continued_with_what_was_finished(
    home: Path, stopped: tuple[int, dict[str, int]], shrunk: Shrunk
) -> None:
    code, before = stopped
    assert code == 130
    kept = {name: at for name, at in before.items() if name.startswith("int8")}
    assert kept
    assert kept.items() <= written(home / "run-rungs").items()
    assert not (home / "run-rungs" / ".start").exists()


def test_smaller_model_of_another_start_makes_room(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a stopped call is continued with another number of threads or another version of a
    library, which gives the start other bits."""
    rungs = tmp_path / "small-rungs"
    monkeypatch.setattr(students.Student, "epochs", 6.0)
    advance = Trainer.advance

    def interrupt(trainer: Trainer, *given: Any) -> None:
        advance(trainer, *given)
        if (rungs / "1-layer" / "config.json").is_file() and not trainer.is_finished:
            signal.raise_signal(signal.SIGINT)

    given = ["shrink", str(home / "run"), "--out", str(tmp_path / "small")]
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "advance", interrupt)
        assert cli.main(given) == 130
    assert (rungs / ".1-layer.resume").is_dir()
    monkeypatch.setattr(school, "RATE", 2 * school.RATE)
    assert cli.main(given) == 0


def test_ladder_has_models_from_the_run_down_to_one_layer(home: Path, shrunk: Shrunk) -> None:
    names = [rung.name for rung in shrunk.rungs]
    assert names[0] == "run"
    assert shrunk.baseline in names
    assert any(name.startswith("1-layer") for name in names)
    layers = shrunk.rung(next(name for name in names if name.startswith("1-layer")))
    assert layers.bytes < shrunk.rung(shrunk.baseline).bytes
    assert sorted(layers.speeds) == sorted({1, shrunk.threads})
    assert shrunk.splits.keys() == {"dev", "test"}
    for rung in shrunk.rungs:
        assert rung.dev.rows == 12
        assert rung.test is not None
        assert rung.test.rows == 18
        if rung.model:
            path = home / "run-rungs" / rung.model
            assert onelayer.evaluate(path, home / "dev.csv").scores["accuracy"] == rung.dev.score


def test_result_predicts_and_its_card_says_what_it_lost(home: Path, shrunk: Shrunk) -> None:
    assert shrunk.model == str(home / "run-small")
    assert onelayer.load(shrunk.model).predict(["good cat"])[0].label in ("yes", "no")
    card = (home / "run-small" / "README.md").read_text(encoding="utf-8")
    assert "## Compared with the run" in card
    assert "| test: `test.csv`, 18 |" in card
    assert card.count("path/to/run-small") == card.count("path/to/") > 2
    assert "\n# run-small\n" in card
    assert (home / "run-rungs" / "report.html").is_file()


def test_command_prints_the_result_and_the_next_step(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {}

    def shrink(run: str, **named: Any) -> Shrunk:
        given.update(named)
        return ladder(budget=named["budget"])

    monkeypatch.setattr(onelayer, "shrink", shrink)
    assert cli.main(["shrink", "runs/reviews", "--budget", "-1pt", "--text", "review"]) == 0
    assert (given["budget"], given["text"], given["train"]) == ("-1pt", "review", None)
    assert capsys.readouterr().out == (
        f"{ladder(budget='-1pt')}\nreport: reviews-rungs/report.html\n"
        "next: onelayer predict runs/reviews-small FILE\n"
    )


def test_json_is_the_result_and_progress_is_on_stderr(
    shrunk: Shrunk, printed: tuple[str, str]
) -> None:
    out, err = printed
    assert json.loads(out) == shrunk.to_json()
    assert all(json.loads(line)["event"] for line in err.splitlines())


# What is refused ---------------------------------------------------------------------------------


def test_budget_that_is_none_is_refused(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = said(capsys, home / "run", "--budget", "fast")
    assert line.startswith("onelayer: --budget 'fast': ")
    assert "2ms" in line


def test_budget_that_nothing_keeps_names_the_nearest_model(refused: tuple[str, str]) -> None:
    assert "no rung keeps the budget 1kB: the nearest is 1-layer" in refused[1]


def test_budget_that_nothing_keeps_still_gets_the_table_and_the_report(
    home: Path, refused: tuple[str, str]
) -> None:
    printed, _ = refused
    assert printed.startswith("run, 5 rungs, budget 1kB; none is kept\n")
    assert printed.endswith(f"\nmodels and report.html: {home / 'run-rungs'}\n")
    assert "1-layer-int8 " in printed


@pytest.mark.parametrize("student", ["nowhere", "run-rungs/int8"])
def test_student_that_is_no_model_to_train_is_refused_before_anything_is_made(
    student: str, home: Path, shrunk: Shrunk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (home / "run", "--out", tmp_path / "x", "--student", home / student)
    assert student in said(capsys, *given)
    assert not any(tmp_path.iterdir())


def test_second_call_at_the_same_time_is_refused(
    home: Path, shrunk: Shrunk, capsys: pytest.CaptureFixture[str]
) -> None:
    with locked(home / "run-rungs" / ".lock") as is_ours:
        assert is_ours
        line = said(capsys, home / "run")
    assert "run-rungs: another process is making smaller models there (wait" in line


def test_other_texts_without_labels_leave_the_bundles_of_the_run(
    home: Path, shrunk: Shrunk, tmp_path: Path
) -> None:
    folder = tmp_path / "rungs"
    shutil.copytree(home / "run-rungs", folder)
    run = onelayer.load(home / "run")
    rows = rows_of_run(run, None, None, Columns(), lambda _: None)
    bundles = {"int8", "int8-trimmed"}
    with Ladder(run, folder, rows, home / "texts.txt", Silent()).opened():
        assert {path.name for path in folder.iterdir()} == {*bundles, ".lock", "ladder.json"}
    rows = replace(rows, files=(home / "train.csv", None))
    with Ladder(run, folder, rows, home / "texts.txt", Silent()).opened():
        assert {path.name for path in folder.iterdir()} == {".lock", "ladder.json"}


def test_run_without_its_training_rows_says_how_to_name_them(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(home / "run", home / "moved")
    timing = home / "moved" / "timing.json"
    timing.write_text(timing.read_text().replace("train.csv", "gone.csv"))
    assert "--train FILE" in said(capsys, home / "moved")
    assert not (home / "moved-rungs").exists()


def test_bundle_is_refused(home: Path, shrunk: Shrunk, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, shrunk.model).endswith("run-small: is a bundle (give the run itself)")


def test_place_that_is_taken_or_unwritable_is_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "is there already" in said(capsys, home / "run", "--out", home / "train.csv")
    assert cli.main(["shrink", str(home / "run"), "--out", str(home / "train.csv" / "x")]) == 1
    assert "can't be written" in capsys.readouterr().err


def test_columns_are_those_of_test_rows_or_refused(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "neither --unlabelled nor --test" in said(capsys, home / "run", "--text", "body")
    given = (home / "run", "--test", home / "test.csv", "--text", "body")
    assert "test.csv: no column 'body'" in said(capsys, *given)


def test_full_disk_before_the_first_step_is_told_in_one_line(
    home: Path,
    shrunk: Shrunk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object, **named: object) -> None:
        raise SafetensorError("I/O error: No space left on device")

    shutil.copytree(home / "run-rungs", tmp_path / "x-rungs")
    shutil.rmtree(tmp_path / "x-rungs" / "1-layer")
    monkeypatch.setattr(students, "write_checkpoint", full)
    assert cli.main(["shrink", str(home / "run"), "--out", str(tmp_path / "x-small")]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert "can't be written: I/O error: No space left on device (nothing was changed" in error
    assert not (tmp_path / "x-rungs" / ".start").exists()


@pytest.mark.parametrize(
    ("lost", "trims"), [(0.4, True), (0.6, False), (None, False)], ids=["little", "much", "unknown"]
)
def test_vocabulary_of_smaller_models_is_trimmed_where_new_texts_lose_little(
    lost: float | None, trims: bool, home: Path, shrunk: Shrunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With few rows most texts have words that no row has: dev rows of the run tell."""
    bundle = read_bundle(home / "run-rungs" / "int8-trimmed")
    vocabulary = bundle.export.vocabulary
    assert vocabulary is not None
    assert vocabulary.unseen is not None
    unseen = None if lost is None else replace(vocabulary.unseen, drop=lost)
    export = replace(bundle.export, vocabulary=replace(vocabulary, unseen=unseen))
    changed = replace(bundle, export=export)
    monkeypatch.setattr("onelayer.shrinking.ladder.read_bundle", lambda _: changed)
    said: list[str] = []

    class Listening(Silent):
        def say(self, remark: str) -> None:
            said.append(remark)

    run = onelayer.load(home / "run")
    rows = rows_of_run(run, None, None, Columns(), said.append)
    ladder = Ladder(run, home / "run-rungs", rows, None, Listening())
    made = Made("int8-trimmed", "", home / "run-rungs" / "int8-trimmed", None)
    assert ladder.trims_students(made) == trims
    assert any("keep the whole vocabulary" in remark for remark in said) != trims
