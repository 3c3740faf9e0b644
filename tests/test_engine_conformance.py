"""What every engine promises: threads, forks, spawned processes, pickles, empty input, memory that
doesn't grow with the shapes of batches, and weights that are its own."""

from __future__ import annotations

import gc
import json
import math
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import onelayer
from onelayer.base.errors import CheckpointError, OneLayerError, UsageError
from onelayer.base.machine import give_memory_back
from onelayer.engines import torch_engine
from onelayer.engines.native.library import library
from onelayer.engines.registry import ENGINES, engine_names
from onelayer.exporting.export import export_run
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Columns
from onelayer.tokens.encodings import EncodingsBuilder
from support.predictions import assert_same_predictions
from support.tiny_bert import MakeBert

pytestmark = [pytest.mark.slow, pytest.mark.process]

TEXTS = ["the cat is good " * (i % 9 + 1) + "bad" * (i % 2) for i in range(30)]
SECONDS = 60.0
"""For a child to end. One that waits for threads of its parent never does."""
GROWTH = 96 << 20
"""Bytes by which an engine may grow in a thousand batches of new shapes."""
ROOMS = {"native": "int8", "torch": "run"}
"""Of the model that an engine runs; the others run fp32 bundles."""


@pytest.fixture(scope="module")
def models(make_bert: MakeBert, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A model as a run and as bundles, wide enough for the native engine."""
    folder = tmp_path_factory.mktemp("models")
    rows = folder / "dev.jsonl"
    lines = [{"text": text, "label": "yes" if i % 2 else "no"} for i, text in enumerate(TEXTS)]
    rows.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    wide = {"hidden_size": 64, "num_attention_heads": 2, "intermediate_size": 128}
    found = {"run": make_bert("BertForSequenceClassification", labels=("no", "yes"), **wide)}
    columns = Columns(text="text", label="label")
    for name, int8 in (("fp32", False), ("int8", True)):
        found[name] = folder / name
        export_run(found["run"], out=found[name], int8=int8, dev=rows, accept=True, columns=columns)
    return found


@pytest.fixture(params=engine_names())
def engine(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "openvino":
        pytest.importorskip("openvino")
    if name == "native" and library()[0] is None:
        pytest.skip(str(library()[1]))
    return name


@pytest.fixture
def opened(engine: str, models: dict[str, Path]) -> Predictor:
    return open_in(engine, models[ROOMS.get(engine, "fp32")])


def open_in(engine: str, path: Path) -> Predictor:
    return onelayer.load(path, None if engine == "torch" else engine)


def test_every_engine_is_tested() -> None:
    assert set(engine_names()) == {*ENGINES, "torch"}


def test_threads_get_the_answers_of_one_thread(opened: Predictor) -> None:
    parts = [TEXTS[i : i + 5] for i in range(20)]
    expected = [opened.predict(part) for part in parts]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(opened.predict, parts))
    for ours, theirs in zip(found, expected, strict=True):
        assert_same_predictions(ours, theirs)


def test_no_text_has_no_logits(opened: Predictor) -> None:
    assert opened.predict([]) == []
    empty = EncodingsBuilder().build(examples_are_rows=True)
    assert opened.engine.logits(empty).shape[0] == 0


@pytest.mark.parametrize("use", ["answers", "loads it again", "only ends"])
def test_forked_child_answers_and_ends(use: str, opened: Predictor, engine: str) -> None:
    """The parent has predicted with several threads."""
    with several_threads():
        expected = opened.predict(TEXTS)
        assert opened.path is not None

        def work() -> None:
            model = open_in(engine, opened.path or Path()) if use == "loads it again" else opened
            if use != "only ends":
                assert_same_predictions(model.predict(TEXTS), expected)

        assert exit_code_of_fork(work) == 0


@contextmanager
def several_threads() -> Iterator[None]:
    """As in a user's process: the other tests compute on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def exit_code_of_fork(work: Callable[[], None]) -> int | None:
    """The exit code of a forked child that ends as Python does; None if it doesn't end."""
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_end_as_python_does, args=(work,))
    child.start()
    child.join(SECONDS)
    if child.is_alive():
        child.kill()
        child.join()
        return None
    return child.exitcode


