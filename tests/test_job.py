"""A file of predictions has the same bytes however often its job was stopped."""

from __future__ import annotations

import errno
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import onelayer
from onelayer.base.errors import DataError, OneLayerError, UsageError
from onelayer.cli import main as cli
from onelayer.data.layout import Layout
from onelayer.prediction import formats, job, predictor, streams
from onelayer.prediction.job import predict_to, write_to
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns
from onelayer.tasks import Classify, Regress
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer

pytestmark = pytest.mark.slow

ROWS = 23
TEXTS = [f"the cat {i} is {'good' if i % 3 else 'bad'}" for i in range(ROWS)]
FORMS = ("jsonl", "csv", "parquet")


class RecordingWatch:
    def __init__(self) -> None:
        self.remarks: list[str] = []
        self.seen: list[tuple[int, float | None]] = []

    def say(self, remark: str) -> None:
        self.remarks.append(remark)

    def rows(self, done: int, share: float | None) -> None:
        self.seen.append((done, share))


class LengthsAsLogits:
    """An engine whose logits depend on the row and on its batch."""

    name = "lengths"

    def __init__(self) -> None:
        self.rows = 0

    def logits(self, encodings: Encodings) -> Logits:
        self.rows += len(encodings)
        return np.stack([encodings.lengths, np.full_like(encodings.lengths, len(encodings))], 1) / 9


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (streams, predictor):
        monkeypatch.setattr(module, "CHUNK", 4)
    monkeypatch.setattr(job, "SECONDS_BETWEEN_STATES", 0.0)


@pytest.fixture
def model(tokenizer: Tokenizer, bert: Path) -> Predictor:
    task = Classify(labels=("no", "yes"), max_length=12)
    return Predictor(task, tokenizer, LengthsAsLogits(), Layout({"text": "text"}), path=bert)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    lines = [f"{i},{text}" for i, text in enumerate(TEXTS)]
    path.write_text("\n".join(["number,text", *lines]) + "\n", encoding="utf-8")
    return path


def write(
    model: Predictor, file: Path, out: Path, form: str, watch: RecordingWatch | None = None
) -> int:
    return predict_to(out, replace(model), file, Columns(), form, watch or RecordingWatch())


class Killed(BaseException):
    """Stands for the death of the process: nothing is cleaned up."""


