"""Which engines can run a bundle here."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from onelayer.checkpoint.bundle import Bundle
from onelayer.engines.engine import Engine

Make = Callable[[Bundle], Engine]


def engines(bundle: Bundle) -> dict[str, Make]:
    """By name, those that are installed and take such a bundle, the one that is expected to be the
    quickest first."""
    found: dict[str, Make] = {}
    if bundle.precision == "int8" and _native_takes(bundle):
        found["native"] = _native
    if find_spec("onnxruntime") is not None:
        found["onnxruntime"] = _onnxruntime
    # It has no quick way for products in int8 whose scales are not in the graph.
    if find_spec("openvino") is not None and bundle.info["export"].get("activations") != "dynamic":
        found["openvino"] = _openvino
    return found


def _native_takes(bundle: Bundle) -> bool:
    from onelayer.engines.native.native_engine import why_not

    return why_not(bundle.config) is None


def _native(bundle: Bundle) -> Engine:
    from onelayer.engines.native.native_engine import NativeEngine

    return NativeEngine(bundle.tensors(), bundle.config)


def _onnxruntime(bundle: Bundle) -> Engine:
    from onelayer.engines.onnx_engine import OnnxEngine

    return OnnxEngine(bundle.graph)


def _openvino(bundle: Bundle) -> Engine:
    from onelayer.engines.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(bundle.graph)
