"""The portable engine: a bundle's graph in ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from onelayer.errors import CheckpointError, Place
from onelayer.machine import cores
from onelayer.tasks.base import Logits
from onelayer.text.encoding import Encodings, Ints, counts, ragged

TOKENS = 1024
"""Places of a rectangle at most, but where one sequence has more: twice as many took 7 % longer."""
FULL = 0.9
"""The share of a rectangle's places that hold tokens, at least."""


class OnnxEngine:
    """Runs a graph on rectangles that are nearly full, all cores together on one at a time."""

    name = "onnxruntime"

    def __init__(self, graph: Path, threads: int | None = None) -> None:
        """Raises CheckpointError for a graph that ONNX Runtime doesn't take."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or cores()
        options.log_severity_level = 3
        # Nearly every shape is new, so a plan for one is of no use to the next.
        options.enable_mem_pattern = False
        # Threads that spin between two batches take the cores from tokenizing.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Without VNNI, sums of two products of unsigned and signed bytes may not fit 16 bits.
        options.add_session_config_entry("session.x64quantprecision", "1")
        try:
            self._session = ort.InferenceSession(graph, options, ["CPUExecutionProvider"])
        except Exception as error:  # its own classes, of which none is promised
            reason = " ".join(str(error).split())
            raise CheckpointError(f"ONNX Runtime: {reason}", place=Place(graph)) from error
        self._has_options = len(self._session.get_inputs()[0].shape) == 3
        first = self._session.get_outputs()[0]
        self._is_span = first.name == "start_logits"  # and end_logits beside it, (B, L) each
        fixed = 2 if self._is_span else 1 if self._has_options else first.shape[-1]
        self._n_outputs = int(fixed)

    def logits(self, encodings: Encodings) -> Logits:
        """(R, C) logits, in the order of the reads."""
        logits = np.empty((len(encodings.reads), self._n_outputs), dtype=np.float32)
        for sequences in rectangles(encodings.lengths):
            found = self._run(encodings, sequences)
            both = np.stack(found, axis=-1) if self._is_span else found[0]
            read_counts = counts(encodings.cu_reads, sequences)
            where = ragged(encodings.cu_reads[sequences], read_counts)
            of_reads = np.repeat(np.arange(len(sequences)), read_counts)
            if both.ndim == 3:
                logits[where] = both[of_reads, encodings.reads[where]]
            else:
                logits[where] = both[of_reads]
        return logits

    def outputs(self, encodings: Encodings) -> Iterator[dict[str, NDArray[np.float32]]]:
        """All that the graph gives for one rectangle after another, by name."""
        names = [given.name for given in self._session.get_outputs()]
        for sequences in rectangles(encodings.lengths):
            yield dict(zip(names, self._run(encodings, sequences), strict=True))

    def _run(self, encodings: Encodings, sequences: Ints) -> list[NDArray[np.float32]]:
        given = _rectangle(encodings, sequences)
        if self._has_options:
            given = {name: array[:, None] for name, array in given.items()}
        found: list[NDArray[np.float32]] = self._session.run(None, given)
        return found


def rectangles(lengths: Ints) -> Iterator[Ints]:
    """Sequences of these lengths in groups, the longest first, whose rectangles have at most
    ``TOKENS`` places of which tokens fill the share ``FULL``. Gives positions in ``lengths``."""
    order = np.argsort(-lengths, kind="stable")
    begin = end = tokens = 0
    while end < len(order):
        longest, length = int(lengths[order[begin]]), int(lengths[order[end]])
        places = longest * (end - begin + 1)
        if end > begin and (places > TOKENS or tokens + length < FULL * places):
            yield order[begin:end]
            begin, tokens = end, 0
            continue
        tokens += length
        end += 1
    if begin < end:
        yield order[begin:end]


def _rectangle(encodings: Encodings, sequences: Ints) -> dict[str, NDArray[np.int64]]:
    """Some sequences as every tool feeds them, (B, L) each."""
    lengths = encodings.lengths[sequences]
    mask = np.arange(int(lengths.max())) < lengths[:, None]
    starts = np.repeat(encodings.cu_seqlens[sequences], lengths)
    places = starts + np.nonzero(mask)[1]
    ids, segments = np.zeros((2, *mask.shape), dtype=np.int64)
    ids[mask], segments[mask] = encodings.ids[places], encodings.segment_ids[places]
    return {
        "input_ids": ids,
        "attention_mask": mask.astype(np.int64),
        "token_type_ids": segments,
    }
