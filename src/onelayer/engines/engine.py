"""The interface of an engine, which computes logits."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, runtime_checkable
from weakref import WeakSet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from onelayer.checkpoint.bundle import Bundle
    from onelayer.data.layout import Layout
    from onelayer.tasks import AnyTask
    from onelayer.tasks.logits import Logits
    from onelayer.tokens.encodings import Cut, Encodings
    from onelayer.tokens.tokenizer import Tokenizer


class Engine(Protocol):
    """Computes logits from encodings.

    It may be called from several threads at once, and in a child of a fork. Its weights are its
    own: files that change don't change its answers.
    """

    @property
    def name(self) -> str:
        """The engine's key in the registry; ``torch`` for runs."""
        ...

    def logits(self, encodings: Encodings) -> Logits:
        """(R, C) fp32 logits, in the order of the R reads of the encodings."""
        ...


@runtime_checkable
class VectorEngine(Protocol):
    """An engine that also gives the vectors that the output layer reads."""

    def logits_and_vectors(self, encodings: Encodings) -> tuple[Logits, NDArray[np.float32]]:
        """(R, C) fp32 logits, and (E, D) the mean of what the layer reads of each example."""
        ...


class FoundRows(NamedTuple):
    """What a row model says of some rows, and for each row the tokens that it read and those that
    the length limit left out."""

    predictions: list[Any]
    cut: Cut
    tokens: list[int]
    unread: list[int]


class RowModel(Protocol):
    """A model that encodes rows of a task, runs and decodes them, all by itself."""

    @property
    def task(self) -> AnyTask:
        """The task that it has."""
        ...

    def predict(self, rows: Sequence[Any]) -> FoundRows | None:
        """Predictions for rows, as the task's ``encode`` and ``decode`` make them; None where it
        doesn't take one of these rows."""
        ...


@runtime_checkable
class RowEngine(Protocol):
    """An engine that tokenizes and decodes, too."""

    def row_model(self, task: AnyTask, tokenizer: Tokenizer, layout: Layout) -> RowModel:
        """The engine's model for a task. Raises CheckpointError where it doesn't know the task, or
        the tokenizer's rules."""
        ...


class EngineKind(Protocol):
    """A class of engines that run exported models. Its module must be importable without the
    engine's package."""

    @property
    def title(self) -> str:
        """The engine's name in tables and messages."""
        ...

    @property
    def package(self) -> str | None:
        """The engine's package on PyPI; None for our own code."""
        ...

    def why_not(self, bundle: Bundle) -> str | None:
        """Why it can't run a bundle on this machine; None if it can."""
        ...

    def of_bundle(self, bundle: Bundle, threads: int | None = None) -> Engine:
        """Opens a bundle. Raises CheckpointError if the engine refuses its files.

        Parameters
        ----------
        bundle
            The exported model.
        threads
            The number of threads that compute, by default one for each processor.
        """
        ...


@runtime_checkable
class JoinsEngines(Protocol):
    """A class of engines that makes one of two by itself."""

    def of_two(self, first: Any, rest: Any, margin: float) -> Engine:
        """Two engines of this kind as one, with the logits of `two_engines.TwoEngines`."""
        ...


_KEPT_IN_FORKS: WeakSet[object] = WeakSet()


def keep_in_forks(engine: object) -> None:
    """Keeps an engine with threads of its own from being freed in a child of a fork: there it would
    wait forever for threads that only the parent has, at the latest when the child ends."""
    _KEPT_IN_FORKS.add(engine)


def _keep_all() -> None:
    for engine in list(_KEPT_IN_FORKS):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine))


os.register_at_fork(after_in_child=_keep_all)
