"""A stopped run resumes and writes the same bytes as a run that was never stopped."""

from __future__ import annotations

import json
import os
import pkgutil
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import onelayer
from onelayer.base.errors import UsageError
from onelayer.cli import main as cli
from onelayer.nn.kernels import kernels
from onelayer.training import fit, run_store, weight_updates
from onelayer.training.history import RunProgress
from onelayer.training.progress import Silent
from onelayer.training.run_store import Store
from support.task_cases import CASES, LONG, Case
from support.tiny_bert import MakeBert

pytestmark = pytest.mark.slow

ONE_A_TASK = [case for case in CASES if case.name in {c.task for c in CASES} | {"tag IOB2"}]
CLASSIFY = CASES[0]
STEPS = 9
"""22 rows, eight a batch, three epochs."""


@pytest.fixture(scope="module")
def dropout_model(make_bert: MakeBert) -> Path:
    """A model with dropout, so that the random generator matters."""
    return make_bert(hidden_dropout_prob=0.1, attention_probs_dropout_prob=0.1)


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops the clock, so that recorded seconds are equal."""
    monkeypatch.setattr(fit.time, "perf_counter", lambda: 0.0)


@dataclass
class StopAfter(Silent):
    """Sends this process a signal after some steps and evaluations."""

    after_steps: set[int] = field(default_factory=set)
    after_evaluations: set[int] = field(default_factory=set)
    number: signal.Signals = signal.SIGINT
    remarks: list[str] = field(default_factory=list)
    evaluations: int = 0

    def say(self, remark: str) -> None:
        self.remarks.append(remark)

    def step(self, progress: RunProgress) -> None:
        if progress.step in self.after_steps:
            signal.raise_signal(self.number)

    def evaluated(self, *_: object) -> None:
        self.evaluations += 1
        if self.evaluations in self.after_evaluations:
            signal.raise_signal(self.number)


class Runs:
    """Runs one command repeatedly in one folder."""

    def __init__(self, folder: Path, model: Path, case: Case = CLASSIFY, **choices: Any) -> None:
        folder.mkdir()
        self.folder, self.out = folder, folder / "run"
        self.file = case.write(folder)
        self.choices = {"epochs": 3, "lr": 0.01, "batch_size": 8, "precision": "fp32", "folds": 0}
        self.choices |= LONG.get(case.task, {}) | case.choices | choices | {"model": str(model)}

    def go(self, reporter: Silent | None = None, **more: Any) -> onelayer.Predictor:
        choices = self.choices | more
        return onelayer.finetune(self.file, out=self.out, reporter=reporter, **choices)

    def stopped(self, *after_steps: int, evaluations: tuple[int, ...] = ()) -> StopAfter:
        stops = StopAfter(set(after_steps), set(evaluations))
        with pytest.raises(KeyboardInterrupt):
            self.go(stops)
        return stops

    @property
    def states(self) -> list[Path]:
        return sorted(Store(self.out, "").folder.glob("step-*"))


def files_of(folder: Path) -> dict[str, bytes]:
    """The files of a run, without their paths, which differ between the runs."""
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    timing = json.loads(files["timing.json"])
    files["timing.json"] = json.dumps(timing["seconds"]).encode()
    return files


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, dropout_model: Path) -> dict[str, bytes]:
    """The files of a run that was never stopped."""
    runs = Runs(tmp_path_factory.mktemp("whole") / "x", dropout_model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit.time, "perf_counter", lambda: 0.0)
        runs.go()
    assert json.loads((runs.out / "onelayer.json").read_text())["history"]["steps"] == STEPS
    return files_of(runs.out)


# Bit for bit -------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ONE_A_TASK, ids=lambda case: case.task)
def test_every_task_resumes_bit_for_bit(case: Case, dropout_model: Path, tmp_path: Path) -> None:
    """Stops in the middle of an epoch, and again at its end."""
    straight, stopped = (Runs(tmp_path / name, dropout_model, case) for name in ("a", "b"))
    straight.go()

    stopped.stopped(1)
    stopped.stopped(3, evaluations=(1,))
    stopped.go()

    assert files_of(stopped.out) == files_of(straight.out)
    assert sorted(path.name for path in stopped.folder.iterdir()) == [stopped.file.name, "run"]


@pytest.mark.skipif(kernels() is None, reason="no compiled kernels")
def test_run_in_bf16_resumes_bit_for_bit(
    dropout_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onelayer.nn.encoder.has_bf16_products", lambda: True)
    straight, stopped = (
        Runs(tmp_path / name, dropout_model, precision="bf16") for name in ("a", "b")
    )
    straight.go()
    stopped.stopped(1)
    stopped.go()
    assert files_of(stopped.out) == files_of(straight.out)


@dataclass
class StopAfterInAll(StopAfter):
    """As `StopAfter`, with steps counted over all models of a run."""

    total: int = 0

    def step(self, progress: RunProgress) -> None:
        self.total += 1
        if self.total in self.after_steps:
            signal.raise_signal(self.number)


@pytest.mark.parametrize("case", ONE_A_TASK, ids=lambda case: case.task)
def test_cross_validated_run_resumes_bit_for_bit(
    case: Case, dropout_model: Path, tmp_path: Path
) -> None:
    """Stops within the first fold, after its last step, in the second fold, and in the model of
    all rows."""
    straight, stopped = (Runs(tmp_path / n, dropout_model, case, folds=2) for n in ("a", "b"))
    straight.go()
    for after in (2, 4, 3, 5):  # each counted from the stop before
        stops = StopAfterInAll({after})
        with pytest.raises(KeyboardInterrupt):
            stopped.go(stops)
        assert any(" of fold " in one or " of all rows" in one for one in stops.remarks)
    stopped.go()

    assert files_of(stopped.out) == files_of(straight.out)
    assert sorted(path.name for path in stopped.folder.iterdir()) == [stopped.file.name, "run"]


def test_finished_folds_are_not_trained_again(dropout_model: Path, tmp_path: Path) -> None:
    runs = Runs(tmp_path / "x", dropout_model, folds=2)
    with pytest.raises(KeyboardInterrupt):
        runs.go(StopAfterInAll({8}))  # six steps for the first fold
    rest = StopAfterInAll()
    runs.go(rest)
    assert "resumes after step 2 of fold 2 of 2" in rest.remarks
    assert rest.total == 4 + STEPS


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(1, STEPS), max_size=4), st.sets(st.integers(1, 3), max_size=2))
def test_run_can_be_stopped_at_any_step_or_evaluation(
    whole: dict[str, bytes],
    dropout_model: Path,
    tmp_path_factory: pytest.TempPathFactory,
    steps: set[int],
    evaluations: set[int],
) -> None:
    runs = Runs(tmp_path_factory.mktemp("stopped") / "x", dropout_model)
    stops = StopAfter(steps, evaluations)
    for _ in range(len(steps) + len(evaluations)):
        with suppress(KeyboardInterrupt):
            runs.go(stops)
        if not runs.states:
            break
    else:
        runs.go()
    assert files_of(runs.out) == whole


def test_state_holds_optimizer_and_generator(dropout_model: Path, tmp_path: Path) -> None:
    """The state at a step is the same after one stop and after two, with all moments."""
    once, twice = (Runs(tmp_path / name, dropout_model) for name in ("once", "twice"))
    once.stopped(5)
    twice.stopped(2)
    twice.stopped(5)
    one, two = (runs.states[-1] for runs in (once, twice))
    assert one.name == two.name == "step-000000000005"
    assert (one / "state.safetensors").read_bytes() == (two / "state.safetensors").read_bytes()
    names = list(run_store.load_file(one / "state.safetensors"))
    assert any(name.startswith("optimizer.") for name in names)
    assert "generator.cpu" in names


@pytest.mark.parametrize("choices", [{"patience": 1}, {"epochs": 1.5}, {"freeze": "1"}], ids=str)
def test_recipe_options_survive_a_resume(
    dropout_model: Path, tmp_path: Path, choices: dict[str, Any]
) -> None:
    straight, stopped = (Runs(tmp_path / name, dropout_model, **choices) for name in ("a", "b"))
    straight.go()
    stopped.stopped(2)
    stopped.stopped(evaluations=(1,))
    stopped.go()
    assert files_of(stopped.out) == files_of(straight.out)


# Signals during a step, an evaluation or a write -------------------------------------------------


def test_signal_inside_gradient_accumulation_waits_for_the_step(
    dropout_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, stopped = (
        Runs(tmp_path / name, dropout_model, token_budget=20) for name in ("a", "b")
    )
    straight.go()
    pack, calls = weight_updates.pack, iter(range(1000))

    def signal_at_the_sixth(*arguments: Any) -> Any:
        if next(calls) == 5:
            signal.raise_signal(signal.SIGTERM)
        return pack(*arguments)

    monkeypatch.setattr(weight_updates, "pack", signal_at_the_sixth)
    handler = signal.signal(signal.SIGTERM, cli._terminate)
    try:
        with pytest.raises(cli.Terminated):
            stopped.go()
    finally:
        signal.signal(signal.SIGTERM, handler)
    (state,) = stopped.states
    assert 1 <= int(state.name.removeprefix("step-")) <= 2
    stopped.go()
    assert files_of(stopped.out) == files_of(straight.out)


def test_interrupted_evaluation_is_repeated(
    whole: dict[str, bytes], dropout_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(tmp_path / "x", dropout_model)
    logits = fit.TorchEngine.logits

    def signal_before(*arguments: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return logits(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(fit.TorchEngine, "logits", signal_before)
        with pytest.raises(KeyboardInterrupt):
            runs.go()
    assert not runs.out.exists()  # nothing is best before it is evaluated
    assert [path.name for path in runs.states] == ["step-000000000003"]
    runs.go()
    assert files_of(runs.out) == whole


def test_signal_while_a_state_is_written_waits_for_it(
    whole: dict[str, bytes], dropout_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(tmp_path / "x", dropout_model)
    save = run_store.save_file

    def signal_inside(*arguments: Any) -> None:
        signal.raise_signal(signal.SIGINT)
        save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "is_state_due", lambda _: True)
        patch.setattr(run_store, "save_file", signal_inside)
        with pytest.raises(KeyboardInterrupt):
            runs.go()
    assert [path.name for path in runs.states] == ["step-000000000001"]
    runs.go()
    assert files_of(runs.out) == whole


def test_second_signal_stops_at_once(
    whole: dict[str, bytes], dropout_model: Path, tmp_path: Path
) -> None:
    class Twice(StopAfter):
        def step(self, progress: RunProgress) -> None:
            signal.raise_signal(signal.SIGINT)
            for _ in range(100):
                pass  # let Python handle the first one, as two pending signals are one
            signal.raise_signal(signal.SIGINT)

    runs = Runs(tmp_path / "x", dropout_model)
    with pytest.raises(KeyboardInterrupt):
        runs.go(Twice())
    assert [path.name for path in runs.folder.iterdir()] == [runs.file.name]
    runs.go()
    assert files_of(runs.out) == whole


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_exit_code_names_the_signal(
    dropout_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    code: int,
) -> None:
    runs = Runs(tmp_path / "x", dropout_model)
    monkeypatch.setattr("onelayer.cli.commands.reporter", lambda _: StopAfter({2}, number=number))
    before = signal.getsignal(signal.SIGTERM)
    arguments = ["train", runs.file, "--out", runs.out, "--model", dropout_model, "--batch-size", 8]
    try:
        assert cli.main([str(argument) for argument in arguments]) == code
        assert [path.name for path in runs.states] == ["step-000000000002"]
        monkeypatch.setattr("onelayer.cli.commands.reporter", lambda _: Silent())
        assert cli.main([*map(str, arguments), "--resume"]) == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not runs.states
    assert str(runs.out) in capsys.readouterr().out


# Killed processes, damaged states, full disks ----------------------------------------------------

BOUNDARIES = ("os.fsync", "pathlib.Path.rename", "pathlib.Path.replace", "pathlib.Path.mkdir")


def dies_at(n: int, work: Callable[[], object]) -> bool:
    """Runs ``work`` in a child process that dies at its nth disk operation; returns whether it
    died."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    left = iter(range(n))
    with pytest.MonkeyPatch.context() as patch:
        for name in (*BOUNDARIES, "onelayer.training.run_store.save_file", "shutil.rmtree"):
            original = resolve_name(name)

            def counted(*arguments: Any, original: Any = original, **more: Any) -> Any:
                if next(left, None) is None:
                    os._exit(9)
                return original(*arguments, **more)

            patch.setattr(name, counted)
        try:
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)


