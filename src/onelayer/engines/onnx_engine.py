"""The engine that runs a bundle's graph in ONNX Runtime, on any machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from onelayer.base.errors import CheckpointError, Place
from onelayer.base.machine import cores
from onelayer.checkpoint.bundle import Bundle
from onelayer.engines.engine import keep_in_forks
from onelayer.engines.rectangles import Feeds, Graph, Outputs
from onelayer.tasks.logits import Logits
from onelayer.tokens.encodings import Encodings


def quiet_onnxruntime() -> Any:
    """Imports ONNX Runtime without its telemetry, which would write an id of this machine to the
    cache and send data."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


class OnnxEngine:
    """Runs a graph on rectangles with little padding, one at a time on all cores."""

    name = "onnxruntime"
    title: ClassVar[str] = "ONNX Runtime"
    package: ClassVar[str | None] = "onnxruntime"

    @classmethod
    def why_not(cls, bundle: Bundle) -> str | None:
        """Why it can't run a bundle: only if it isn't installed."""
        return None if find_spec("onnxruntime") else "pip install onnxruntime"

    @classmethod
    def of_bundle(cls, bundle: Bundle, threads: int | None = None) -> OnnxEngine:
        return cls(bundle.graph, threads, bundle.tensors)

    def __init__(
        self,
        graph: Path,
        threads: int | None = None,
        tensors: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        """Opens a graph. Raises CheckpointError for one that ONNX Runtime refuses.

        Parameters
        ----------
        graph
            The graph.
        threads
            By default the number of processors.
        tensors
            Its weights; by default ONNX Runtime maps the weights file, which then must not change.
        """
        self._weights: list[Any] = []
        """Memory that the session uses and doesn't own: it has to live as long."""
        ort = quiet_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or cores()
        options.log_severity_level = 3
        # Nearly every batch has a new shape, so memory plans per shape are never used again.
        options.enable_mem_pattern = False
        # Threads that spin between two batches take processors from tokenizing.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Without VNNI, a sum of two products of unsigned and signed bytes may overflow 16 bits.
        options.add_session_config_entry("session.x64quantprecision", "1")
        if tensors is not None:
            self._weights = [ort.OrtValue.ortvalue_from_numpy(x) for x in tensors.values()]
            options.add_external_initializers(list(tensors), self._weights)
        try:
            session = ort.InferenceSession(graph, options, ["CPUExecutionProvider"])
        except Exception as error:  # its own classes, none of them documented
            reason = " ".join(str(error).split())
            raise CheckpointError(f"ONNX Runtime: {reason}", place=Place(graph)) from error

        def run(feeds: Feeds) -> Outputs:
            found: Outputs = session.run(None, feeds)
            return found

        first, *_ = outputs = session.get_outputs()
        width = first.shape[-1]
        self._graph = Graph(
            run=run,
            names=tuple(output.name for output in outputs),
            inputs=tuple(given.name for given in session.get_inputs()),
            rank=len(session.get_inputs()[0].shape),
            width=width if isinstance(width, int) else 1,
        )
        keep_in_forks(self)

    def logits(self, encodings: Encodings) -> Logits:
        """(R, C) logits, in the order of the reads."""
        return self._graph.logits(encodings)

    def outputs(self, encodings: Encodings) -> Iterator[dict[str, NDArray[np.float32]]]:
        """All outputs of the graph by name, for one rectangle after another."""
        return self._graph.outputs(encodings)
