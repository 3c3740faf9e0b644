"""Compares the answers of a bundle and of its run on the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from onelayer.base.errors import OneLayerError
from onelayer.checkpoint.export_record import Parity
from onelayer.data.rows import Rows, chunks_of
from onelayer.engines.engine import Engine
from onelayer.evaluation.compare import Twice
from onelayer.metrics import paired_differences
from onelayer.prediction.predictor import CHUNK
from onelayer.tasks import AnyTask
from onelayer.tasks.logits import Logits
from onelayer.tasks.protocol import Chunk
from onelayer.tokens.encodings import Encodings
from onelayer.tokens.tokenizer import Tokenizer

LOGITS = 1e-4
"""The largest difference allowed between a logit of an fp32 bundle and of the run."""


class Kept:
    """An engine whose logits are kept on the disk, so that the same rows are computed only once,
    with the tokenizer of its vocabulary.

    The rows must come in the same order and in the same chunks each time.
    """

    def __init__(self, engine: Engine, tokenizer: Tokenizer) -> None:
        self.engine = engine
        self.tokenizer = tokenizer
        self.name = engine.name
        self._file = TemporaryFile()  # noqa: SIM115 - it goes when this does
        self._shapes: list[tuple[int, ...]] = []
        self._next = 0

    def rewind(self) -> None:
        """Starts again with the first chunk."""
        self._file.seek(0)
        self._next = 0

    def chunks(self, task: AnyTask, rows: Iterable[Any]) -> Iterator[Chunk[Any]]:
        """These rows, chunk by chunk, each with its encodings and the next logits."""
        for chunk in chunks_of(CHUNK, rows):
            encodings = task.encode(chunk, self.tokenizer, labelled=False)
            yield chunk, encodings, self.logits(encodings)

    def logits(self, encodings: Encodings) -> Logits:
        """(R, C) fp32 logits of the next chunk: from the disk, or computed and kept. Raises
        OneLayerError where one of them isn't finite."""
        self._next += 1
        if self._next <= len(self._shapes):
            shape = self._shapes[self._next - 1]
            data = self._file.read(4 * int(np.prod(shape)))
            return np.frombuffer(data, np.float32).reshape(shape)
        logits = self.engine.logits(encodings)
        if not np.isfinite(logits).all():
            raise OneLayerError(
                f"the logits in {self.name} are not finite numbers",
                hint="its training diverged: lower --lr; or export in fp32",
            )
        self._file.write(np.ascontiguousarray(logits, np.float32).tobytes())
        self._shapes.append(logits.shape)
        return logits


def parity(task: AnyTask, run: Kept, bundle: Kept, rows: Rows) -> Parity:
    """Compares two engines on labelled rows, which are read as a stream.

    Parameters
    ----------
    task
        Decodes and scores both.
    run, bundle
        The two engines.
    rows
        The rows.
    """
    seen = _Seen()
    for engine in (run, bundle):
        engine.rewind()
    by_turns = _by_turns(task, run, bundle, rows, seen)
    found = paired_differences(task.score(Twice(rows), by_turns), n_permutations=1)[task.metric]
    return Parity(
        rows=seen.rows,
        logits=seen.logits,
        changed=None if task.predicts_number else seen.changed,
        metric=task.metric,
        before=found.a,
        after=found.b,
        interval=found.interval,
        point=task.point,
        tuned=_tuned(task, bundle, rows),
        drop=(found.a - found.b) / task.point,
    )


@dataclass(slots=True)
class _Seen:
    rows: int = 0
    logits: float = 0.0
    changed: int = 0


def _by_turns(task: AnyTask, run: Kept, bundle: Kept, rows: Rows, seen: _Seen) -> Iterator[Any]:
    """The run's and the bundle's prediction of each row."""
    for chunk, encodings, a in run.chunks(task, rows):
        own = encodings
        if bundle.tokenizer is not run.tokenizer:
            own = task.encode(chunk, bundle.tokenizer, labelled=False)
        b = bundle.logits(own)
        seen.rows += len(chunk)
        if a.shape == b.shape:  # else the two cut a row into different numbers of sequences
            seen.logits = max(seen.logits, float(np.abs(a - b).max(initial=0.0)))
        said = task.decode(chunk, encodings, a), task.decode(chunk, own, b)
        for one, other in zip(*said, strict=True):
            seen.changed += one.decision != other.decision
            yield one
            yield other


def _tuned(task: AnyTask, bundle: Kept, rows: Rows) -> float | None:
    bundle.rewind()
    tuned, scorer = task.tune(rows, bundle.chunks(task, rows))
    return None if tuned == task else scorer()[task.metric]


def failed_checks(name: str, one: Parity, precision: str, max_drop: float) -> list[str]:
    """The checks that a bundle fails in one engine, in words."""
    if precision == "int8":
        if one.drop <= max_drop:
            return []
        cost = f"costs {one.drop:.2f} points of {one.metric}, and {max_drop:g} are allowed"
        return [f"int8 in {name} {cost}"]
    reasons = []
    if not one.logits <= LOGITS:
        reasons.append(f"logits in {name} differ by up to {one.logits:.2g}")
    if one.changed:
        reasons.append(f"{name} answers {one.changed:,} rows differently")
    return reasons