def die_at(at: int, patch: pytest.MonkeyPatch) -> None:
    """Raises ``Killed`` at the ``at``-th disk operation, or in the middle of its write."""
    left = iter(range(at))

    def step() -> None:
        if next(left, None) is None:
            raise Killed

    def before(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*arguments: Any, **more: Any) -> Any:
            step()
            return function(*arguments, **more)

        return called

    append = job._Part.append

    def append_half(part: Any, form: Any, chunk: Any) -> None:
        whole = form.body

        def half(rows: Any) -> bytes:
            data: bytes = whole(rows)
            try:
                step()
            except Killed:
                part.stream.write(data[: len(data) // 2])
                raise
            return data

        form.body = half
        try:
            append(part, form, chunk)
        finally:
            form.body = whole

    patch.setattr(job._Part, "append", append_half)
    patch.setattr(job, "rewrite", before(job.rewrite))
    patch.setattr(job.os, "fsync", before(os.fsync))
    patch.setattr(Path, "replace", before(Path.replace))
    patch.setattr(Path, "unlink", before(Path.unlink))


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@given(deaths=st.lists(st.integers(0, 22), max_size=3))
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_killed_job_resumes_and_writes_the_same_bytes(
    form: str, deaths: list[int], model: Predictor, rows: Path, tmp_path: Path
) -> None:
    straight, out = tmp_path / f"straight.{form}", tmp_path / f"out.{form}"
    assert write(model, rows, straight, form) == ROWS

    for at in deaths:
        with pytest.MonkeyPatch.context() as patch:
            die_at(at, patch)
            with suppress(Killed):
                write(model, rows, out, form)
    assert write(model, rows, out, form) == ROWS

    assert out.read_bytes() == straight.read_bytes()
    assert not list(tmp_path.glob("out.*part*"))


def test_resumed_job_does_not_predict_written_rows_again(
    model: Predictor, rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        die_at(11, patch)
        with pytest.raises(Killed):
            write(model, rows, out, "jsonl")
    assert not out.exists()
    kept = json.loads((tmp_path / "out.jsonl.part.json").read_text())["rows"]
    watch = RecordingWatch()
    again = replace(model, engine=LengthsAsLogits())

    assert predict_to(out, again, rows, Columns(), "jsonl", watch) == ROWS

    assert kept >= 8
    assert again.engine.rows == ROWS - kept
    assert watch.remarks[0] == f"{kept} rows are in out.jsonl.part already: resuming from there"
    assert watch.seen[-1] == (ROWS, pytest.approx((ROWS + 1) / (ROWS + 1), abs=0.1))


@pytest.mark.parametrize("change", ["file", "task", "format", "state", "part"])
def test_part_file_of_another_job_is_not_resumed(
    change: str, model: Predictor, rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        die_at(11, patch)
        with pytest.raises(Killed):
            write(model, rows, out, "jsonl")
    form = "jsonl"
    if change == "file":
        rows.write_text(rows.read_text().replace("cat 3", "dog 3"))
    elif change == "task":
        model = replace(model, task=replace(model.task, max_length=11))
    elif change == "format":
        form = "csv"
    elif change == "state":
        (tmp_path / "out.part.json").write_text("[")
    else:
        (tmp_path / "out.part").write_bytes(b"")
    watch = RecordingWatch()

    write(model, rows, out, form, watch)

    assert "rows are in" not in watch.remarks[0]
    write(model, rows, tmp_path / "straight", form)
    assert out.read_bytes() == (tmp_path / "straight").read_bytes()


def test_interrupted_job_reports_the_rows_it_keeps(
    model: Predictor, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Impatient(RecordingWatch):
        def rows(self, done: int, share: float | None) -> None:
            if done == 8:
                raise KeyboardInterrupt

    watch = Impatient()
    monkeypatch.setattr(job, "SECONDS_BETWEEN_STATES", 1e9)
    with pytest.raises(KeyboardInterrupt):
        write(model, rows, tmp_path / "out.csv", "csv", watch)

    assert watch.remarks[-1] == "8 rows are kept in out.csv.part: the same command resumes"
    watch = RecordingWatch()
    assert write(model, rows, tmp_path / "out.csv", "csv", watch) == ROWS
    assert watch.remarks[0].startswith("8 rows are in")


def test_second_process_on_the_same_output_is_refused(
    model: Predictor, rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.csv"

    class Meanwhile(RecordingWatch):
        def rows(self, done: int, share: float | None) -> None:
            with pytest.raises(UsageError, match="another process is writing it"):
                write(model, rows, out, "csv")

    assert write(model, rows, out, "csv", Meanwhile()) == ROWS


def test_job_resumes_after_a_full_disk(model: Predictor, rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    class Filling(RecordingWatch):
        def rows(self, done: int, share: float | None) -> None:
            if done == 12:
                patch.setattr(job.os, "fsync", full)

    message = r"No space left on device.*resumes from there"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(OneLayerError, match=message):
        write(model, rows, out, "csv", Filling())
    watch = RecordingWatch()
    assert write(model, rows, out, "csv", watch) == ROWS
    assert watch.remarks[0].startswith("12 rows are in")


def test_parquet_output_keeps_column_types(model: Predictor, tmp_path: Path) -> None:
    given = pa.table(
        {
            "text": pa.array(TEXTS, pa.large_string()),
            "small": pa.array(range(ROWS), pa.int8()),
            "day": pa.array([date(2026, 1, 1)] * ROWS),
            "empty": pa.array([None] * (ROWS - 1) + ["late"]),
            "nested": pa.array([["a", "京"]] * ROWS),
        }
    )
    pq.write_table(given, tmp_path / "rows.parquet")

    write(model, tmp_path / "rows.parquet", tmp_path / "out.parquet", "parquet")

    out = pq.read_table(tmp_path / "out.parquet")
    assert out.schema.names == [*given.schema.names, "prediction", "prediction_json"]
    for name in ("text", "small", "day", "empty"):
        assert out.schema.field(name).type == given.schema.field(name).type
        assert out[name].to_pylist() == given[name].to_pylist()
    assert out["nested"][0].as_py() == '["a", "京"]'


def test_regression_output_is_a_numeric_column(
    model: Predictor, rows: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    class Halves:
        name = "halves"

        def logits(self, encodings: Encodings) -> Logits:
            return np.full((len(encodings), 1), 0.5)

    model = replace(model, task=Regress(max_length=12), engine=Halves())
    write(model, rows, tmp_path / "out.parquet", "parquet")
    assert pq.read_table(tmp_path / "out.parquet")["prediction"].to_pylist() == [0.5] * ROWS


def test_column_that_changes_type_is_refused_for_parquet(model: Predictor, tmp_path: Path) -> None:
    lines = [{"text": text, "mark": i if i < 9 else "none"} for i, text in enumerate(TEXTS)]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(DataError, match=r"column 'mark' is int64 in the first rows.*write jsonl"):
        write(model, file, tmp_path / "out.parquet", "parquet")
    assert write(model, file, tmp_path / "out.jsonl", "jsonl") == ROWS


@pytest.mark.parametrize("form", FORMS)
def test_lone_surrogate_is_written(form: str, model: Predictor, rows: Path, tmp_path: Path) -> None:
    task = Classify(labels=("\ud83d", "\ud83e"), max_length=12)
    assert write(replace(model, task=task), rows, tmp_path / f"out.{form}", form) == ROWS
    assert b"\\ud83" in (tmp_path / f"out.{form}").read_bytes()


@pytest.mark.parametrize("form", FORMS)
def test_empty_input_writes_an_empty_file(form: str, tmp_path: Path) -> None:
    out = tmp_path / f"out.{form}"
    assert write_to(out, iter([[]]), form) == 0
    if form == "parquet":
        assert pq.read_table(out).num_rows == 0
    else:
        assert out.read_bytes() == b""


def test_line_is_answered_before_the_next_one_arrives(model: Predictor) -> None:
    answered = threading.Event()

    def lines() -> Iterator[str]:
        yield "good cat\n"
        assert answered.wait(10), "the first line has no answer"
        yield "\n"
        yield '{"text": "bad cat", "more": 1}\n'

    answers = streams.predict_lines(model, lines())
    (first,) = next(answers)
    answered.set()
    rest = [row for chunk in answers for row in chunk]

    assert first.values == {"text": "good cat"}
    assert [row.values for row in rest] == [{"text": "bad cat", "more": 1}]


def test_read_error_of_a_pipe_is_raised(model: Predictor) -> None:
    def lines() -> Iterator[str]:
        yield "good cat\n"
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with pytest.raises(OSError, match="Input/output"):
        list(streams.predict_lines(model, lines()))


def test_unknown_output_format_is_refused() -> None:
    assert set(formats.OUTPUT_FORMATS) == set(FORMS)
    with pytest.raises(UsageError, match="no format 'xml'"):
        formats.output_format("xml")


# What --out may be -------------------------------------------------------------------------------


def test_predictions_go_into_a_pipe_or_device_and_through_a_link(
    model: Predictor, rows: Path, tmp_path: Path
) -> None:
    straight, pipe = tmp_path / "straight", tmp_path / "pipe"
    real, link = tmp_path / "real.jsonl", tmp_path / "link.jsonl"
    write(model, rows, straight, "jsonl")
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    found = onelayer.predict(model, rows, out=pipe)
    reader.join()
    assert found.rows == ROWS
    assert found.out == str(pipe)
    assert got == [straight.read_bytes()]
    assert pipe.is_fifo()
    assert onelayer.predict(model, rows, out="/dev/null").rows == ROWS
    assert Path("/dev/null").is_char_device()
    link.symlink_to(real.name)
    onelayer.predict(model, rows, out=link)
    assert link.is_symlink()
    assert real.read_bytes() == straight.read_bytes()
    names = {"straight", "pipe", "real.jsonl", "link.jsonl", rows.name}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_full_device_is_named(model: Predictor, rows: Path) -> None:
    with pytest.raises(OneLayerError, match=r"^/dev/full: can't be written: No space left"):
        onelayer.predict(model, rows, out="/dev/full")


@pytest.mark.parametrize("command", ["predict", "report"])
def test_output_that_is_a_directory_is_refused_before_the_model_is_read(
    command: str, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    missing = str(tmp_path / "no model")
    for out, reason in (("out", "is a directory"), ("no/out", "no such directory")):
        assert cli.main([command, missing, str(rows), "--out", str(tmp_path / out)]) == 2
        assert reason in capsys.readouterr().err