def _end_as_python_does(work: Callable[[], None]) -> None:
    """A `Process` ends by `os._exit`, which frees nothing: free what the fork has inherited."""
    work()
    work = None  # type: ignore[assignment]
    gc.collect()


def test_spawned_process_gets_a_model_by_its_path(opened: Predictor) -> None:
    sent = pickle.dumps(opened)
    assert len(sent) < 20_000, "a pickle holds the path, and no weights"
    again = pickle.loads(sent)
    assert again.engine.name == opened.engine.name
    assert_same_predictions(again.predict(TEXTS), opened.predict(TEXTS))
    program = "import pickle, sys; model, texts = pickle.load(sys.stdin.buffer); "
    program += "print(model.engine.name, *(one.label for one in model.predict(texts)))"
    told = subprocess.run(
        [sys.executable, "-c", program],
        input=pickle.dumps((opened, TEXTS)),
        capture_output=True,
        check=True,
    )
    labels = [one.label for one in opened.predict(TEXTS)]
    assert told.stdout.decode().split() == [opened.engine.name, *labels]


def test_memory_is_bounded_over_batches_of_new_shapes(opened: Predictor) -> None:
    lengths = np.random.default_rng(0).permutation(np.arange(1000))

    def run(numbers: Any) -> None:
        for number in numbers:
            builder = EncodingsBuilder()
            for _ in range(number % 40 + 1):
                builder.start_row()
                builder.add([7] * (number // 40 + 2), number // 40 + 2, (0,))
            opened.engine.logits(builder.build(examples_are_rows=True))
        give_memory_back()

    run(lengths[:100])
    before = resident()
    run(lengths[100:])
    assert resident() - before < GROWTH


def resident() -> int:
    """Bytes of memory that this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("change", ["other bytes", "cut off", "gone"])
def test_answers_do_not_change_with_the_files(
    change: str, engine: str, models: dict[str, Path], tmp_path: Path
) -> None:
    """As when another model is copied over a served one. A mapped file would kill the process or
    give wrong answers."""
    folder = tmp_path / "model"
    shutil.copytree(models[ROOMS.get(engine, "fp32")], folder)
    opened = open_in(engine, folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        size = path.stat().st_size
        if change == "gone":
            path.unlink()
        else:
            with path.open("r+b") as file:
                if change == "cut off":
                    file.truncate(size // 100)
                else:
                    file.write(os.urandom(size))
    found = opened.predict(TEXTS)  # the first batch: nothing was read ahead
    whole = open_in(engine, models[ROOMS.get(engine, "fp32")])
    assert_same_predictions(found, whole.predict(TEXTS))
    with pytest.raises(OneLayerError) as refused:
        open_in(engine, folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_numbers_that_are_not_finite_are_refused(
    bad: float, opened: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(opened.engine)
    right = kind.logits

    def spoiled(self: Any, encodings: Any) -> Any:
        logits = right(self, encodings)
        logits[-1, -1] = bad
        return logits

    monkeypatch.setattr(kind, "logits", spoiled)
    monkeypatch.setattr(Predictor, "row_model", lambda self: None)  # it would not call that
    with pytest.raises(CheckpointError, match=r": its answers are not finite numbers \("):
        opened.predict(TEXTS)
    with pytest.raises(CheckpointError, match="not finite"):
        onelayer.predict(opened, TEXTS)


def test_forked_process_is_refused_a_gpu(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_in("torch", models["run"])
    engine = opened.engine
    assert isinstance(engine, torch_engine.TorchEngine)
    monkeypatch.setattr(engine, "_process", -1)  # another process has made it
    assert opened.predict(TEXTS[:1])
    engine.model.to("meta")
    with pytest.raises(UsageError, match="a forked process can't compute on its parent's GPU"):
        opened.predict(TEXTS[:1])
