"""Measures the range of the numbers that each layer reads, on the user's training rows."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import onnx
from numpy.typing import NDArray
from onnx import helper

from onelayer.checkpoint.bundle import GRAPH, WEIGHTS
from onelayer.checkpoint.config import EncoderConfig
from onelayer.data.rows import Rows
from onelayer.engines.onnx_engine import OnnxEngine
from onelayer.exporting.graph import model_graph
from onelayer.exporting.nodes import Nodes
from onelayer.exporting.products import FLOAT, Watched
from onelayer.exporting.weights_file import write_weights
from onelayer.tasks import AnyTask
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer

ROWS = 256
TOKENS = 16_384
"""Rows and tokens of the sample, at most. More of them show rarer numbers and take longer."""


def calibration_rows(task: AnyTask, tokenizer: Tokenizer, rows: Rows) -> Encodings:
    """The encodings of a sample of rows, spread evenly over the file."""
    step = max(1, len(rows) // ROWS)
    chosen = list(islice(rows, 0, step * ROWS, step))
    encodings = task.encode(chosen, tokenizer, labelled=False)
    tokens = encodings.cu_seqlens[encodings.cu_rows]
    n = max(1, int((tokens[1:] <= TOKENS).sum()))
    return encodings.part(0, n)


def ranges(
    state: Mapping[str, NDArray[Any]],
    config: EncoderConfig,
    architecture: str,
    encodings: Encodings,
) -> dict[str, tuple[float, float]]:
    """The lowest and the highest number that each linear layer of the encoder reads, or 0.

    No outliers are cut off, because the few tokens with extreme numbers, such as ``[SEP]``, matter:
    without the outermost 1 in 10,000, an entity F1 fell from 0.57 to 0.40.

    Parameters
    ----------
    state
        The fp32 weights by our names.
    config, architecture
        The model's configuration, and transformers' class.
    encodings
        The sample.
    """
    watched = Watched({})
    with TemporaryDirectory() as folder:
        graph, weights = Path(folder, GRAPH), Path(folder, WEIGHTS)
        nodes = Nodes(state, write_weights(weights, state), WEIGHTS)
        model = model_graph(nodes, config, watched, architecture)
        for uses in watched.extremes.values():
            names = (name for use in uses for name in use)
            infos = (helper.make_tensor_value_info(name, FLOAT, ["tokens"]) for name in names)
            model.graph.output.extend(infos)
        onnx.save(model, graph)
        found: dict[str, tuple[float, float]] = dict.fromkeys(watched.extremes, (0.0, 0.0))
        for outputs in OnnxEngine(graph).outputs(encodings):
            for layer, uses in watched.extremes.items():
                lows, highs = zip(*uses, strict=True)
                lowest, highest = found[layer]
                found[layer] = (
                    min(lowest, *(float(outputs[low].min()) for low in lows)),
                    max(highest, *(float(outputs[high].max()) for high in highs)),
                )
    return found
