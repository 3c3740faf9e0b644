"""OpenVINO and ONNX Runtime give the same logits for a bundle's graph."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from onelayer.base.errors import CheckpointError
from onelayer.base.machine import instructions
from onelayer.base.model_files import read_json
from onelayer.checkpoint.config import EncoderConfig
from onelayer.engines.onnx_engine import OnnxEngine
from onelayer.engines.torch_engine import TorchEngine
from onelayer.exporting.calibrate import ranges
from onelayer.exporting.products import Calibrated, Product, in_float
from onelayer.prediction.load import load
from onelayer.tokens.encodings import Encodings
from support.graphs import state_of, write_graph
from support.tiny_bert import MakeBert

pytest.importorskip("openvino")

from onelayer.engines.openvino_engine import OpenVinoEngine

pytestmark = pytest.mark.slow

CASES = {
    "BertForSequenceClassification": [
        "a cat",
        "the cat is good " * 5,
        "bad",
        "good cats, bad cats",
    ],
    "BertForTokenClassification": ["a cat", "the cat is good " * 5, "bad"],
    "BertForQuestionAnswering": [("who", "the cat is good"), ("what is bad", "cats " * 20)],
    "BertForMultipleChoice": [
        ("a cat", "is", ["good", "bad"]),
        ("the cat", "was", ["a", "b", "cats"]),
    ],
}


def graph_of(
    folder: Path, run: Path, inputs: list[object], *, int8: bool
) -> tuple[Path, Encodings]:
    """The run's exported graph, and the encoded inputs."""
    predictor = load(run)
    assert isinstance(predictor.engine, TorchEngine)
    rows = [predictor.row_of(item, i) for i, item in enumerate(inputs)]
    encodings = predictor.task.encode(rows, predictor.tokenizer, labelled=False)
    data = read_json(run / "config.json")
    config, architecture = EncoderConfig.from_json(data, run), data["architectures"][0]
    state = state_of(predictor.engine.model)
    product: Product = in_float
    if int8:
        product = Calibrated(ranges(state, config, architecture, encodings))
    return write_graph(folder, state, config, architecture, product), encodings


@pytest.mark.parametrize("architecture", CASES)
def test_fp32_logits_equal_onnx_runtime(
    architecture: str, make_bert: MakeBert, tmp_path: Path
) -> None:
    labels = ("a", "b", "c") if "Classification" in architecture else ()
    run = make_bert(architecture, labels=labels)
    graph, encodings = graph_of(tmp_path, run, CASES[architecture], int8=False)
    found, expected = (e(graph, 1).logits(encodings) for e in (OpenVinoEngine, OnnxEngine))
    assert found.shape == (len(encodings.reads), 3 if labels else found.shape[1])
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.skipif(
    "ONEDNN_MAX_CPU_ISA" in os.environ or not {"avx512_vnni", "avx_vnni"} & instructions(),
    reason="without VNNI OpenVINO adds two products in 16 bits, which can overflow",
)
def test_int8_logits_are_near_onnx_runtime(make_bert: MakeBert, tmp_path: Path) -> None:
    run = make_bert("BertForSequenceClassification", labels=("a", "b"))
    inputs = CASES["BertForSequenceClassification"]
    graph, encodings = graph_of(tmp_path, run, inputs, int8=True)
    found, expected = (e(graph, 1).logits(encodings) for e in (OpenVinoEngine, OnnxEngine))
    # A number halfway between two steps may be rounded either way.
    np.testing.assert_allclose(found, expected, atol=0.05 * np.ptp(expected))


@pytest.mark.parametrize(
    ("processor", "refused"),
    [
        (frozenset({"avx2", "avx512f"}), True),
        (frozenset({"avx2", "avx_vnni"}), False),
        (frozenset({"asimd", "asimddp"}), False),
        (frozenset(), False),
    ],
)
def test_static_int8_is_refused_where_its_sums_overflow(
    processor: frozenset[str], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onelayer.engines.openvino_engine.instructions", lambda: processor)
    bundle: Any = SimpleNamespace(precision="int8", export=SimpleNamespace(activations="static"))

    reason = OpenVinoEngine.why_not(bundle)

    assert ("overflow" in (reason or "")) is refused


def test_invalid_graph_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(CheckpointError, match=r"model\.onnx: OpenVINO: .+") as caught:
        OpenVinoEngine(tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)


@pytest.mark.process
def test_opening_the_engine_sends_and_writes_nothing(tmp_path: Path) -> None:
    code = """
import socket, sys

def refuse(*_, **__):
    raise AssertionError("a socket was asked for")

socket.socket.connect = socket.socket.sendto = socket.getaddrinfo = refuse
from onelayer.engines.openvino_engine import quiet_openvino
quiet_openvino()
assert sys.modules["openvino_telemetry"] is None
"""
    home = {**os.environ, "HOME": str(tmp_path)}

    subprocess.run([sys.executable, "-c", code], env=home, check=True)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.process
def test_signal_arrives_after_two_models_are_freed(make_bert: MakeBert, tmp_path: Path) -> None:
    run = make_bert("BertForSequenceClassification", labels=("a", "b"))
    graph, _ = graph_of(tmp_path, run, ["a cat"], int8=False)
    program = (
        "import signal\n"
        "from pathlib import Path\n"
        "from onelayer.engines.openvino_engine import OpenVinoEngine\n"
        f"one, other = (OpenVinoEngine(Path({str(graph)!r})) for _ in range(2))\n"
        "del one\n"  # in the order in which they were made
        "del other\n"
        "signal.signal(signal.SIGINT, lambda *_: print('arrived'))\n"
        "signal.raise_signal(signal.SIGINT)\n"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "arrived\n"), ran.stderr
