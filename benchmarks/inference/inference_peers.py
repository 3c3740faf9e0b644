"""The engines that inference_speed.py compares with, each quantized by its own tools and run as its
documentation advises. They share no code with onelayer, from texts to answers.

A rectangle (B, L) of padded tokens goes in, and out come logits (B, C), or (B, L, 2) for starts and
ends of answers.
"""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

# No peer sends telemetry: without this package OpenVINO and NNCF send nothing.
sys.modules.setdefault("openvino_telemetry", None)

Ints = NDArray[np.integer]
Floats = NDArray[np.floating]

PEERS = {
    "ONNX Runtime": ("dynamic.onnx", "dynamic-fused.onnx", "static.onnx"),
    "OpenVINO": ("openvino.xml",),
    "CTranslate2": ("ctranslate2",),
}
CALIBRATION_BATCHES, CALIBRATION_ROWS = 40, 8


@dataclass(frozen=True, slots=True)
class Setting:
    """A peer's setting: the file, the number of parallel batches and of threads for each, and the
    rows of a batch, or its tokens with padding if ``budget`` is not None."""

    file: str
    streams: int
    threads: int
    batch_size: int = 32
    budget: int | None = None

    def __str__(self) -> str:
        size = f"{self.budget} tokens" if self.budget else f"{self.batch_size} rows"
        return f"{self.file}, {self.streams} × {self.threads} threads, batches of {size}"


class Session(Protocol):
    def __call__(self, ids_BL: Ints, mask_BL: Ints, segments_BL: Ints) -> Floats: ...


# From a run to the peers' files.


def missing() -> dict[str, str]:
    """The peers that can't run, and the packages that they need."""
    return {
        peer: package
        for peer, packages in {
            "ONNX Runtime": ("onnxruntime", "onnx"),
            "OpenVINO": ("openvino", "nncf"),
            "CTranslate2": ("ctranslate2",),
        }.items()
        for package in packages
        if find_spec(package) is None
    }


def convert(run: Path, folder: Path, texts: list[list[str]], max_length: int) -> None:
    """All files of all peers, made on the first call. ``texts`` calibrate static scales."""
    done = folder / "converted.json"
    if done.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = read_tokenizer(run, max_length)
    encodings = tokenizer.encode_batch_fast([pair_of(t) for t in texts])
    batches = [
        rectangle(encodings[i : i + CALIBRATION_ROWS])
        for i in range(0, CALIBRATION_BATCHES * CALIBRATION_ROWS, CALIBRATION_ROWS)
        if i < len(encodings)
    ]
    _to_onnx(run, folder / "fp32.onnx")
    absent = missing()
    if "ONNX Runtime" not in absent:
        _quantize_onnx(run, folder, batches)
    if "OpenVINO" not in absent:
        _quantize_openvino(folder, batches)
    if "CTranslate2" not in absent:
        _to_ctranslate2(run, folder / "ctranslate2")
    done.write_text(json.dumps({"calibration_rows": len(texts)}), encoding="utf-8")


def _to_onnx(run: Path, path: Path) -> None:
    """With the TorchScript exporter, because ONNX Runtime's optimizer recognises the patterns of
    its graph. OpenVINO is equally fast with both exporters."""
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoModelForSequenceClassification

    auto = AutoModelForQuestionAnswering if answers(run) else AutoModelForSequenceClassification
    model = auto.from_pretrained(run, attn_implementation="eager").eval()
    ids = torch.ones(2, 7, dtype=torch.long)
    outputs = ["start_logits", "end_logits"] if answers(run) else ["logits"]
    torch.onnx.export(
        model,
        (ids, ids, torch.zeros_like(ids)),
        path,
        input_names=list(INPUTS),
        output_names=outputs,
        dynamic_axes={name: {0: "batch", 1: "length"} for name in INPUTS},
        opset_version=17,
        dynamo=False,
    )


def _quantize_onnx(run: Path, folder: Path, batches: list[dict[str, Ints]]) -> None:
    from onnx import TensorProto
    from onnxruntime.quantization import (
        CalibrationDataReader,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )
    from onnxruntime.transformers.optimizer import optimize_model

    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    fused = optimize_model(
        str(folder / "fp32.onnx"),
        model_type="bert",
        num_heads=config["num_attention_heads"],
        hidden_size=config["hidden_size"],
        opt_level=0,
    )
    fused.save_model_to_file(str(folder / "fused.onnx"))
    for source, target in (("fp32", "dynamic"), ("fused", "dynamic-fused")):
        quantize_dynamic(
            folder / f"{source}.onnx",
            folder / f"{target}.onnx",
            per_channel=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": TensorProto.FLOAT},
        )

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = iter(batches)

        def get_next(self) -> dict[str, Ints] | None:
            return next(self.batches, None)

    quantize_static(
        folder / "fp32.onnx",
        folder / "static.onnx",
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        op_types_to_quantize=["MatMul", "Gather"],
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )


def _quantize_openvino(folder: Path, batches: list[dict[str, Ints]]) -> None:
    import nncf
    import openvino

    quantized = nncf.quantize(
        openvino.Core().read_model(folder / "fp32.onnx"),
        nncf.Dataset(batches),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(batches),
    )
    openvino.save_model(quantized, folder / "openvino.xml", compress_to_fp16=False)