def resolve_name(name: str) -> Any:
    return pkgutil.resolve_name(name)


@pytest.mark.process
def test_process_killed_at_any_disk_operation_can_resume(
    dropout_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a state after every step, at most the current step is lost."""
    straight = Runs(tmp_path / "straight", dropout_model, epochs=1, batch_size=16)
    straight.go()
    expected = files_of(straight.out)
    monkeypatch.setattr(Store, "is_state_due", lambda _: True)
    for n in range(0, 200, 4):
        runs = Runs(tmp_path / f"{n}", dropout_model, epochs=1, batch_size=16)
        if not dies_at(n, runs.go):
            break
        reached = max((int(path.name[5:]) for path in runs.states), default=0)
        saved = Store(runs.out, "").newest_state(pytest.fail)
        assert (saved.history.step if saved else 0) == reached
        stops = StopAfter()
        if saved or not runs.out.exists():
            runs.go(stops)
            assert sorted(path.name for path in runs.folder.iterdir()) == [runs.file.name, "run"]
        assert files_of(runs.out) == expected
        if saved:
            assert f"resumes after step {reached}" in stops.remarks
    assert 40 < n < 200


def test_damaged_state_falls_back_to_the_older_one(
    whole: dict[str, bytes], dropout_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(tmp_path / "x", dropout_model)
    with monkeypatch.context() as patch:
        patch.setattr(Store, "is_state_due", lambda _: True)
        runs.stopped(4)
    older, newest = runs.states
    for name, step in damages(newest):
        remarks: list[str] = []
        saved = Store(runs.out, "").newest_state(remarks.append)
        assert saved is not None
        assert saved.folder == older, (name, step)
        (remark,) = remarks
        assert "damaged" in remark
        assert "\n" not in remark
    (newest / "state.json").write_text("{")
    runs.go()
    assert files_of(runs.out) == whole


def damages(state: Path) -> Iterator[tuple[str, int]]:
    """Copies of the state with a file cut at each of its boundaries, or with one bit flipped."""
    for name in ("state.json", "state.safetensors"):
        content = (state / name).read_bytes()
        cuts = {0, 1, 7, 8, 9, len(content) // 2, len(content) - 1}
        if name == "state.safetensors":
            length = int.from_bytes(content[:8], "little")
            header = json.loads(content[8 : 8 + length])
            ends = (entry["data_offsets"][1] for entry in header.values())
            cuts |= {8 + length + end for end in ends} - {len(content)}
        for cut in sorted(cuts):
            (state / name).write_bytes(content[:cut])
            yield name, cut
        turned = bytearray(content)
        turned[len(content) // 3] ^= 1
        (state / name).write_bytes(turned)
        yield name, -1
        (state / name).unlink()
        yield name, -2
        (state / name).write_bytes(content)


def test_full_disk_keeps_the_last_state_and_the_run(
    whole: dict[str, bytes], dropout_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that can't be written is a warning; the run continues and can be resumed."""
    runs = Runs(tmp_path / "x", dropout_model)
    save, calls = run_store.save_file, iter(range(1000))

    def full_from_the_third(*arguments: Any) -> None:
        if next(calls) >= 2:
            raise OSError(28, "No space left on device")
        save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Store, "is_state_due", lambda _: True)
        patch.setattr(run_store, "save_file", full_from_the_third)
        stops = runs.stopped(5)
    assert [path.name for path in runs.states] == ["step-000000000001", "step-000000000002"]
    (*_, warning) = stops.remarks
    assert "the state after step 5 is not saved" in warning
    assert "No space left on device" in warning
    runs.go()
    assert files_of(runs.out) == whole


