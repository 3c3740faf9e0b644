"""The engine that runs a bundle's graph in OpenVINO."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

import numpy as np

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.machine import cores, instructions
from onelayer.checkpoint.bundle import Bundle
from onelayer.engines.engine import keep_in_forks
from onelayer.engines.rectangles import Feeds, Graph, Outputs
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings

VNNI = {"avx512_vnni", "avx_vnni"}
"""Instructions that add products of bytes in 32 bits."""


def quiet_openvino() -> Any:
    """Imports OpenVINO without its telemetry, which would look up hosts and write an id into the
    home directory. OpenVINO works without that package if it can't be imported."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


class _SignalStack(ctypes.Structure):
    """``stack_t`` of Linux."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextmanager
def _signal_stack_kept() -> Iterator[None]:
    """Keeps the stack on which this thread handles signals.

    A model that OpenVINO compiles brings a stack of its own, and puts the one before it back when
    it is freed. Of two models, that is a stack that the first one has freed already, and the next
    Ctrl-C kills the process. So each model has to find the stack that is there without OpenVINO.
    """
    if sys.platform != "linux":
        yield
        return
    kept, sigaltstack = _SignalStack(), ctypes.CDLL(None).sigaltstack
    sigaltstack(None, ctypes.byref(kept))
    try:
        yield
    finally:
        sigaltstack(ctypes.byref(kept), None)


class OpenVinoEngine:
    """Runs a graph as ``OnnxEngine`` does, one rectangle at a time on all cores."""

    name = "openvino"
    title: ClassVar[str] = "OpenVINO"
    package: ClassVar[str | None] = "openvino"

    @classmethod
    def why_not(cls, bundle: Bundle) -> str | None:
        """Why it can't run a bundle: it isn't installed, or it is slow at the bundle's int8
        products, or wrong at them."""
        if find_spec("openvino") is None:
            return "pip install openvino"
        if bundle.export.activations == "dynamic":
            return "it has no fast int8 products with a scale for each token"
        known = (
            instructions()
        )  # empty where the system doesn't tell, and on ARM without x86's names
        if bundle.precision == "int8" and "avx2" in known and not VNNI & known:
            return "without VNNI its int8 sums overflow: logits are off by 0.1 and more"
        return None

    @classmethod
    def of_bundle(cls, bundle: Bundle, threads: int | None = None) -> OpenVinoEngine:
        return cls(bundle.graph, threads)

    def __init__(self, graph: Path, threads: int | None = None) -> None:
        """``threads`` is by default the number of processors. Raises CheckpointError for a graph
        that OpenVINO refuses."""
        settings = {
            "INFERENCE_NUM_THREADS": threads or cores(),
            "NUM_STREAMS": 1,
            # The default is bf16 on processors that have it, which would change the answers.
            "INFERENCE_PRECISION_HINT": "f32",
            # What is prepared for a shape is kept, by default for the last 5,000 shapes. Nearly
            # every batch has a new one, so the memory would grow and nothing be found again.
            "CPU_RUNTIME_CACHE_CAPACITY": 64,
        }
        try:
            core = quiet_openvino().Core()
            core.set_property({"ENABLE_MMAP": False})  # the file may change while it is used
            source = core.read_model(graph)
            # Names are taken before compiling, which adds others to inputs and outputs.
            names = tuple(output.any_name for output in source.outputs)
            inputs = tuple(given.any_name for given in source.inputs)
            with _signal_stack_kept():
                model = core.compile_model(source, "CPU", settings)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"OpenVINO: {reason}", place=Place(graph)) from error
        request, one_at_a_time = model.create_infer_request(), Lock()

        def run(feeds: Feeds) -> Outputs:
            with one_at_a_time:  # a request has room for one batch, which takes all cores
                found = request.infer(feeds, share_inputs=True)
                return [np.array(found[output], dtype=np.float32) for output in model.outputs]

        width = model.outputs[0].partial_shape[-1]
        self._graph = Graph(
            run=run,
            names=names,
            inputs=inputs,
            rank=len(model.inputs[0].partial_shape),
            width=width.get_length() if width.is_static else 1,
        )
        keep_in_forks(self)

    def logits(self, encodings: Encodings) -> Logits:
        """(R, C) logits, in the order of the reads."""
        return self._graph.logits(encodings)
