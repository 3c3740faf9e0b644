"""The WebAssembly module answers as Python does, in Node and in a browser."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from onelayer.checkpoint.single_file import write_single_file
from onelayer.prediction.formats import prediction_json
from support import chromium
from support.from_tokens import MakePredictor
from support.native_bundles import bundle_of_two, native_bundle
from support.task_cases import CASES, PASSAGE

ROOT = Path(__file__).parents[1]
MODULE = ROOT / "js" / "onelayer.wasm"
SHOWN = ("classify", "classify multi-label", "classify pairs", "regress", "tag IOB2", "tag spans")
ASKED = {case.name: case for case in CASES if case.name in (*SHOWN, "answer or none", "choose")}
TWO = ", two models"
TEXT = "🙂 The good Cat of 北京, and e\u0301 bad cats"
NEAR = 1e-3
"""Products are rounded before they are added there, which may tip a number of eight bits over."""


def why_not() -> str | None:
    if not MODULE.is_file():
        return "no js/onelayer.wasm (make wasm; needs Emscripten)"
    newest = max(path.stat().st_mtime for path in (ROOT / "csrc").rglob("*") if path.is_file())
    return "js/onelayer.wasm is older than csrc (make wasm)" if newest > built() else None


def built() -> float:
    return MODULE.stat().st_mtime


pytestmark = pytest.mark.skipif(why_not() is not None, reason=why_not() or "")


def inputs_of(task: str, name: str) -> tuple[Any, dict[str, Any]]:
    """An input as Python takes it, and as JavaScript does."""
    if task == "answer":
        return {"question": "where? 🙂", "context": PASSAGE}, {
            "question": "where? 🙂",
            "text": PASSAGE,
        }
    if task == "choose":
        options = ["a cat", "🙂", "the bad"]
        return {"context": TEXT, "options": options}, {"text": TEXT, "options": options}
    if "pairs" in name:
        return (TEXT, "a cat"), {"text": TEXT, "pair": "a cat"}
    return TEXT, {"text": TEXT}


def utf16(text: str, point: int) -> int:
    return len(text[:point].encode("utf-16-le")) // 2


def wanted_of(text: str, found: dict[str, Any]) -> dict[str, Any]:
    """A prediction of Python as JavaScript has it."""
    names = {"label_set": "labelSet", "no_answer_score": "noAnswerScore"}
    found = {names.get(key, key): value for key, value in found.items() if key != "id"}
    if "tags" in found:
        del found["text"]
        words = zip(found["words"], found.pop("tags"), strict=True)
        found["words"] = [{"text": word, "tag": tag} for word, tag in words]
    for span in (found, *found.get("entities", ()), *found.get("candidates", ())):
        if isinstance(span.get("start"), int):
            span["start"], span["end"] = utf16(text, span["start"]), utf16(text, span["end"])
    return found


def assert_same(found: Any, wanted: Any) -> None:
    if isinstance(wanted, dict):
        for key in wanted:
            assert_same(found[key], wanted[key])
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_same(one, other)
    elif isinstance(wanted, float):
        assert found == pytest.approx(wanted, rel=NEAR, abs=NEAR)
    else:
        assert found == wanted


SCRIPT = """
import { readFileSync } from "node:fs";
const { Onelayer, OnelayerError } = await import(process.argv[1]);
const asked = JSON.parse(readFileSync(0, "utf8"));
const found = {};
for (const [name, { file, inputs }] of Object.entries(asked)) {
    const model = await Onelayer.open(readFileSync(file));
    found[name] = model.predictAll(inputs);
    for (const span of [found[name][0], ...(found[name][0].entities ?? [])])
        if (span.start != null && inputs[0].text.slice(span.start, span.end) !== span.text)
            throw new Error(`${name}: ${JSON.stringify(span)}`);
    model.close();
}
const refused = await Onelayer.open(new Uint8Array(100)).catch((error) => error);
found.refused = [refused instanceof OnelayerError, refused.message];
console.log(JSON.stringify(found));
"""


def test_module_is_small() -> None:
    assert MODULE.stat().st_size < 300_000


def test_javascript_answers_as_python(make_predictor: MakePredictor, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node")
    asked, wanted = {}, {}
    bundles = {
        name: native_bundle(tmp_path / name, make_predictor(case)[0])
        for name, case in ASKED.items()
    }
    for name, margin in {"classify": 0.0, "tag IOB2": 1e9}.items():  # one model for all, each
        two = f"{name}{TWO}"
        bundles[two] = bundle_of_two(tmp_path / two, make_predictor(ASKED[name])[0], margin)
    for name, bundle in bundles.items():
        case = ASKED[name.removesuffix(TWO)]
        file = tmp_path / f"{name}.onelayer"
        write_single_file(bundle.folder, file)
        ours, theirs = inputs_of(case.task, name)
        asked[name] = {"file": str(file), "inputs": [theirs]}
        found = next(iter(bundle.predictor.predict([ours])))
        wanted[name] = wanted_of(theirs["text"], json.loads(prediction_json(found)))
    command = [node, "--input-type=module", "-e", SCRIPT, (ROOT / "js/onelayer.js").as_uri()]
    run = subprocess.run(
        command, input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    answers = json.loads(run.stdout)
    ours, message = answers.pop("refused")
    assert ours
    assert "--single-file" in message
    for name, prediction in wanted.items():
        assert_same(answers[name][0], prediction)


@pytest.fixture
def page(tab: chromium.Page, make_predictor: MakePredictor, tmp_path: Path) -> Iterator[str]:
    """The demo page with a tagger next to it, from a server of files."""
    shutil.copytree(ROOT / "js", tmp_path / "site")
    bundle = native_bundle(tmp_path / "bundle", make_predictor(ASKED["tag spans"])[0])
    write_single_file(bundle.folder, tmp_path / "site" / "towns.onelayer")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "site")))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_demo_page_answers_without_a_server(page: str, tab: chromium.Page) -> None:
    tab.events.clear()
    tab.look(800, "light")
    tab.open(f"{page}/demo.html?model=towns.onelayer")
    tab.until("document.getElementById('status').textContent.includes('tag, opened')")
    requests = len(tab.requests())
    tab.value("document.getElementById('text').focus()")
    tab.write(TEXT)
    tab.until("document.querySelector('#found mark')")
    shown = tab.value(
        "[...document.querySelector('#found p').childNodes].map(n => n.firstChild?.data ?? n.data)"
    )
    assert "".join(shown) == TEXT
    assert len(tab.requests()) == requests
    assert tab.errors() == []