# Which run a command resumes ---------------------------------------------------------------------


def test_same_command_without_out_resumes_its_run(
    dropout_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(tmp_path / "x", dropout_model)
    monkeypatch.chdir(tmp_path)

    def go(reporter: Silent | None = None, **more: Any) -> Path | None:
        return onelayer.finetune(runs.file, reporter=reporter, **runs.choices | more).path

    with pytest.raises(KeyboardInterrupt):
        go(StopAfter({2}))
    assert go(seed=2) == Path("runs/rows-2")  # another command is another run
    stops = StopAfter()
    assert go(stops) == Path("runs/rows-1")
    assert "resumes after step 2" in stops.remarks
    assert go() == Path("runs/rows-3")


def test_run_of_another_command_is_not_resumed(dropout_model: Path, tmp_path: Path) -> None:
    runs = Runs(tmp_path / "x", dropout_model)
    runs.stopped(4)
    with pytest.raises(UsageError, match="already holds a run"):
        runs.go(lr=0.02)
    assert runs.states
    runs.file.write_text(runs.file.read_text() + '{"text": "new", "label": "7"}\n')
    with pytest.raises(UsageError, match="already holds a run"):
        runs.go()


def test_no_resume_starts_from_the_beginning(
    whole: dict[str, bytes], dropout_model: Path, tmp_path: Path
) -> None:
    runs = Runs(tmp_path / "x", dropout_model)
    runs.stopped(2)
    stops = StopAfter()
    runs.go(stops, resume=False)
    assert not any("resumes" in remark for remark in stops.remarks)
    assert files_of(runs.out) == whole


def test_run_restarts_if_its_best_model_was_removed(
    whole: dict[str, bytes], dropout_model: Path, tmp_path: Path
) -> None:
    runs = Runs(tmp_path / "x", dropout_model)
    runs.stopped(4)
    for path in runs.out.iterdir():
        path.unlink()
    runs.go()
    assert files_of(runs.out) == whole


def test_resume_flag_requires_an_unfinished_run(
    dropout_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(tmp_path / "x", dropout_model)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="no unfinished run of this command"):
        runs.go(resume=True)
    with pytest.raises(UsageError, match="no unfinished run of this command"):
        onelayer.finetune(runs.file, resume=True, **runs.choices)
    assert [path.name for path in tmp_path.iterdir()] == ["x"]
    assert [path.name for path in runs.folder.iterdir()] == [runs.file.name]
    runs.stopped(2)
    runs.go(resume=True)
    before = files_of(runs.out)
    stops = StopAfter()
    assert runs.go(stops, resume=True).path == runs.out  # a finished run
    assert "nothing left to do" in stops.remarks[-1]
    assert files_of(runs.out) == before


def test_second_process_on_the_same_run_is_refused(dropout_model: Path, tmp_path: Path) -> None:
    runs = Runs(tmp_path / "x", dropout_model)
    other = Store(runs.out, "another process's")
    assert other.lock()
    with pytest.raises(UsageError, match="another process is training there"):
        runs.go()
    other.release()
    runs.go()


def test_changed_environment_is_reported_on_resume(
    dropout_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = Runs(tmp_path / "x", dropout_model)
    runs.stopped(2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    stops = StopAfter()
    runs.go(stops)
    assert any("threads 1 → 7" in remark for remark in stops.remarks)
