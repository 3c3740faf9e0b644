"""Engines among threads and forks, and model files that change while a model is open.

Each file of the folder is a script for a model of its author's; the case does the same with a small
model, in every engine that is installed.
"""

from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.robustness.field_cases.case import Case, Trial, expect
from onelayer.checkpoint.bundle import read_bundle
from onelayer.engines.registry import RUN_ENGINE, engines_for
from onelayer.prediction.load import load
from onelayer.prediction.predictor import Predictor

TEXTS = [f"the {'good' if i % 2 else 'bad'} cat {'sat ' * (i % 7)}" for i in range(40)]
SECONDS = 60.0
"""For a child to end. One that waits for threads of its parent never does."""


def threads_and_forks(trial: Trial, file: Path) -> str:
    return _in_each_engine(trial, _threads_and_fork)


def overwritten(trial: Trial, file: Path) -> str:
    return _in_each_engine(trial, partial(_changed_files, cut=False))


def cut_off(trial: Trial, file: Path) -> str:
    return _in_each_engine(trial, partial(_changed_files, cut=True))


def _in_each_engine(trial: Trial, check: Callable[[Path, str], None]) -> str:
    """What happened in each engine that can run the model: each has a process of its own."""
    names = []
    for model in _models(trial):
        here = engines_for(read_bundle(model)) if (model / "onnx").exists() else (RUN_ENGINE,)
        for engine in here:
            code = _exit_code("spawn", check, model, engine)
            expect(code == 0, f"{engine} with {model.name}: {_words(code)}")
            names.append(f"{engine} ({model.name})")
    return f"the same answers in {', '.join(names)}"


def _models(trial: Trial) -> list[Path]:
    """A run and its bundles, fp32 and int8."""
    rows = trial.scratch / "engines.csv"
    rows.write_text("text,label\n" + "".join(f"{t},{i % 2}\n" for i, t in enumerate(TEXTS)))
    run = trial.trained(rows)
    models = [run]
    for name, flags in (("fp32", ()), ("int8", ("--int8",))):
        bundle = trial.scratch / name
        if not bundle.exists():
            ran = trial.onelayer("export", run, "--out", bundle, "--accept", *flags)
            expect(ran.code == 0, f"export: exit {ran.code}: {ran.err.strip()[-300:]}")
        models.append(bundle)
    return models


def _threads_and_fork(model: Path, engine: str) -> None:
    opened = _opened(model, engine)
    expected = _labels(opened, TEXTS)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: _labels(opened, TEXTS), range(12)):
            assert found == expected, "another answer in a thread"
    code = _exit_code("fork", _same_labels, opened, expected)
    assert code == 0, f"a forked child: {_words(code)}"


def _same_labels(opened: Predictor, expected: list[str]) -> None:
    assert _labels(opened, TEXTS) == expected, "another answer in a forked child"


def _changed_files(model: Path, engine: str, *, cut: bool) -> None:
    copy = model.with_name(f"{model.name}-{engine}-changed")
    shutil.copytree(model, copy, dirs_exist_ok=True)
    opened = _opened(copy, engine)
    for path in copy.rglob("model.*"):
        size = path.stat().st_size
        with path.open("r+b") as stream:
            stream.truncate(1000) if cut else stream.write(os.urandom(size))
    assert _labels(opened, TEXTS) == _labels(_opened(model, engine), TEXTS), "another answer"


def _opened(model: Path, engine: str) -> Predictor:
    return load(model, None if engine == RUN_ENGINE else engine)


def _labels(opened: Predictor, texts: list[str]) -> list[str]:
    return [str(one.headline) for one in opened.predict(texts)]


def _exit_code(method: str, work: Callable[..., None], *arguments: Any) -> int | None:
    """Of a child that is started by this method; None if it doesn't end."""
    child = multiprocessing.get_context(method).Process(target=work, args=arguments)
    child.start()
    child.join(SECONDS)
    if child.is_alive():
        child.kill()
        child.join()
        return None
    return child.exitcode


def _words(code: int | None) -> str:
    return "hangs" if code is None else f"exit {code}"


CASES = (
    Case(
        "deploy/threads_fork.py",
        "no error in any engine; a forked child answers or fails at once",
        threads_and_forks,
    ),
    Case("deploy/overwrite_in_place.py", "never another answer, never NaN", overwritten),
    Case("deploy/hot_replace.py", "no SIGBUS", cut_off),
)
