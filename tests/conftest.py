"""Fixtures of all test modules; their helpers are in ``support``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hypothesis import settings
from markupsafe import Markup

from onelayer.evaluation.report import pictures
from onelayer.evaluation.report.drawing import Picture
from onelayer.prediction.predictor import Predictor
from onelayer.recipe import Recipe
from onelayer.tasks.labelled import read_labelled
from onelayer.tokens.tokenizer import Tokenizer
from support import chromium
from support.from_tokens import FromTokens, MakePredictor, record_of
from support.task_cases import LONG, Case
from support.tiny_bert import MakeBert, write_bert

if TYPE_CHECKING:
    from support.page_site import Site

# Like the engines before they import OpenVINO and ONNX Runtime: no telemetry.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# Tests send SIGINT, which a shell ignores for commands in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Threads slow down models this small, and other processes may use the cores.
torch.set_num_threads(1)
settings.register_profile("onelayer", deadline=None)
settings.load_profile("onelayer")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tab" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of compiled libraries, which all tests and workers share."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "compiled"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def cache_home(
    compiled: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A new cache folder for each test, with only the compiled libraries in it."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    (folder / "onelayer").mkdir()
    (folder / "onelayer" / "libraries").symlink_to(compiled)
    return folder


@pytest.fixture(autouse=True)
def only_marked_tests_start_python(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only tests marked ``process`` start another Python, so that ``make quick`` stays quick."""
    if request.node.get_closest_marker("process"):
        return
    start = subprocess.Popen.__init__

    def checked(self: Any, args: Any, *others: Any, **named: Any) -> None:
        assert args[0] != sys.executable, "a test that starts a process is marked `process`"
        start(self, args, *others, **named)

    monkeypatch.setattr(subprocess.Popen, "__init__", checked)


@pytest.fixture(autouse=True, scope="module")
def only_marked_modules_draw(request: pytest.FixtureRequest) -> Iterator[None]:
    """Reports are written without pictures: drawing them takes longer than training a tiny model.
    Modules whose tests look at pictures are marked ``pictures``."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker("pictures"):
            blank = Picture("A picture", "0 0 1 1", Markup(""))
            patch.setattr(pictures, "svg_picture", lambda *_, **__: blank)
        yield


@pytest.fixture(scope="session")
def make_bert(tmp_path_factory: pytest.TempPathFactory) -> MakeBert:
    """Writes each random model once per session."""
    numbers = count()

    @cache
    def make(
        architecture: str = "BertModel", *, labels: tuple[str, ...] = (), **changes: object
    ) -> Path:
        folder = tmp_path_factory.mktemp(f"{architecture}-{next(numbers)}")
        write_bert(folder, architecture, labels, **changes)
        return folder

    return make


@pytest.fixture(scope="session")
def bert(make_bert: MakeBert) -> Path:
    """A pretrained BERT without a head."""
    return make_bert()


@pytest.fixture(scope="session")
def tokenizer(bert: Path) -> Tokenizer:
    return Tokenizer.read(bert)


@pytest.fixture(scope="session")
def tab() -> Iterator[chromium.Page]:
    """One browser for all tests of served pages."""
    program = chromium.find()
    if program is None:
        pytest.skip("no chromium on the PATH to open pages with")
    with chromium.browser(program) as page:
        page.ask("Emulation.setFocusEmulationEnabled", enabled=True)
        yield page


@pytest.fixture(scope="session")
def running() -> Iterator[Site]:
    from support.page_site import Site, served

    with served((site := Site()).app) as site.url:
        yield site


@pytest.fixture
def site(running: Site, tab: chromium.Page) -> Site:
    """A server of canned answers, opened in an English browser on a wide screen."""
    from support.page_site import visit

    running.refusal, running.key = None, ""
    running.bodies.clear()
    visit(tab, running.url)
    return running


@pytest.fixture(scope="session")
def bundle(make_bert: MakeBert, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier with the labels ``no`` and ``yes``, exported, so that it opens without torch."""
    from onelayer.exporting.export import export_run as export
    from onelayer.recipe import Columns

    folder = tmp_path_factory.mktemp("bundle")
    rows = folder / "dev.jsonl"
    good = json.dumps({"text": "a good cat", "label": "yes"})
    bad = json.dumps({"text": "the bad cat", "label": "no"})
    rows.write_text(f"{good}\n{bad}\n" * 5, encoding="utf-8")
    model = make_bert("BertForSequenceClassification", labels=("no", "yes"))
    columns = Columns(text="text", label="label")
    export(model, out=folder / "model", dev=rows, accept=True, columns=columns)
    return folder / "model"


@pytest.fixture(scope="session")
def make_predictor(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> MakePredictor:
    """Returns a predictor with a random model, its task fitted to a case's rows, and the rows."""

    def make(case: Case) -> tuple[Predictor, list[Any]]:
        file = case.write(tmp_path_factory.mktemp("rows"))
        recipe = Recipe(**LONG.get(case.task, {}) | case.choices)
        kind, layout, rows = read_labelled(file, recipe, lambda _: None)
        task = kind.fit(rows, tokenizer, recipe, 64)
        engine = FromTokens(len(task.outputs))
        return Predictor(task, tokenizer, engine, layout, record=record_of(task, layout)), rows

    return make
