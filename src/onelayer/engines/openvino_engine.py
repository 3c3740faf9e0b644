"""A bundle's graph in OpenVINO."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.machine import cores
from onelayer.checkpoint.bundle import Bundle
from onelayer.engines.rectangles import Feeds, Graph, Outputs
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings


def quiet_openvino() -> Any:
    """OpenVINO without its telemetry, which on import looks up hosts and writes an id into the home
    directory. Where that package can't be imported, OpenVINO works without it."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino


class OpenVinoEngine:
    """Runs a graph as ``OnnxEngine`` does, all cores together on one rectangle at a time."""

    name = "openvino"
    title: ClassVar[str] = "OpenVINO"
    package: ClassVar[str | None] = "openvino"

    @classmethod
    def why_not(cls, bundle: Bundle) -> str | None:
        """It isn't installed, or the bundle's int8 products are of the kind that it is slow at."""
        if find_spec("openvino") is None:
            return "pip install openvino"
        if bundle.export.activations == "dynamic":
            return "it has no fast int8 products with a scale for each token"
        return None

    @classmethod
    def of_bundle(cls, bundle: Bundle) -> OpenVinoEngine:
        return cls(bundle.graph)

    def __init__(self, graph: Path, threads: int | None = None) -> None:
        """Raises CheckpointError for a graph that OpenVINO doesn't take."""
        settings = {
            "INFERENCE_NUM_THREADS": threads or cores(),
            "NUM_STREAMS": 1,
            # It would be bf16 on processors that have it: other answers than on others.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            core = quiet_openvino().Core()
            source = core.read_model(graph)
            # Compiling adds names of its own to those of the inputs and outputs.
            names = tuple(output.any_name for output in source.outputs)
            inputs = tuple(given.any_name for given in source.inputs)
            model = core.compile_model(source, "CPU", settings)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(f"OpenVINO: {reason}", place=Place(graph)) from error
        request = model.create_infer_request()

        def run(feeds: Feeds) -> Outputs:
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

    def logits(self, encodings: Encodings) -> Logits:
        """(R, C) logits, in the order of the reads."""
        return self._graph.logits(encodings)
