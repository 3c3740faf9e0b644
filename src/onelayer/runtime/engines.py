"""Which engines can run a bundle here."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from onelayer.errors import UsageError
from onelayer.runtime.bundle import Bundle
from onelayer.runtime.choose_engine import quickest
from onelayer.runtime.engine import Engine
from onelayer.runtime.predictor import Predictor

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


def open_bundle(bundle: Bundle, engine: str | None = None) -> Predictor:
    """With the engine of that name, by default the quickest here. Raises UsageError where it can't
    be had."""
    here = engines(bundle)
    if engine is not None and engine not in here:
        raise UsageError(
            f"no engine {engine!r} for this bundle here", hint=f"there are {', '.join(here)}"
        )
    if not here:
        raise UsageError("no engine for a bundle is installed", hint="pip install onnxruntime")
    return Predictor(
        task=bundle.task,
        tokenizer=bundle.tokenizer,
        engine=here[engine](bundle) if engine is not None else quickest(bundle, here),
        layout=bundle.layout,
        path=bundle.folder,
        info=bundle.info,
    )


def _native_takes(bundle: Bundle) -> bool:
    from onelayer.runtime.native.engine import why_not

    return why_not(bundle.config) is None


def _native(bundle: Bundle) -> Engine:
    from onelayer.runtime.native.engine import NativeEngine

    return NativeEngine(bundle.tensors(), bundle.config)


def _onnxruntime(bundle: Bundle) -> Engine:
    from onelayer.runtime.onnx_engine import OnnxEngine

    return OnnxEngine(bundle.graph)


def _openvino(bundle: Bundle) -> Engine:
    from onelayer.runtime.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(bundle.graph)
