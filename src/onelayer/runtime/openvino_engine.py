"""A bundle's graph in OpenVINO."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openvino as ov

from onelayer.errors import CheckpointError, Place
from onelayer.machine import cores
from onelayer.runtime.graph import Feeds, Graph, Outputs
from onelayer.tasks.base import Logits
from onelayer.text.encoding import Encodings


class OpenVinoEngine:
    """Runs a graph as ``OnnxEngine`` does, all cores together on one rectangle at a time."""

    name = "openvino"

    def __init__(self, graph: Path, threads: int | None = None) -> None:
        """Raises CheckpointError for a graph that OpenVINO doesn't take."""
        settings = {
            "INFERENCE_NUM_THREADS": threads or cores(),
            "NUM_STREAMS": 1,
            # It would be bf16 on processors that have it: other answers than on others.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            core = ov.Core()
            source = core.read_model(graph)
            # Compiling adds names of its own to an output's.
            names = tuple(output.any_name for output in source.outputs)
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
            rank=len(model.inputs[0].partial_shape),
            width=width.get_length() if width.is_static else 1,
        )

    def logits(self, encodings: Encodings) -> Logits:
        """(R, C) logits, in the order of the reads."""
        return self._graph.logits(encodings)
