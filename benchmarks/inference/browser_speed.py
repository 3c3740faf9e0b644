"""How quick is onelayer.wasm next to transformers.js, in the same browser? One int8 bundle of a
classifier, one thread each, texts by turns.

    make wasm
    npm install --prefix runs/peers @huggingface/transformers
    python -m benchmarks.inference.browser_speed BUNDLE --peers runs/peers
    python -m benchmarks.inference.browser_speed BUNDLE --peers runs/peers --rounds 5

BUNDLE is a directory that ``onelayer export --int8`` wrote. transformers.js reads the same graph
and weights, put into one file as it wants them. Both start from a text and end with a label.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any

import onnx

from benchmarks.support.machine import machine
from onelayer.checkpoint.single_file import write_single_file

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from support import chromium  # noqa: E402

ORT = "/peers/onnxruntime-web/dist/"
SENTENCE = "the film is a charming and often affecting journey through ordinary lives . "
LENGTHS = {"8 words": SENTENCE[:42], "a sentence": SENTENCE, "a paragraph": SENTENCE * 7}
"""The paragraph has about 100 tokens."""

PAGE = """<!doctype html><script type="importmap">{"imports": {
"onnxruntime-common": "/peers/onnxruntime-common/dist/esm/index.js",
"onnxruntime-web/webgpu": "RUNTIME"}}</script>
<script type="module">
import { env, pipeline } from "/peers/@huggingface/transformers/dist/transformers.web.js";
import { Onelayer } from "/js/onelayer.js";
env.allowRemoteModels = false;
env.allowLocalModels = true;
env.localModelPath = "/models/";
env.backends.onnx.wasm.wasmPaths = "FOLDER";
env.backends.onnx.wasm.numThreads = 1;
const timed = async (open) => {
    const began = performance.now();
    const call = await open();
    await call("x");
    return [call, performance.now() - began];
};
window.open_both = async () => {
    const [theirs, theirOpening] = await timed(async () => {
        const how = { dtype: "q8", device: "wasm" };
        const found = await pipeline("text-classification", "peer", how);
        return async (text) => (await found(text))[0];
    });
    const [ours, ourOpening] = await timed(async () => {
        const model = await Onelayer.open("/models/ours.onelayer");
        return async (text) => model.predict(text);
    });
    window.calls = [ours, theirs];
    return [ourOpening, theirOpening];
};
window.labels = async (text) => [(await calls[0](text)).label, (await calls[1](text)).label];
window.take_turns = async (text) => {
    const times = [[], []];
    for (const [i, call] of calls.entries())
        for (let j = 0; j < 5; j++) {
            const began = performance.now();
            await call(text);
            times[i].push(performance.now() - began);
        }
    return times;
};
</script>"""


class Files(SimpleHTTPRequestHandler):
    """Serves files to a page that may use precise clocks and shared memory."""

    extensions_map = {  # noqa: RUF012
        **SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def lay_out(bundle: Path, peers: Path, site: Path) -> None:
    """The folder that is served: both models, both libraries, and the page."""
    models = site / "models" / "peer"
    (models / "onnx").mkdir(parents=True)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(bundle / name, models)
    onnx.save(onnx.load(bundle / "onnx" / "model.onnx"), models / "onnx" / "model_quantized.onnx")
    write_single_file(bundle, site / "models" / "ours.onelayer")
    (site / "peers").symlink_to((peers / "node_modules").resolve())
    (site / "js").symlink_to(ROOT / "js")
    page = PAGE.replace("RUNTIME", f"{ORT}ort.wasm.bundle.min.mjs").replace("FOLDER", ORT)
    (site / "index.html").write_text(page, encoding="utf-8")


@contextmanager
def served(site: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()


def measured(tab: chromium.Page, text: str, rounds: int) -> tuple[list[list[float]], list[Any]]:
    """The milliseconds of either library's calls, and what each answered."""
    said = json.dumps(text)
    labels = tab.value(f"labels({said})")
    times: list[list[float]] = [[], []]
    for _ in range(rounds):
        for some, more in zip(times, tab.value(f"take_turns({said})"), strict=True):
            some += more
    return times, labels


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--peers", type=Path, required=True, help="where npm installed the peer")
    parser.add_argument("--rounds", type=int, default=10, help="turns of five calls each")
    arguments = parser.parse_args()
    program = chromium.find()
    if program is None:
        sys.exit("no chromium on the PATH")
    with tempfile.TemporaryDirectory() as folder:
        lay_out(arguments.bundle, arguments.peers, Path(folder))
        with served(Path(folder)) as url, chromium.browser(program) as tab:
            tab.open(url)
            tab.until("window.take_turns")
            opening = tab.value("open_both()")
            rows = {name: measured(tab, text, arguments.rounds) for name, text in LENGTHS.items()}
            version = tab.ask("Browser.getVersion")["product"]
    package = arguments.peers / "node_modules" / "@huggingface" / "transformers" / "package.json"
    print(machine())
    print(f"{version}; transformers.js {json.loads(package.read_text())['version']}; one thread")
    ours, theirs = opening
    print(f"open and answer once, ms: onelayer {ours:.0f}, transformers.js {theirs:.0f}")
    print("| text | onelayer, ms: least, median | transformers.js | ratio of the least | labels |")
    print("|---|---|---|---|---|")
    for name, (times, labels) in rows.items():
        one, other = times
        shown = [f"{min(some):.1f}, {median(some):.1f}" for some in times]
        said = "equal" if len(set(labels)) == 1 else " / ".join(map(str, labels))
        print(f"| {name} | {shown[0]} | {shown[1]} | {min(other) / min(one):.2f} | {said} |")


if __name__ == "__main__":
    main()