def _to_ctranslate2(run: Path, folder: Path) -> None:
    from ctranslate2.converters import TransformersConverter
    from safetensors.numpy import load_file

    # Its converter needs an attribute that BERT's config no longer has by default.
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    with TemporaryDirectory() as named:
        copy = Path(shutil.copytree(run, named, dirs_exist_ok=True))
        config["position_embedding_type"] = "absolute"
        (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
        TransformersConverter(str(copy)).convert(str(folder), quantization="int8", force=True)
    state = load_file(run / "model.safetensors")
    name = "qa_outputs" if answers(run) else "classifier"
    head = {part: state[f"{name}.{part}"] for part in ("weight", "bias")}
    np.savez(folder / "head.npz", **head, reads_all=answers(run))


def answers(run: Path) -> bool:
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    return bool(config["architectures"] == ["BertForQuestionAnswering"])


# Sessions.


def session(peer: str, folder: Path, setting: Setting) -> Session:
    opened = {"ONNX Runtime": _onnxruntime, "OpenVINO": _openvino, "CTranslate2": _ctranslate2}
    return opened[peer](folder / setting.file, setting)


def _onnxruntime(path: Path, setting: Setting) -> Session:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = setting.threads
    opened = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = {node.name for node in opened.get_inputs()}

    def run(*inputs: Ints) -> Floats:
        given = {k: v for k, v in zip(INPUTS, inputs, strict=True) if k in names}
        return _joined(opened.run(None, given))

    return run


def _openvino(path: Path, setting: Setting) -> Session:
    import threading

    import openvino

    threads = setting.streams * setting.threads
    compiled = openvino.Core().compile_model(
        path, "CPU", {"NUM_STREAMS": setting.streams, "INFERENCE_NUM_THREADS": threads}
    )
    local = threading.local()  # one request for each thread

    def run(*inputs: Ints) -> Floats:
        if not hasattr(local, "request"):
            local.request = compiled.create_infer_request()
        found = local.request.infer(dict(zip(INPUTS, inputs, strict=True)))
        return _joined([found[output].copy() for output in compiled.outputs])

    return run


def _ctranslate2(path: Path, setting: Setting) -> Session:
    import ctranslate2

    encoder = ctranslate2.Encoder(
        str(path),
        compute_type="int8",
        inter_threads=setting.streams,
        intra_threads=setting.threads,
    )
    head = np.load(path / "head.npz")
    weight, bias, reads_all = head["weight"].T, head["bias"], bool(head["reads_all"])
    view = ctranslate2.StorageView.from_array

    def run(ids_BL: Ints, mask_BL: Ints, segments_BL: Ints) -> Floats:
        lengths = mask_BL.sum(1)
        segments = None  # all of them are 0
        if segments_BL.any():
            segments = [row[:n].tolist() for row, n in zip(segments_BL, lengths, strict=True)]
        found = encoder.forward_batch(
            view(ids_BL.astype(np.int32)), view(lengths.astype(np.int32)), token_type_ids=segments
        )
        read = found.last_hidden_state if reads_all else found.pooler_output
        return np.asarray(read) @ weight + bias

    return run


def _joined(outputs: list[Floats]) -> Floats:
    """Unchanged logits; those of starts and of ends as one array."""
    return outputs[0] if len(outputs) == 1 else np.stack(outputs, axis=-1)


# From texts to rectangles.

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def read_tokenizer(run: Path, max_length: int, stride: int | None = None) -> Any:
    """The tokenizer as transformers uses it. It truncates, or makes windows of the second text if
    ``stride`` is given."""
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(run / "tokenizer.json"))
    tokenizer.no_padding()
    if stride is None:
        tokenizer.enable_truncation(max_length)
    else:
        tokenizer.enable_truncation(max_length, stride=stride, strategy="only_second")
    return tokenizer


def pair_of(texts: list[str]) -> Any:
    return texts[0] if len(texts) == 1 else tuple(texts)


def rectangle(encodings: list[Any]) -> dict[str, Ints]:
    """A batch, padded to its longest sequence."""
    ids = [encoding.ids for encoding in encodings]
    lengths = np.fromiter(map(len, ids), np.int64, len(ids))
    mask_BL = np.arange(lengths.max()) < lengths[:, None]
    ids_BL = np.zeros(mask_BL.shape, np.int64)
    segments_BL = np.zeros(mask_BL.shape, np.int64)
    total = int(lengths.sum())
    ids_BL[mask_BL] = np.fromiter(chain.from_iterable(ids), np.int64, total)
    if encodings[0].n_sequences == 2:
        segments = chain.from_iterable(encoding.type_ids for encoding in encodings)
        segments_BL[mask_BL] = np.fromiter(segments, np.int64, total)
    return dict(zip(INPUTS, (ids_BL, mask_BL.astype(np.int64), segments_BL), strict=True))


def batches(lengths: Ints, setting: Setting) -> list[Ints]:
    """Positions of the sequences, sorted by length, the longest first."""
    order = np.argsort(-lengths, kind="stable")
    if setting.budget is None:
        return [order[i : i + setting.batch_size] for i in range(0, len(order), setting.batch_size)]
    found, start = [], 0
    while start < len(order):
        size = max(1, setting.budget // int(lengths[order[start]]))
        found.append(order[start : start + size])
        start += size
    return found
